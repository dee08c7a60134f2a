import { basename } from 'node:path';
import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import { z } from 'zod';
import type { Backups } from '../backups/backups.js';
import { presentBackup, type PresentedBackup } from '../backups/present.js';
import { sendDownload } from '../lib/send-file.js';
import { requireVisitor } from './guard.js';
import { change, read, type PanelRoute } from './route.js';
import type { PanelVerbs } from './verbs.js';

/** What the page of backups shows. Times are ISO texts. */
export interface BackupsView {
  backups: PresentedBackup[];
  schedule: string | null;
  hasKey: boolean;
  problem: 'failed' | 'overdue' | null;
  lastReadyAt: string | null;
}

const empty = z.strictObject({});

/** The page of backups, for admins only: a backup holds every login and secret. */
export function backupRoutes(backups: Pick<Backups, 'list' | 'health'>, verbs: PanelVerbs['backups']): PanelRoute[] {
  const view = async (): Promise<BackupsView> => {
    const [rows, { schedule, hasKey, problem, lastReadyAt }] = await Promise.all([backups.list(), backups.health()]);
    const shown = rows.slice(0, 100).map(presentBackup);
    return { backups: shown, schedule, hasKey, problem, lastReadyAt: lastReadyAt?.toISOString() ?? null };
  };
  return [
    { ...read('/live/backups', z.object({}), view), role: 'admin' },
    change('admin', '/live/backups', empty, ({ visitor }) => verbs.create(visitor.caller)),
    change('admin', '/live/backups/:id/delete', empty, ({ visitor, id }) => verbs.remove(visitor.caller, id)),
  ];
}

/** Mounts the download of a backup. */
export function mountBackupFile(router: Router, verbs: PanelVerbs['backups']): void {
  router.get('/live/backups/:id/file', (req, res, next) => {
    download(verbs, req, res).catch(next);
  });
}

async function download(verbs: PanelVerbs['backups'], req: Request, res: Response): Promise<void> {
  const { account, caller } = requireVisitor(req);
  if (account.role !== 'admin') throw new AppError('ADMIN_REQUIRED');
  const path = await verbs.file(caller, String(req.params['id']));
  await sendDownload(res, {
    path,
    name: basename(path),
    type: 'application/octet-stream',
    range: req.get('range'),
    missing: 'BACKUP_NOT_FOUND',
  });
}
