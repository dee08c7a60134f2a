import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import { messageOf, post, root } from './api.js';
import Once from './Once.js';
import PageHead from './PageHead.js';

/** Makes an account with a one-time password, which is shown once. */
const NewAccount: React.FC = () => {
  const [username, setUsername] = useState('');
  const [email, setEmail] = useState('');
  const [role, setRole] = useState('user');
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setProblem(null);
    post<{ id: string; secret: string }>('/live/accounts', { username, email, role }).then(setMade, (error: unknown) =>
      setProblem(messageOf(error)),
    );
  };
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="New account" back={{ to: `${root}/resources/accounts`, label: 'Accounts' }} />
      {made ? (
        <>
          <Once
            label={`One-time password of ${username}`}
            secret={made.secret}
            hint="Shown this once. It must be changed at the first login."
          />
          <Link className="cq-button" to={`${root}/resources/accounts/records/${made.id}/show`}>
            Open the account
          </Link>
        </>
      ) : (
        <form className="cq-panel cq-form" onSubmit={submit}>
          <label>
            Name
            <input
              value={username}
              onChange={(event) => setUsername(event.target.value)}
              required
              maxLength={64}
              autoComplete="off"
            />
          </label>
          <label>
            E-mail address
            <input
              type="email"
              value={email}
              onChange={(event) => setEmail(event.target.value)}
              required
              maxLength={254}
              autoComplete="off"
            />
          </label>
          <label>
            Role
            <select value={role} onChange={(event) => setRole(event.target.value)}>
              <option value="user">user: API only</option>
              <option value="staff">staff: panel, reads all</option>
              <option value="admin">admin: everything</option>
            </select>
          </label>
          {problem && (
            <p className="cq-note cq-bad" role="alert">
              {problem}
            </p>
          )}
          <button type="submit" className="cq-button cq-main">
            Make the account
          </button>
        </form>
      )}
    </div>
  );
};
export default NewAccount;
