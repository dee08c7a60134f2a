import React, { useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { messageOf, post, usePoll } from '../api.js';
import AccountChoice from '../accounts/AccountChoice.js';
import PermissionChoice, { permissionSets } from './PermissionChoice.js';
import SessionChoice from '../sessions/SessionChoice.js';

/** Whose key it is, what it reaches and what it may do. */
const NewKeyForm: React.FC<{ onMade: (made: { name: string; secret: string }) => void }> = ({ onMade }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const [sessionId, setSessionId] = useState('');
  const [name, setName] = useState('');
  const [set, setSet] = useState('send');
  const [problem, setProblem] = useState<string | null>(null);
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setProblem(null);
    const input = { accountId, sessionId: sessionId || null, name, permissions: permissionSets[set]?.permissions ?? [] };
    post<{ secret: string }>('/live/keys', input).then(
      ({ secret }) => onMade({ name, secret }),
      (error: unknown) => setProblem(messageOf(error)),
    );
  };
  return (
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
      <SessionChoice choices={choices} accountId={accountId} value={sessionId} onChange={setSessionId} />
      <PermissionChoice value={set} onChange={setSet} />
      {problem && (
        <p className="cq-note cq-bad" role="alert">
          {problem}
        </p>
      )}
      <button type="submit" className="cq-button cq-main">
        Make the key
      </button>
    </form>
  );
};
export default NewKeyForm;
