import React from 'react';
import { Link } from 'react-router-dom';
import type { ErrorsView } from '../../src/admin/views/errors.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { count } from '../words.js';

/** One entry for each code, the latest first. A status of 500 or more is a fault of this installation, a lower one is a fault of the caller. */
const ErrorList: React.FC<{ of: ErrorsView['errors'] }> = ({ of }) => (
  <ul className="cq-list">
    {of.map(({ code, count: times, lastAt, status, advice, sample }) => (
      <li key={code}>
        <span>
          <Badge tone={(status ?? 500) >= 500 ? 'bad' : 'warn'}>{status ?? '?'}</Badge> <code>{code}</code> {count(times)} ×
        </span>
        <Ago at={lastAt} />
        {advice && <small>{advice}</small>}
        {sample && (
          <small>
            Last: <code>{`${sample.method} ${sample.route}`}</code>
            {sample.accountId && (
              <>
                {' by '}
                <Link to={`${root}/resources/accounts/records/${sample.accountId}/show`}>{sample.account}</Link>
              </>
            )}
            , request <code>{sample.requestId}</code>
          </small>
        )}
      </li>
    ))}
  </ul>
);
export default ErrorList;
