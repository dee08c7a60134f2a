import React from 'react';
import Field from '../parts/Field.js';
import type { ChoicesView } from '../../src/admin/views/choices.js';

interface SessionChoiceProps {
  choices: ChoicesView | null;
  accountId: string;
  value: string;
  onChange: (id: string) => void;
  /** The empty value means all sessions. Otherwise one must be chosen. */
  isScope?: boolean;
}

/** The choice of a session of an account. */
const SessionChoice: React.FC<SessionChoiceProps> = ({ choices, accountId, value, onChange, isScope = false }) => (
  <Field label={isScope ? 'Scope' : 'Session'} name="sessionId">
    <select value={value} onChange={(event) => onChange(event.target.value)} required={!isScope}>
      <option value="">{isScope ? 'all sessions of the account' : 'choose a session'}</option>
      {(choices?.sessions ?? [])
        .filter((session) => session.accountId === accountId)
        .map((session) => (
          <option key={session.id} value={session.id}>
            {isScope ? `only ${session.name}` : session.name}
          </option>
        ))}
    </select>
  </Field>
);
export default SessionChoice;
