import React from 'react';
import type { BulkView } from '../../src/admin/views/bulk.js';
import ActionButton from '../parts/ActionButton.js';
import { count } from '../words.js';
import type { Notice } from '../parts/NoticeLine.js';

/** The actions on a bulk job that its status allows. */
const BulkActions: React.FC<{ job: BulkView; onNotice: (notice: Notice) => void }> = ({ job, onNotice }) => {
  const path = `/live/bulk/${job.id}`;
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  const notify = (text: string) => ({ onError, onDone: () => onNotice({ tone: 'good', text }) });
  const isActive = job.status === 'running' || job.status === 'waiting' || job.status === 'scheduled';
  return (
    <>
      {job.counts.failed > 0 && job.status !== 'cancelled' && (
        <ActionButton label="Send failed again" path={`${path}/retry`} {...notify('They are sent again.')} />
      )}
      {isActive && (
        <ActionButton label="Pause" path={`${path}/pause`} {...notify('Paused. A message that is in the queue is sent.')} />
      )}
      {job.status === 'paused' && <ActionButton label="Resume" path={`${path}/resume`} tone="main" {...notify('Resumed.')} />}
      {(isActive || job.status === 'paused') && (
        <ActionButton
          label="Cancel job"
          path={`${path}/cancel`}
          tone="danger"
          question={`Cancel the bulk job ${job.name ?? `of ${count(job.counts.total)} recipients`}?`}
          consequence={`Recipients without a message get none. At present they are ${count(job.counts.pending)}. Messages that are being sent go on.`}
          {...notify('Cancelled. Messages that are being sent go on.')}
        />
      )}
    </>
  );
};
export default BulkActions;
