import React, { useState } from 'react';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import RecipientHint from '../parts/RecipientHint.js';

/** Links a phone with a pairing code, which the person types on the phone, instead of a QR code. */
const PairingForm: React.FC<{ sessionId: string }> = ({ sessionId }) => {
  const [code, setCode] = useState<string | null>(null);
  const form = useForm({ phoneNumber: '' }, async (fields) => {
    const pairing = await post<{ code: string }>(`/live/sessions/${sessionId}/pairing-code`, fields);
    setCode(pairing.code);
  });
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
        <Form form={form} label="Get a code" busyLabel="Asking …" look="line">
          <Field
            label="Phone number in international form"
            name={['phoneNumber', 'recipient']}
            hint={<RecipientHint recipient={form.fields.phoneNumber} sessionId={sessionId} />}
          >
            <input
              type="tel"
              value={form.fields.phoneNumber}
              onChange={(event) => form.set({ phoneNumber: event.target.value })}
              placeholder="+44 7400 123123"
              required
            />
          </Field>
        </Form>
      )}
    </details>
  );
};
export default PairingForm;
