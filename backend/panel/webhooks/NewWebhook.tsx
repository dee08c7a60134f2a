import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { messageOf, post, root, usePoll } from '../api.js';
import Once from '../parts/Once.js';
import PageHead from '../frame/PageHead.js';
import SessionChoice from '../sessions/SessionChoice.js';

const back = { to: `${root}/resources/webhooks`, label: 'Webhooks' };

/** Makes an endpoint; its secret is shown once. */
const NewWebhook: React.FC = () => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const [sessionId, setSessionId] = useState('');
  const [url, setUrl] = useState('');
  const [events, setEvents] = useState('message.*');
  const [problem, setProblem] = useState<string | null>(null);
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setProblem(null);
    const names = events.split(/[\s,]+/).filter(Boolean);
    post<{ id: string; secret: string }>('/live/webhooks', { accountId, sessionId: sessionId || null, url, events: names }).then(
      setMade,
      (error: unknown) => setProblem(messageOf(error)),
    );
  };
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="New webhook" back={back} />
      {made ? (
        <>
          <Once label="Its secret" secret={made.secret} hint="Shown this once. The receiver verifies each delivery with it." />
          <Link className="cq-button" to={`${root}/resources/webhooks/records/${made.id}/show`}>
            Open the webhook
          </Link>
        </>
      ) : (
        <form className="cq-panel cq-form" onSubmit={submit}>
          <label>
            URL
            <input
              type="url"
              value={url}
              onChange={(event) => setUrl(event.target.value)}
              placeholder="https://shop.example/hooks"
              required
              maxLength={2048}
            />
          </label>
          <label>
            Events <small className="cq-soft">parted by blanks: message.received, message.*, *</small>
            <input value={events} onChange={(event) => setEvents(event.target.value)} required />
          </label>
          <AccountChoice choices={choices} value={accountId} onChange={setAccountId} />
          <SessionChoice choices={choices} accountId={accountId} value={sessionId} onChange={setSessionId} />
          {problem && (
            <p className="cq-note cq-bad" role="alert">
              {problem}
            </p>
          )}
          <button type="submit" className="cq-button cq-main">
            Make the webhook
          </button>
        </form>
      )}
    </div>
  );
};
export default NewWebhook;
