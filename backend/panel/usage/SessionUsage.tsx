import React from 'react';
import { Link } from 'react-router-dom';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { root } from '../api.js';
import FigureTable from '../parts/FigureTable.js';

/** The sessions with the most messages. */
const SessionUsage: React.FC<{ of: UsageView['report']['bySession'] }> = ({ of }) =>
  of.length === 0 ? (
    <p className="cq-soft">No session sent or received anything in this time.</p>
  ) : (
    <FigureTable
      of="Session"
      name="Busiest sessions"
      rows={of.map(({ sessionId, name, account, ...figures }) => ({
        ...figures,
        key: sessionId,
        label: (
          <>
            <Link to={`${root}/resources/sessions/records/${sessionId}/show`}>{name || sessionId}</Link>
            {account && <small className="cq-soft"> {account}</small>}
          </>
        ),
      }))}
    />
  );
export default SessionUsage;
