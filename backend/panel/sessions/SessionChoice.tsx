import React from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';

interface SessionChoiceProps {
  choices: ChoicesView | null;
  accountId: string;
  value: string;
  onChange: (id: string) => void;
}

/** The choice of one session of an account, or of all of them. */
const SessionChoice: React.FC<SessionChoiceProps> = ({ choices, accountId, value, onChange }) => (
  <label>
    Scope
    <select value={value} onChange={(event) => onChange(event.target.value)}>
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
);
export default SessionChoice;
