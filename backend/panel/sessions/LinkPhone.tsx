import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import Ago from '../parts/Ago.js';
import PasskeyForm from './PasskeyForm.js';
import QrToScan from './QrToScan.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Shows the QR code, or the state of the session when there is no code to scan. */
const LinkPhone: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  if (session.status === 'connected')
    return (
      <div className="cq-joined" role="status">
        <span aria-hidden="true">✓</span>
        <p>
          <strong>{session.pushName ?? 'The phone'} is connected.</strong>
          <br />
          Since <Ago at={session.connectedAt} />. Try it below.
        </p>
      </div>
    );
  if (session.status === 'initializing' || session.status === 'connecting')
    return (
      <p className="cq-busy" role="status">
        {session.status === 'connecting' ? 'Linked. WhatsApp is syncing; this takes a few seconds.' : 'The browser is starting.'}
      </p>
    );
  if (session.status === 'passkey_required') return <PasskeyForm sessionId={session.id} onNotice={onNotice} />;
  if (session.status !== 'qr_pending')
    return session.status === 'disconnected' || session.status === 'error' ? (
      <p className="cq-soft">Press Start to run the session. If no phone is linked, the code appears here.</p>
    ) : null;
  return <QrToScan session={session} onNotice={onNotice} />;
};
export default LinkPhone;
