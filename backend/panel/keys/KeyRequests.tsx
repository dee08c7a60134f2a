import React from 'react';
import type { KeyView } from '../../src/admin/views/key.js';
import Ago from '../parts/Ago.js';

/** The last requests of a key, without their content. */
const KeyRequests: React.FC<{ of: KeyView['requests'] }> = ({ of }) =>
  of.length === 0 ? (
    <p className="cq-soft">No request in the last week.</p>
  ) : (
    <div className="cq-scroll" tabIndex={0} role="group" aria-label="Last requests">
      <table className="cq-figures">
        <thead>
          <tr>
            <th scope="col">Request</th>
            <th scope="col">Status</th>
            <th scope="col">Duration</th>
            <th scope="col">When</th>
            <th scope="col">Request id</th>
          </tr>
        </thead>
        <tbody>
          {of.map(({ id, at, method, route, status, code, ms, requestId }) => (
            <tr key={id}>
              <th scope="row">
                <code>{`${method} ${route}`}</code>
              </th>
              <td>
                {status}
                {code && <small className="cq-soft"> {code}</small>}
              </td>
              <td>{ms} ms</td>
              <td>
                <Ago at={at} />
              </td>
              <td>
                <code>{requestId}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
export default KeyRequests;
