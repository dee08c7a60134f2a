import React from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import { sessionWord } from '../words.js';

const order = ['connected', 'connecting', 'initializing', 'qr_pending', 'passkey_required', 'disconnected', 'suspended', 'error'];

/** The number of sessions in each state. */
const SessionBars: React.FC<{ byStatus: Record<string, number>; total: number }> = ({ byStatus, total }) => {
  const present = order.filter((status) => byStatus[status]);
  if (present.length === 0) return <p className="cq-soft">No sessions yet.</p>;
  return (
    <ul className="cq-bars">
      {present.map((status) => {
        const [word, tone] = sessionWord(status);
        const number = byStatus[status] ?? 0;
        return (
          <li key={status}>
            <Link to={`${root}/resources/sessions?filters.status=${status}`}>
              <span>{word}</span>
              <b>{number}</b>
              <i className={`cq-${tone}`} style={{ width: `${Math.max(3, (number / total) * 100)}%` }} />
            </Link>
          </li>
        );
      })}
    </ul>
  );
};
export default SessionBars;
