import React from 'react';
import { Link } from 'react-router-dom';
import type { PrivacyRequestView } from '../../src/admin/views/privacy.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { count, type Tone } from '../words.js';

const states: Record<PrivacyRequestView['status'], [string, Tone]> = {
  queued: ['Waiting', 'info'],
  running: ['Running', 'info'],
  done: ['Done', 'good'],
  failed: ['Failed', 'bad'],
};
const kinds: Record<PrivacyRequestView['kind'], string> = { export: 'Export', erasure: 'Erasure' };

/** What a request found or removed: `12 messages, 3 files`. */
const found = (counts: PrivacyRequestView['counts']): string =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([what, n]) => `${count(n)} ${n === 1 ? what.replace(/s$/, '') : what}`)
    .join(', ') || 'nothing was stored';

/** What follows from the state of a request, in a sentence. */
const Outcome: React.FC<{ of: PrivacyRequestView }> = ({ of: { kind, status, counts, hasArchive, expiresAt } }) => {
  if (status === 'queued' || status === 'running') return <>In work; it goes on after a restart too.</>;
  if (status === 'failed') return <>It could not be done. Make a new request; the log of the backend says why.</>;
  if (kind === 'erasure') return <>Removed: {found(counts)}.</>;
  return (
    <>
      Found: {found(counts)}.{' '}
      {hasArchive ? (
        <small className="cq-soft">
          The archive is deleted <Ago at={expiresAt} />.
        </small>
      ) : (
        <small className="cq-soft">Its archive has been deleted.</small>
      )}
    </>
  );
};

/** The exports and erasures, the newest first. */
const PrivacyRequestList: React.FC<{ of: PrivacyRequestView[] }> = ({ of }) => (
  <ul className="cq-backups" aria-label="Privacy requests">
    {of.map((request) => (
      <li key={request.id}>
        <div>
          <Badge tone={states[request.status][1]}>{states[request.status][0]}</Badge> <strong>{kinds[request.kind]}</strong>{' '}
          {request.contact === null ? <span className="cq-soft">an erased contact</span> : <code>{request.contact}</code>}{' '}
          <small className="cq-soft">
            of <Link to={`${root}/resources/accounts/records/${request.account.id}/show`}>{request.account.name}</Link>,{' '}
          </small>
          <Ago at={request.createdAt} />
          <p>
            <Outcome of={request} />
          </p>
        </div>
        {request.hasArchive && (
          <div className="cq-actions">
            <a className="cq-button" href={`${root}/live/privacy/${request.id}/file`} download>
              Download
            </a>
          </div>
        )}
      </li>
    ))}
  </ul>
);
export default PrivacyRequestList;
