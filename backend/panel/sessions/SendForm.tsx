import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { messageOf, post } from '../api.js';
import Outcome from './Outcome.js';

/** Sends a real text through this session. */
const SendForm: React.FC<{ session: SessionView }> = ({ session }) => {
  const [recipient, setRecipient] = useState('');
  const [message, setMessage] = useState('');
  const [sent, setSent] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    setSent(null);
    post<{ id: string }>(`/live/sessions/${session.id}/send`, { recipient, message })
      .then(
        ({ id }) => {
          setSent(id);
          setMessage('');
        },
        (error: unknown) => setProblem(messageOf(error)),
      )
      .finally(() => setBusy(false));
  };
  return (
    <form className="cq-form" onSubmit={submit} data-testid="send">
      <label>
        To
        <input
          value={recipient}
          onChange={(event) => setRecipient(event.target.value)}
          placeholder="+44 7400 123123, or an id of WhatsApp"
          required
          autoComplete="off"
        />
      </label>
      <label>
        Text
        <textarea value={message} onChange={(event) => setMessage(event.target.value)} rows={3} required maxLength={65536} />
      </label>
      <div className="cq-line">
        <button type="submit" className="cq-button cq-main" disabled={busy}>
          {busy ? 'Sending …' : 'Send'}
        </button>
        {session.status !== 'connected' && (
          <span className="cq-soft">Not connected: the message waits in the queue, if the settings let it.</span>
        )}
      </div>
      {problem && (
        <p className="cq-note cq-bad" role="alert">
          {problem}
        </p>
      )}
      {sent && <Outcome key={sent} id={sent} />}
    </form>
  );
};
export default SendForm;
