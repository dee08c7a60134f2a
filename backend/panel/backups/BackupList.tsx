import React from 'react';
import type { BackupsView } from '../../src/admin/backup-routes.js';
import { root } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { count, exactText, type Tone } from '../words.js';

type Backup = BackupsView['backups'][number];

const words: Record<Backup['status'], [string, Tone]> = {
  running: ['Running', 'info'],
  ready: ['Ready', 'good'],
  failed: ['Failed', 'bad'],
};
const triggers: Record<Backup['trigger'], string> = { manual: 'by hand', schedule: 'by schedule', command: 'by command' };

const sizeText = (bytes: number): string =>
  bytes < 1_048_576 ? `${Math.ceil(bytes / 1_024)} KB` : `${(bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0)} MB`;

const counted = (n: number, one: string): string => `${count(n)} ${n === 1 ? one : `${one}s`}`;

/** What a backup holds, or why there is none. */
const Contents: React.FC<{ of: Backup }> = ({ of: { status, contents, error, verified } }) => {
  if (status === 'failed') return <>{error?.message}</>;
  if (!contents) return <span className="cq-soft">being made …</span>;
  const logins = Object.values(contents.workers).reduce((sum, worker) => sum + Object.keys(worker.logins).length, 0);
  const missing = contents.missingLogins.length;
  return (
    <>
      {counted(contents.messages, 'message')}, {counted(logins, 'login')}, {counted(contents.media.files, 'file')}
      {missing > 0 && <strong> · {counted(missing, 'login')} missing</strong>}
      <small className="cq-soft"> {verified ? 'read back and whole' : 'not read back: the key only writes'}</small>
    </>
  );
};

/** The backups, the newest first. */
const BackupList: React.FC<{ of: Backup[]; onDone: () => void; onError: (text: string) => void }> = ({ of, onDone, onError }) => (
  <ul className="cq-backups" aria-label="Backups">
    {of.map((backup) => (
      <li key={backup.id}>
        <div>
          <Badge tone={words[backup.status][1]}>{words[backup.status][0]}</Badge> <Ago at={backup.createdAt} />{' '}
          <small className="cq-soft">
            {triggers[backup.trigger]}
            {backup.size === null ? '' : ` · ${sizeText(backup.size)}`}
          </small>
          <p>
            <Contents of={backup} />
          </p>
        </div>
        <div className="cq-actions">
          {backup.status === 'ready' && (
            <a className="cq-button" href={`${root}/live/backups/${backup.id}/file`} download>
              Download
            </a>
          )}
          {backup.status !== 'running' && (
            <ActionButton
              label="Delete"
              path={`/live/backups/${backup.id}/delete`}
              tone="danger"
              question={`Delete the backup ${backup.fileName} of ${exactText(Date.parse(backup.createdAt))}?`}
              consequence="Its file is removed, and nothing can be restored from it."
              onDone={onDone}
              onError={onError}
            />
          )}
        </div>
      </li>
    ))}
  </ul>
);
export default BackupList;
