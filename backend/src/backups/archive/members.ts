import { z } from 'zod';
import { BackupProblem } from '../problem.js';

/**
 * The form of a backup: tar, compressed with gzip, encrypted with age. `age -d -i KEY file | tar xz` opens it. The members, in their order:
 *
 * | member | content |
 * | --- | --- |
 * | `backup.json` | `BackupHeader` |
 * | `database.sqlite` or `database.dump` | a snapshot of the database: an SQLite file, or the custom format of `pg_dump` |
 * | `secrets.json` | the secrets that the installation used, in the form of `DATA_DIR/secrets.json` |
 * | `workers/<workerId>/worker.sqlite` | the database of a worker |
 * | `workers/<workerId>/logins/<sessionId>/…` | the files of a login |
 * | `media/<xx>/<id>` | the files of messages |
 * | `contents.json` | `BackupContents`: what was found, and what is missing |
 * | `SHA256SUMS` | `<hash>  <member>` for each member before it; without this last member the archive is not whole |
 */

export const archiveFormat = 1;
export const lastMember = 'SHA256SUMS';

export const parts = ['database', 'profiles', 'media'] as const;
export type BackupPart = (typeof parts)[number];

export const backupHeader = z.object({
  format: z.number().int().positive(),
  backupId: z.string().max(64),
  version: z.string().max(64),
  takenAt: z.iso.datetime(),
  database: z.enum(['sqlite', 'postgres']),
  /** The name of the last migration that has run. A program that does not know it is older than the backup. */
  migration: z.string().max(200),
  /** The major version of the PostgreSQL server; null for SQLite. */
  serverVersion: z.number().int().nullable(),
  parts: z.array(z.enum(parts)),
  /** Whether the backend and all workers were stopped while it was taken, so that nothing was sent in the meantime. */
  isStopped: z.boolean(),
});
export type BackupHeader = z.infer<typeof backupHeader>;

export const backedUpLogin = z.object({ savedAt: z.number(), fresh: z.boolean() });

/** The id of a worker or a session. Both name folders. */
const id = '[\\w-]{1,64}';
const folderName = z.string().regex(new RegExp(`^${id}$`));

export const backupContents = z.object({
  messages: z.number().int(),
  sessions: z.number().int(),
  media: z.object({ files: z.number().int(), bytes: z.number().int() }),
  /** The logins that are complete in this archive, by worker. `fresh`: the copy was made for this backup. */
  workers: z.record(folderName, z.object({ logins: z.record(folderName, backedUpLogin) })),
  /** Linked sessions without a login in this archive. After a restore they must be linked again. */
  missingLogins: z.array(z.object({ sessionId: z.string(), reason: z.enum(['WORKER_UNREACHABLE', 'NO_COPY']) })),
});
export type BackupContents = z.infer<typeof backupContents>;

const known = new RegExp(
  `^(?:backup\\.json|contents\\.json|secrets\\.json|${lastMember}|database\\.sqlite|database\\.dump|media/[\\w-]{1,8}/[\\w-]{1,64}|workers/${id}/worker\\.sqlite|workers/${id}/logins/${id}/.+)$`,
);

/**
 * Throws `ARCHIVE_REFUSED` for a member that no backup has. The file may come from anyone: a name with `..`, a link or a device would reach outside
 * of the folder that is restored.
 */
export function checkMember({ name, type }: { name: string; type: string | null | undefined }): void {
  const refuse = (why: string): never => {
    throw new BackupProblem(
      'ARCHIVE_REFUSED',
      `The archive is refused: ${why}. It was not made by this program. Use another backup.`,
    );
  };
  if (type !== 'file' && type !== 'contiguous-file') refuse(`it holds a member that is not a file (${String(type)})`);
  const segments = name.split('/');

  if (/[\\\u0000-\u001f]/.test(name) || name.length > 1_024)
    refuse('the name of a member has characters that no file of a backup has');
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..'))
    refuse('the name of a member leads outside the folder that is restored');
  if (!known.test(name)) refuse('it holds a member that no backup has');
}
