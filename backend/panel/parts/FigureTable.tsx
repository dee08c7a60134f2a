import React from 'react';
import { count } from '../words.js';

interface Figures {
  key: React.Key;
  /** What the figures are of: an hour, a day, a session. */
  label: React.ReactNode;
  sent: number;
  received: number;
  failed: number;
}

/** Figures of messages as a table. `of`: what a row is. `name`: of the table, for those who cannot see it. */
const FigureTable: React.FC<{ of: string; name: string; rows: readonly Figures[] }> = ({ of, name, rows }) => (
  <div className="cq-scroll" tabIndex={0} role="group" aria-label={name}>
    <table className="cq-figures">
      <thead>
        <tr>
          <th scope="col">{of}</th>
          <th scope="col">Sent</th>
          <th scope="col">Received</th>
          <th scope="col">Failed</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.key}>
            <th scope="row">{row.label}</th>
            <td>{count(row.sent)}</td>
            <td>{count(row.received)}</td>
            <td>{count(row.failed)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);
export default FigureTable;
