import React from 'react';
import { Link } from 'react-router-dom';
import type { Overview } from '../../src/admin/overview.js';
import { root } from '../api.js';
import { sessionWord, unconfirmedWord, type Tone } from '../words.js';

const order = ['connected', 'connecting', 'initializing', 'qr_pending', 'passkey_required', 'disconnected', 'suspended', 'error'];

/** Sessions that a person stopped and phones that went away are counted together. */
const wordOf = (status: string): [string, Tone] =>
  status === 'disconnected' ? ['Stopped or offline', 'idle'] : sessionWord(status);

/** The number of sessions in each state. */
const SessionBars: React.FC<{ of: Overview['sessions'] }> = ({ of: { byStatus, connected, unconfirmed, total } }) => {
  // What a silent worker reported last proves nothing.
  const proven: Record<string, number> = { ...byStatus, connected };
  const bars = order.map((status) => ({ status, word: wordOf(status), number: proven[status] ?? 0 }));
  const silent = { status: 'connected', word: unconfirmedWord, number: unconfirmed };
  const present = [silent, ...bars].filter(({ number }) => number > 0);
  if (present.length === 0) return <p className="cq-soft">No sessions yet.</p>;
  return (
    <ul className="cq-bars">
      {present.map(({ status, word: [word, tone], number }) => (
        <li key={word}>
          <Link to={`${root}/resources/sessions?filters.status=${status}`}>
            <span>{word}</span>
            <b>{number}</b>
            <i className={`cq-${tone}`} style={{ width: `${Math.max(3, (number / total) * 100)}%` }} />
          </Link>
        </li>
      ))}
    </ul>
  );
};
export default SessionBars;
