import React, { useState } from 'react';
import { messageOf, post } from '../api.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Links a phone with a pairing code, which the person types on the phone, instead of a QR code. */
const PairingForm: React.FC<{ sessionId: string; onNotice: (notice: Notice) => void }> = ({ sessionId, onNotice }) => {
  const [phoneNumber, setPhoneNumber] = useState('');
  const [code, setCode] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    post<{ code: string }>(`/live/sessions/${sessionId}/pairing-code`, { phoneNumber })
      .then(
        (pairing) => setCode(pairing.code),
        (error: unknown) => onNotice({ tone: 'bad', text: messageOf(error) }),
      )
      .finally(() => setBusy(false));
  };
  return (
    <details className="cq-details">
      <summary>Link with a code instead</summary>
      {code ? (
        <div role="status">
          <p className="cq-code" aria-label={`Pairing code ${code}`}>
            {code.replace(/^(.{4})(.{4})$/, '$1-$2')}
          </p>
          <p className="cq-soft">On the phone: Linked devices, Link a device, Link with phone number instead. Type this code.</p>
        </div>
      ) : (
        <form className="cq-line" onSubmit={submit}>
          <input
            type="tel"
            value={phoneNumber}
            onChange={(event) => setPhoneNumber(event.target.value)}
            placeholder="+44 7400 123123"
            aria-label="Phone number in international form"
            required
          />
          <button type="submit" className="cq-button" disabled={busy}>
            {busy ? 'Asking …' : 'Get a code'}
          </button>
        </form>
      )}
    </details>
  );
};
export default PairingForm;
