import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import Countdown from '../parts/Countdown.js';
import PairingForm from './PairingForm.js';

/** The QR code with its countdown, how to scan it, and the pairing code for a person who cannot scan. */
const QrToScan: React.FC<{ session: SessionView }> = ({ session: { id, qr } }) => (
  <div className="cq-link">
    <div className="cq-qr">
      {qr ? (
        <img
          alt="QR code to scan with WhatsApp"
          src={`data:image/svg+xml;utf8,${encodeURIComponent(qr.svg)}`}
          width={264}
          height={264}
        />
      ) : (
        <p className="cq-soft">The next code is on its way.</p>
      )}
      {qr?.expiresAt ? <Countdown key={qr.id ?? ''} until={qr.expiresAt} /> : null}
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
      <PairingForm sessionId={id} />
    </div>
  </div>
);
export default QrToScan;
