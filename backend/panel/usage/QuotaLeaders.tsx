import React from 'react';
import { Link } from 'react-router-dom';
import type { QuotaLeader } from '../../src/admin/views/quota-leaders.js';
import { root } from '../api.js';
import Meter from '../parts/Meter.js';
import { count } from '../words.js';

/** Who has used most of a daily quota. */
const QuotaLeaders: React.FC<{ of: QuotaLeader[]; resource: 'accounts' | 'sessions' }> = ({ of, resource }) =>
  of.length === 0 ? (
    <p className="cq-soft">Nothing was sent today.</p>
  ) : (
    <div className="cq-stack">
      {of.map(({ id, name, account, used, limit }) => (
        <div key={id} className="cq-stretch">
          <Meter
            label={resource === 'accounts' ? name : `${account} · ${name}`}
            value={used}
            of={limit}
            text={limit === null ? `${count(used)}, no limit` : `${count(used)} of ${count(limit)}`}
          />
          <Link to={`${root}/resources/${resource}/records/${id}/show`} aria-label={`Open ${name}`}>
            Open
          </Link>
        </div>
      ))}
    </div>
  );
export default QuotaLeaders;
