import React, { useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { get, messageOf, usePoll } from '../api.js';

export interface UsageChoice {
  days: number;
  /** Empty: all accounts. */
  accountId: string;
  /** Empty: all sessions. */
  sessionId: string;
}

interface UsageFilterProps {
  choice: UsageChoice;
  onChange: (choice: UsageChoice) => void;
  /** The route of the same figures as CSV. */
  tablePath: string;
}

const ranges: [number, string][] = [
  [7, '7 days'],
  [30, '30 days'],
  [90, '90 days'],
  [366, '1 year'],
];

/** The range, the account and the session of the figures, and a button that saves them. */
const UsageFilter: React.FC<UsageFilterProps> = ({ choice, onChange, tablePath }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [problem, setProblem] = useState<string | null>(null);
  const save = (): void => {
    setProblem(null);
    get<{ name: string; csv: string }>(tablePath).then(
      ({ name, csv }) => saveFile(name, csv),
      (error: unknown) => setProblem(messageOf(error)),
    );
  };
  const sessions = (choices?.sessions ?? []).filter(({ accountId }) => accountId === choice.accountId);
  return (
    <div className="cq-line cq-usage-filter">
      <div className="cq-switch" role="group" aria-label="Range">
        {ranges.map(([days, label]) => (
          <button key={days} type="button" aria-pressed={choice.days === days} onClick={() => onChange({ ...choice, days })}>
            {label}
          </button>
        ))}
      </div>
      <label>
        Account{' '}
        <select
          value={choice.accountId}
          onChange={(event) => onChange({ ...choice, accountId: event.target.value, sessionId: '' })}
        >
          <option value="">all accounts</option>
          {(choices?.accounts ?? []).map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {choice.accountId && (
        <label>
          Session{' '}
          <select value={choice.sessionId} onChange={(event) => onChange({ ...choice, sessionId: event.target.value })}>
            <option value="">all sessions</option>
            {sessions.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <button type="button" className="cq-button" onClick={save}>
        Download CSV
      </button>
      {problem && (
        <p className="cq-note cq-bad" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
};
export default UsageFilter;

function saveFile(name: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
