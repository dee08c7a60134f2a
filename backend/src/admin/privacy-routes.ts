import type { Request, Response, Router } from 'express';
import type { DataSource } from 'typeorm';
import { z } from 'zod';
import { AppError } from '@chasqui/shared';
import type { Clock } from '../lib/clock.js';
import { sendDownload } from '../lib/send-file.js';
import { requireVisitor } from './guard.js';
import { change, read, type PanelRoute } from './route.js';
import type { PanelVerbs } from './verbs.js';
import { privacyView } from './views/privacy.js';

const accountId = z.string('Choose an account.').min(1, 'Choose an account.').max(64);
const contact = z.string().min(1, 'Enter a number or a WhatsApp id.').max(128);

/** The page of exports and erasures, for admins only: an export holds all that a person wrote. */
export function privacyRoutes(reader: DataSource, clock: Clock, verbs: PanelVerbs['privacy']): PanelRoute[] {
  return [
    { ...read('/live/privacy', z.object({}), () => privacyView(reader, clock.now())), role: 'admin' },
    change('admin', '/live/privacy/exports', z.strictObject({ accountId, contact }), ({ visitor, body }) =>
      verbs.exportContact(visitor.caller, body.accountId, body.contact),
    ),
    change(
      'admin',
      '/live/privacy/erasures',
      z.strictObject({ accountId, contact, confirm: z.string().max(128) }),
      ({ visitor, body }) => verbs.eraseContact(visitor.caller, body.accountId, body.contact, body.confirm),
    ),
  ];
}

/** Mounts the download of an export. */
export function mountPrivacyFile(router: Router, verbs: PanelVerbs['privacy']): void {
  router.get('/live/privacy/:id/file', (req, res, next) => {
    download(verbs, req, res).catch(next);
  });
}

async function download(verbs: PanelVerbs['privacy'], req: Request, res: Response): Promise<void> {
  const { account, caller } = requireVisitor(req);
  if (account.role !== 'admin') throw new AppError('ADMIN_REQUIRED');
  const id = String(req.params['id']);
  await sendDownload(res, {
    path: await verbs.archive(caller, id),
    name: `export-${id}.zip`,
    type: 'application/zip',
    range: req.get('range'),
    missing: 'MEDIA_EXPIRED',
  });
}
