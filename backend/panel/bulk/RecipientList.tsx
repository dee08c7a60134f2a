import React from 'react';
import { Link } from 'react-router-dom';
import type { BulkView } from '../../src/admin/views/bulk.js';
import { root } from '../api.js';
import Badge from '../parts/Badge.js';
import { count, recipientWord } from '../words.js';

const statuses = ['pending', 'queued', 'sent', 'delivered', 'read', 'failed', 'uncertain', 'skipped', 'cancelled'] as const;

interface RecipientListProps {
  job: BulkView;
  status: string;
  page: number;
  onStatus: (status: string) => void;
  onPage: (page: number) => void;
}

/** The recipients of a job in the order of its list, by status. */
const RecipientList: React.FC<RecipientListProps> = ({ job, status, page, onStatus, onPage }) => {
  const pages = Math.max(1, Math.ceil(job.found / job.pageSize));
  return (
    <div className="cq-rows">
      <label className="cq-line">
        Show
        <select value={status} onChange={(event) => onStatus(event.target.value)}>
          <option value="">all recipients ({count(job.counts.total)})</option>
          {statuses.map((name) => (
            <option key={name} value={name}>
              {recipientWord(name)[0]} ({count(job.counts[name])})
            </option>
          ))}
        </select>
      </label>
      <ul className="cq-list cq-recipients">
        {job.recipients.map(({ row, recipient, status: state, reason, messageId }) => {
          const [word, tone] = recipientWord(state);
          return (
            <li key={row}>
              <span>
                {row}.{' '}
                {messageId ? (
                  <Link to={`${root}/resources/messages/records/${messageId}/show`}>{recipient ?? 'erased'}</Link>
                ) : (
                  (recipient ?? 'erased')
                )}
              </span>
              <span className="cq-below">
                <Badge tone={tone}>{word}</Badge>
                {reason && <small className="cq-why">{reason.message}</small>}
              </span>
            </li>
          );
        })}
      </ul>
      {job.found === 0 && <p className="cq-soft">There are none.</p>}
      {pages > 1 && (
        <div className="cq-line">
          <button type="button" className="cq-button" disabled={page <= 1} onClick={() => onPage(page - 1)}>
            Back
          </button>
          <span>
            Page {page} of {pages}
          </span>
          <button type="button" className="cq-button" disabled={page >= pages} onClick={() => onPage(page + 1)}>
            Next
          </button>
        </div>
      )}
    </div>
  );
};
export default RecipientList;
