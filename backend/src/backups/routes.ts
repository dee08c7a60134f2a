import { basename } from 'node:path';
import { handled } from '@chasqui/shared/express';
import type { Mount } from '../accounts/caller.js';
import { sendDownload } from '../lib/send-file.js';
import { parts as allParts } from './archive/members.js';
import type { Backups } from './backups.js';
import * as contract from './contract.js';
import { presentBackup } from './present.js';

/** Mounts the routes of backups, for admins. */
export function mountBackups(mount: Mount, { backups }: { backups: Backups }): void {
  mount(contract.listBackups, async () => (await backups.list()).map(presentBackup));
  mount(contract.createBackup, async ({ body }, caller) => presentBackup(await backups.create(caller, body.parts ?? allParts)));
  mount(contract.readBackup, async ({ params }) => presentBackup(await backups.find(params.backupId)));
  mount(contract.backupFile, async ({ params }, caller, { res, header }) => {
    const path = await backups.file(caller, params.backupId);
    await sendDownload(res, {
      path,
      name: basename(path),
      type: 'application/octet-stream',
      range: header('Range'),
      missing: 'BACKUP_NOT_FOUND',
    });
    return handled;
  });
  mount(contract.deleteBackup, async ({ params, query }, caller) => {
    await backups.remove(caller, params.backupId, { force: query.force ?? false });
    return { id: params.backupId, deleted: true as const };
  });
}
