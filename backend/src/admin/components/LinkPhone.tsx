import React from 'react';
import type { SessionView } from '../views.js';
import Ago from './Ago.js';
import Countdown from './Countdown.js';
import PairingForm from './PairingForm.js';
import type { Saying } from './Said.js';

/** The part of the page that changes most: the code to scan, or what happens instead. */
const LinkPhone: React.FC<{ session: SessionView; onSaid: (what: Saying) => void }> = ({ session, onSaid }) => {
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
  if (session.status !== 'qr_pending')
    return session.status === 'disconnected' || session.status === 'error' ? (
      <p className="cq-soft">Press Start to bring it up. If it was never linked, its code appears here.</p>
    ) : null;
  return (
    <div className="cq-link">
      <div className="cq-qr">
        {session.qr ? (
          <img
            alt="QR code to scan with WhatsApp"
            src={`data:image/svg+xml;utf8,${encodeURIComponent(session.qr.svg)}`}
            width={264}
            height={264}
          />
        ) : (
          <p className="cq-soft">The next code is on its way.</p>
        )}
        {session.qr?.expiresAt ? <Countdown key={session.qr.id ?? ''} until={session.qr.expiresAt} /> : null}
      </div>
      <div>
        <ol className="cq-how">
          <li>Open WhatsApp on the phone.</li>
          <li>
            Go to <b>Settings → Linked devices</b>.
          </li>
          <li>
            Tap <b>Link a device</b> and point the phone at this code.
          </li>
        </ol>
        <PairingForm sessionId={session.id} onSaid={onSaid} />
      </div>
    </div>
  );
};
export default LinkPhone;
