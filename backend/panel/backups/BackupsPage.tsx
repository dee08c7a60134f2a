import React from 'react';
import type { BackupsView } from '../../src/admin/backup-routes.js';
import { useRecord } from '../hooks.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Empty from '../parts/Empty.js';
import LiveState from '../parts/LiveState.js';
import NoticeLine from '../parts/NoticeLine.js';
import BackupList from './BackupList.js';

/** The backups of this installation. */
const BackupsPage: React.FC = () => {
  const record = useRecord<BackupsView>('/live/backups', 3000);
  const { value, error, notice, notify } = record;
  const isRunning = value?.backups.some(({ status }) => status === 'running') ?? false;
  return (
    <Page>
      <PageHead title="Backups" below={<LiveState of={record} />}>
        {value?.hasKey && !isRunning && (
          <ActionButton
            label="Back up now"
            path="/live/backups"
            tone="main"
            onDone={() => notify({ tone: 'good', text: 'The backup has begun.' })}
            onError={(text) => notify({ tone: 'bad', text })}
          />
        )}
      </PageHead>
      <NoticeLine notice={notice} />
      {value && <BackupState of={value} />}
      <section className="cq-panel cq-roomy">
        {!value && <p className="cq-soft">{error ?? 'Loading …'}</p>}
        {value?.backups.length === 0 && (
          <Empty title="There is no backup yet">
            <p className="cq-soft">A backup holds the database, the logins, the files and the secrets in one encrypted file.</p>
          </Empty>
        )}
        {value && value.backups.length > 0 && (
          <BackupList
            of={value.backups}
            onDone={() => notify({ tone: 'good', text: 'The backup was deleted.' })}
            onError={(text) => notify({ tone: 'bad', text })}
          />
        )}
      </section>
    </Page>
  );
};
export default BackupsPage;

/** The state of scheduled backups, in a sentence. */
const BackupState: React.FC<{ of: BackupsView }> = ({ of: { hasKey, schedule, problem, lastReadyAt } }) => {
  if (!hasKey)
    return (
      <p className="cq-note cq-bad" role="alert">
        Backups need a key. <code>npm run backup -- --new-key</code> makes one; set it as BACKUP_KEY and start the backend again.
      </p>
    );
  if (problem === 'failed')
    return (
      <p className="cq-note cq-bad" role="alert">
        The last backup of the schedule failed. The list says why. The last good backup: <Ago at={lastReadyAt} none="never" />.
      </p>
    );
  if (problem === 'overdue')
    return (
      <p className="cq-note cq-bad" role="alert">
        Backups are overdue. The last good one: <Ago at={lastReadyAt} none="never" />.
      </p>
    );
  return (
    <p className="cq-soft">
      Last good backup: <Ago at={lastReadyAt} none="never" />.{' '}
      {schedule ? (
        <>
          Made automatically at <code>{schedule}</code> (UTC).
        </>
      ) : (
        <>
          No backups are made automatically; <code>BACKUP_SCHEDULE</code> turns them on.
        </>
      )}
    </p>
  );
};
