import React from 'react';
import { Link } from 'react-router-dom';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { root } from '../api.js';
import Meter from '../parts/Meter.js';
import { count } from '../words.js';

/** Why messages failed, the most frequent reason first. */
const FailureReasons: React.FC<{ of: UsageView['report']['failuresByReason']; total: number }> = ({ of, total }) => (
  <div className="cq-stack">
    {of.map((reason) => (
      <div key={reason.code} className="cq-stretch">
        <Meter label={reason.code ?? 'no reason'} value={reason.count} of={total} text={count(reason.count)} />
        {reason.message && <small className="cq-soft">{reason.message}</small>}
      </div>
    ))}
    <Link to={`${root}/resources/messages?filters.status=failed`}>Failed messages</Link>
  </div>
);
export default FailureReasons;
