import React, { useState } from 'react';
import { fieldError, messageOf, post } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';

interface Props {
  sessionId: string;
  isLinked: boolean;
  onNotice: (notice: Notice) => void;
}
interface Asked {
  script: string;
  expiresAt: number;
}

/**
 * WhatsApp asks for the passkey of an account that is being linked, or that it checks (`isLinked`). A passkey signs only on WhatsApp's own site, so its
 * owner runs a script there and pastes the answer here.
 */
const PasskeyForm: React.FC<Props> = ({ sessionId, isLinked, onNotice }) => {
  const [asked, setAsked] = useState<Asked | null>(null);
  const form = useForm({ answer: '' }, async ({ answer }) => {
    await post(`/live/sessions/${sessionId}/passkey-answer`, { answer: readAnswer(answer) });
    const text = isLinked
      ? 'WhatsApp accepted the answer. The session continues.'
      : 'The answer was sent. WhatsApp checks it now.';
    onNotice({ tone: 'good', text });
  });
  const fetchScript = (): void => {
    post<Asked>(`/live/sessions/${sessionId}/passkey`, {}).then(
      (found) => {
        setAsked(found);
        navigator.clipboard?.writeText(found.script).catch(() => undefined); // The text below can be copied by hand.
      },
      (error: unknown) => onNotice({ tone: 'bad', text: messageOf(error) }),
    );
  };
  return (
    <div>
      <p>
        {isLinked
          ? 'WhatsApp checks this account and sends nothing until it has the account’s passkey. Messages wait meanwhile.'
          : 'WhatsApp asks for the passkey of this account.'}{' '}
        Its owner signs the request in a browser that has the passkey:
      </p>
      <ol className="cq-steps-list">
        <li>
          <button type="button" className="cq-button" onClick={fetchScript}>
            {asked ? 'Copy the script again' : 'Copy the script'}
          </button>
        </li>
        <li>Open web.whatsapp.com in that browser, open its developer console (F12), paste the script and press Enter.</li>
        <li>Confirm with the passkey. Copy the answer that appears, and paste it here.</li>
      </ol>
      {asked && (
        <details className="cq-details">
          <summary>The script, valid until {new Date(asked.expiresAt).toLocaleTimeString()}</summary>
          <pre>{asked.script}</pre>
        </details>
      )}
      <Form form={form} label="Hand in the answer" testId="passkey">
        <Field label="Answer of the passkey" name="answer">
          <textarea rows={4} value={form.fields.answer} onChange={(event) => form.set({ answer: event.target.value })} required />
        </Field>
      </Form>
    </div>
  );
};
export default PasskeyForm;

function readAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw fieldError('answer', 'This is not the whole answer. Copy all of it, from { to }.');
  }
}
