import { basename } from 'node:path';
import { readable } from '../db/unreadable.js';
import type { Backup } from './backup.entity.js';

/** Returns a backup in the form of the API and the panel. */
export const presentBackup = (row: Backup) => ({
  id: row.id,
  status: row.status,
  trigger: row.trigger,
  parts: readable(row.parts, []),
  fileName: basename(row.file),
  size: row.size,
  sha256: row.sha256,
  verified: row.verified,
  contents: readable(row.contents, null),
  error: row.errorCode === null ? null : { code: row.errorCode, message: row.errorText ?? '' },
  createdAt: row.createdAt.toISOString(),
  finishedAt: row.finishedAt?.toISOString() ?? null,
});
export type PresentedBackup = ReturnType<typeof presentBackup>;
