import React from 'react';
import { Link } from 'react-router-dom';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { root } from '../api.js';
import { count } from '../words.js';

/** The sessions with the most messages. */
const SessionUsage: React.FC<{ of: UsageView['report']['bySession'] }> = ({ of }) =>
  of.length === 0 ? (
    <p className="cq-soft">No session sent or received anything in this time.</p>
  ) : (
    <div className="cq-scroll" tabIndex={0} role="group" aria-label="Busiest sessions">
      <table className="cq-figures">
        <thead>
          <tr>
            <th scope="col">Session</th>
            <th scope="col">Sent</th>
            <th scope="col">Received</th>
            <th scope="col">Failed</th>
          </tr>
        </thead>
        <tbody>
          {of.map(({ sessionId, name, account, sent, received, failed }) => (
            <tr key={sessionId}>
              <th scope="row">
                <Link to={`${root}/resources/sessions/records/${sessionId}/show`}>{name || sessionId}</Link>
                {account && <small className="cq-soft"> {account}</small>}
              </th>
              <td>{count(sent)}</td>
              <td>{count(received)}</td>
              <td>{count(failed)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
export default SessionUsage;
