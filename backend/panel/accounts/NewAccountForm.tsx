import React, { useState } from 'react';
import { messageOf, post } from '../api.js';
import RoleChoice from './RoleChoice.js';

export interface MadeAccount {
  id: string;
  username: string;
  secret: string;
}

/** Name, address and role of a new account. */
const NewAccountForm: React.FC<{ onMade: (made: MadeAccount) => void }> = ({ onMade }) => {
  const [username, setUsername] = useState('');
  const [email, setEmail] = useState('');
  const [role, setRole] = useState('user');
  const [problem, setProblem] = useState<string | null>(null);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setProblem(null);
    post<{ id: string; secret: string }>('/live/accounts', { username, email, role }).then(
      (made) => onMade({ ...made, username }),
      (error: unknown) => setProblem(messageOf(error)),
    );
  };
  return (
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
        <RoleChoice value={role} onChange={setRole} />
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
  );
};
export default NewAccountForm;
