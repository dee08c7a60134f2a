import { basename } from 'node:path';
import type { Backup } from './backup.entity.js';

/** The names of the files in BACKUP_DIR. Each contains the end of the id of its backup, so that no two backups have the same name. */

export const ending = '.tar.gz.age';

const endOf = (id: string): string => `${id.slice(-8)}${ending}`;

export const fileNameOf = (id: string, createdAt: Date): string =>
  `chasqui-${createdAt.toISOString().replace(/[:.]/g, '-')}-${endOf(id)}`;

/**
 * Whether the name of the file contains the end of the id, so that a file at this path is this backup on any machine. The stored host name does not
 * prove it: a container gets a new one when it is created again, and keeps its volumes.
 */
export const isNamedAfter = ({ id, file }: Pick<Backup, 'id' | 'file'>): boolean => basename(file).endsWith(`-${endOf(id)}`);
