import React from 'react';
import { Link } from 'react-router-dom';
import type { OverviewSession } from '../../src/admin/overview.js';
import { root } from '../api.js';
import SessionBadge from '../sessions/SessionBadge.js';
import { phoneText } from '../words.js';

/** A short list of sessions. Those that need a person come first, each with the reason why it is not connected. */
const SessionList: React.FC<{ sessions: OverviewSession[] }> = ({ sessions }) => {
  if (sessions.length === 0) return <p className="cq-soft">No sessions yet.</p>;
  return (
    <ul className="cq-list">
      {sessions.map((session) => (
        <li key={session.id}>
          <Link to={`${root}/resources/sessions/records/${session.id}/show`}>{session.name}</Link>
          <SessionBadge
            status={session.status}
            workerId={session.workerId}
            isLinked={session.phoneNumber !== null}
            reason={session.reason}
          />
          <small>
            {session.status === 'connected'
              ? [session.phoneNumber && phoneText(session.phoneNumber), session.account].filter(Boolean).join(' · ')
              : session.reason && `${session.reason.what} ${session.reason.next}`}
          </small>
        </li>
      ))}
    </ul>
  );
};
export default SessionList;
