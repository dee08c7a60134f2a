import React, { useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { messageOf, post, root, usePoll } from '../api.js';
import AccountChoice from '../accounts/AccountChoice.js';
import PageHead from '../frame/PageHead.js';

/** A name and whose it is; then it starts and its page shows the code. */
const NewSession: React.FC = () => {
  const navigate = useNavigate();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const [name, setName] = useState('');
  const [deviceName, setDeviceName] = useState('');
  const [problem, setProblem] = useState<string | null>(null);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    const create = async (): Promise<void> => {
      const { id } = await post<{ id: string }>('/live/sessions', { accountId, name, deviceName: deviceName || null });
      await post(`/live/sessions/${id}/start`).catch(() => undefined); // Its page tells why it did not start and has the button.
      navigate(`${root}/resources/sessions/records/${id}/show`);
    };
    create().catch((error: unknown) => setProblem(messageOf(error)));
  };
  return (
    <div className="cq-page cq-narrow">
      <PageHead
        title="New session"
        back={{ to: `${root}/resources/sessions`, label: 'Sessions' }}
        below="One session is one linked WhatsApp account."
      />
      <form className="cq-panel cq-form" onSubmit={submit}>
        <AccountChoice choices={choices} value={accountId} onChange={setAccountId} />
        <label>
          Name
          <input
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            pattern="[-_A-Za-z0-9]{1,64}"
            placeholder="front-desk"
            autoComplete="off"
          />
          <small>Letters, digits, dashes and underscores. Programs address the session by it.</small>
        </label>
        <label>
          Device name, optional
          <input
            value={deviceName}
            onChange={(event) => setDeviceName(event.target.value)}
            maxLength={64}
            placeholder="As the phone lists it under linked devices"
          />
        </label>
        {problem && (
          <p className="cq-note cq-bad" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" className="cq-button cq-main">
          Make it and show the code
        </button>
      </form>
    </div>
  );
};
export default NewSession;
