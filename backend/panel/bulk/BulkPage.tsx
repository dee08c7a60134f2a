import React, { useState } from 'react';
import type { ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import type { BulkView } from '../../src/admin/views/bulk.js';
import { root } from '../api.js';
import MissingRecord from '../frame/MissingRecord.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { useRecord } from '../hooks.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import Facts from '../parts/Facts.js';
import Meter from '../parts/Meter.js';
import NoticeLine from '../parts/NoticeLine.js';
import { bulkWord, count, exactText } from '../words.js';
import BulkActions from './BulkActions.js';
import RecipientList from './RecipientList.js';

const back = { to: `${root}/resources/bulk`, label: 'Bulk jobs' };

/** One bulk job: its progress, why it waits, when it ends, and its recipients. */
const BulkPage: React.FC<ActionProps> = ({ record }) => {
  const [status, setStatus] = useState('');
  const [page, setPage] = useState(1);
  const query = `?page=${page}${status ? `&status=${status}` : ''}`;
  const { value: job, error, notice, notify } = useRecord<BulkView>(`/live/bulk/${record?.id ?? ''}${query}`, 2_000);
  if (!job) return <MissingRecord title="Bulk job" back={back} below={error} />;
  const [word, tone] = bulkWord(job.status);
  const { counts } = job;
  const done = counts.total - counts.pending - counts.queued - counts.uncertain;
  return (
    <Page>
      <PageHead title={job.name ?? 'Bulk job'} back={back} below={<Badge tone={tone}>{word}</Badge>}>
        <BulkActions job={job} onNotice={notify} />
      </PageHead>
      <NoticeLine notice={notice} />
      {job.reason && (
        <p className="cq-note cq-warn">
          {job.reason.message}
          {job.waitingUntil ? ` Until ${exactText(Date.parse(job.waitingUntil))}.` : ''}
        </p>
      )}
      <div className="cq-columns">
        <Panel title="Recipients">
          <Meter label="Done" value={done} of={counts.total} text={`${count(done)} of ${count(counts.total)}`} isProgress />
          <RecipientList
            job={job}
            status={status}
            page={page}
            onStatus={(next) => {
              setStatus(next);
              setPage(1);
            }}
            onPage={setPage}
          />
        </Panel>
        <Details job={job} />
      </div>
    </Page>
  );
};
export default BulkPage;

/** The counts, the settings and the times of a job. */
const Details: React.FC<{ job: BulkView }> = ({ job }) => {
  const { counts } = job;
  return (
    <Panel title="Details">
      <Facts
        of={[
          ['Sent', count(counts.sent + counts.delivered + counts.read)],
          ['of them delivered', count(counts.delivered + counts.read)],
          ['of them read', count(counts.read)],
          ['Failed', count(counts.failed)],
          ['Uncertain', counts.uncertain > 0 ? count(counts.uncertain) : null],
          ['Skipped', count(counts.skipped)],
          ['Cancelled', counts.cancelled > 0 ? count(counts.cancelled) : null],
          ['Expected end', job.estimatedEndAt && exactText(Date.parse(job.estimatedEndAt))],
          ['Gap', `${job.gapMs[0]! / 1000} to ${job.gapMs[1]! / 1000} s`],
          ['Numbers', job.checkNumbers ? 'checked before each message' : null],
          ['Type', job.type],
          [
            'Session',
            <Link to={`${root}/resources/sessions/records/${job.session.id}/show`}>{job.session.name ?? job.session.id}</Link>,
          ],
          [
            'Account',
            <Link to={`${root}/resources/accounts/records/${job.account.id}/show`}>{job.account.name ?? job.account.id}</Link>,
          ],
          ['Scheduled for', job.scheduledAt && exactText(Date.parse(job.scheduledAt))],
          ['Started', job.startedAt && <Ago at={job.startedAt} />],
          ['Finished', job.finishedAt && <Ago at={job.finishedAt} />],
          ['Created', <Ago at={job.createdAtMs} />],
          ['Id', <code>{job.id}</code>],
        ]}
      />
    </Panel>
  );
};
