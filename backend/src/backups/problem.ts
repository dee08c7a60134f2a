import { StartProblem } from '../lib/start-problem.js';

/** The kinds of failures of a backup or a restore. Each is stored with the backup and shown to staff. */
export const backupProblems = [
  'KEY_MISSING',
  'KEY_INVALID',
  'KEY_WRONG',
  'ARCHIVE_DAMAGED',
  'ARCHIVE_REFUSED',
  'ARCHIVE_NEWER',
  'DISK_FULL',
  'BACKUP_RUNNING',
  'DATABASE_TOOL_MISSING',
  'DATABASE_TOOL_FAILED',
  'NOT_EMPTY',
  'WRONG_DATABASE',
  'RUNNING',
  'INTERRUPTED',
  'FAILED',
] as const;
export type BackupProblemCode = (typeof backupProblems)[number];

/** The exit code of the program when another process is making a backup; 1 for every other failure. */
export const busyExitCode = 3;

/** Why a backup or a restore did not succeed, in sentences that end with the next step. It is printed without a stack. */
export class BackupProblem extends StartProblem {
  constructor(
    readonly code: BackupProblemCode,
    message: string,
  ) {
    super(message);
    this.name = 'BackupProblem';
  }
}

/** Turns the errors of a full disk into a `BackupProblem`. Other errors are returned unchanged. */
export function diskProblem(error: unknown, folder: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'SQLITE_FULL') return error;
  return new BackupProblem('DISK_FULL', `The disk of ${folder} is full. Free some space, then run the same command again.`);
}
