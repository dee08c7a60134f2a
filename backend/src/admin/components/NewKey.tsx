import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { ChoicesView } from '../views.js';
import { messageOf, post, root, usePoll } from './api.js';
import AccountChoice from './AccountChoice.js';
import Once from './Once.js';
import PageHead from './PageHead.js';

/** Sets of permissions that most programs need; finer ones are given through the API. */
const kinds: [string, string, string[]][] = [
  ['send', 'Send messages', ['messages.send', 'instance.info']],
  ['both', 'Send and receive', ['messages.send', 'messages.receive', 'instance.info', 'events.read', 'contacts.check']],
  [
    'read',
    'Read only',
    ['messages.receive', 'instance.info', 'instance.stats', 'events.read', 'chats.read', 'contacts.read', 'groups.read'],
  ],
  ['all', 'Everything', ['*']],
];

/** Makes a key, which is shown once. */
const NewKey: React.FC = () => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const [sessionId, setSessionId] = useState('');
  const [name, setName] = useState('');
  const [kind, setKind] = useState('send');
  const [secret, setSecret] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const given = kinds.find(([id]) => id === kind)?.[2] ?? [];
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setProblem(null);
    post<{ secret: string }>('/live/keys', { accountId, sessionId: sessionId || null, name, permissions: given }).then(
      (made) => setSecret(made.secret),
      (error: unknown) => setProblem(messageOf(error)),
    );
  };
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="New key" back={{ to: `${root}/resources/keys`, label: 'API keys' }} />
      {secret ? (
        <>
          <Once
            label={`The key “${name}”`}
            secret={secret}
            hint="Shown this once; only its hash is stored. Programs send it as: Authorization: ApiKey <key>."
          />
          <Link className="cq-button" to={`${root}/resources/keys`}>
            All keys
          </Link>
        </>
      ) : (
        <form className="cq-panel cq-form" onSubmit={submit}>
          <label>
            Name
            <input
              value={name}
              onChange={(event) => setName(event.target.value)}
              required
              maxLength={100}
              placeholder="web shop"
              autoComplete="off"
            />
          </label>
          <AccountChoice choices={choices} value={accountId} onChange={setAccountId} />
          <label>
            Reaches
            <select value={sessionId} onChange={(event) => setSessionId(event.target.value)}>
              <option value="">all sessions of the account</option>
              {(choices?.sessions ?? [])
                .filter((session) => session.accountId === accountId)
                .map((session) => (
                  <option key={session.id} value={session.id}>
                    only {session.name}
                  </option>
                ))}
            </select>
          </label>
          <label>
            May
            <select value={kind} onChange={(event) => setKind(event.target.value)}>
              {kinds.map(([id, label]) => (
                <option key={id} value={id}>
                  {label}
                </option>
              ))}
            </select>
            <small>{given.join(', ').replace('*', 'every permission')}</small>
          </label>
          {problem && (
            <p className="cq-note cq-bad" role="alert">
              {problem}
            </p>
          )}
          <button type="submit" className="cq-button cq-main">
            Make the key
          </button>
        </form>
      )}
    </div>
  );
};
export default NewKey;
