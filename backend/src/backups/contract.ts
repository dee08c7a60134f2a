import { defineRoute, queryFlag } from '@chasqui/shared';
import { z } from 'zod';
import { backupContents, parts } from './archive/members.js';

/** Routes of admins: backups of the whole installation. */

const time = z.iso.datetime();
const params = z.object({ backupId: z.string().max(64) });

export const backup = z
  .object({
    id: z.string(),
    status: z.enum(['running', 'ready', 'failed']),
    /** Who asked for it: a person, the schedule, or the command line. */
    trigger: z.enum(['manual', 'schedule', 'command']),
    parts: z.array(z.enum(parts)),
    fileName: z.string(),
    /** In bytes. Null unless it is ready. */
    size: z.number().int().nullable(),
    sha256: z.string().nullable(),
    /** Whether it was read back and compared. False where the key can only write. */
    verified: z.boolean(),
    contents: backupContents.nullable(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    createdAt: time,
    finishedAt: time.nullable(),
  })
  .meta({ id: 'Backup' });

export const listBackups = defineRoute({
  id: 'admin.backups.list',
  method: 'get',
  path: '/admin/backups',
  summary: 'The backups of this installation, the newest first',
  auth: 'adm',
  reply: z.array(backup),
});
export const createBackup = defineRoute({
  id: 'admin.backups.create',
  examples: { 'Without the files of messages': { parts: ['database', 'profiles'] } },
  method: 'post',
  path: '/admin/backups',
  summary:
    'Make a backup: the database with the secrets, and the logins (`profiles`) and files (`media`) unless `parts` leaves them out',
  auth: 'adm',
  idempotency: { without: 'One backup is made at a time; a second request is refused while the first one runs.' },
  body: z.strictObject({ parts: z.array(z.enum(parts)).min(1).optional() }),
  status: 202,
  reply: backup,
  errors: ['BACKUP_RUNNING', 'BACKUP_KEY_REQUIRED'],
});
export const readBackup = defineRoute({
  id: 'admin.backups.read',
  method: 'get',
  path: '/admin/backups/:backupId',
  summary: 'One backup: how far it is, what it holds, or why it failed',
  auth: 'adm',
  params,
  reply: backup,
  errors: ['BACKUP_NOT_FOUND'],
});
export const backupFile = defineRoute({
  id: 'admin.backups.file',
  method: 'get',
  path: '/admin/backups/:backupId/file',
  summary: 'The archive, encrypted with BACKUP_KEY. It holds every login and secret of the installation',
  headers: ['Range'],
  auth: 'adm',
  params,
  status: [200, 206],
  files: ['application/octet-stream'],
  envelope: false,
  errors: ['BACKUP_NOT_FOUND', 'BACKUP_NOT_READY', 'RANGE_NOT_SATISFIABLE'],
});
export const deleteBackup = defineRoute({
  id: 'admin.backups.delete',
  method: 'delete',
  path: '/admin/backups/:backupId',
  summary:
    'Delete a backup and its file. A backup whose file is on another machine is refused there; `force` deletes its entry without the file',
  auth: 'adm',
  params,
  query: z.strictObject({ force: queryFlag.optional() }),
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['BACKUP_NOT_FOUND', 'BACKUP_RUNNING'],
});
