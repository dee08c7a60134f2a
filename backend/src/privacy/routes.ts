import { open } from 'node:fs/promises';
import { AppError } from '@chasqui/shared';
import { handled } from '@chasqui/shared/express';
import { readable } from '../db/unreadable.js';
import type { Mount } from '../accounts/caller.js';
import { sendFile } from '../lib/send-file.js';
import * as contract from './contract.js';
import type { PrivacyRequest } from './privacy-request.entity.js';
import type { Privacy } from './privacy.js';

const present = (request: PrivacyRequest) => ({
  id: request.id,
  contact: request.contact,
  status: request.status,
  counts: readable(request.counts, {}),
  createdAt: request.createdAt.toISOString(),
  finishedAt: request.finishedAt?.toISOString() ?? null,
});
const presentExport = (request: PrivacyRequest) => ({
  ...present(request),
  expiresAt: request.expiresAt?.toISOString() ?? null,
});

export function mountPrivacy(mount: Mount, { privacy }: { privacy: Privacy }): void {
  mount(contract.createExport, async ({ body }, caller) => presentExport(await privacy.askForExport(caller, body.contact)));
  mount(contract.readExport, async ({ params }, caller) =>
    presentExport(await privacy.find(caller.accountId, 'export', params.exportId)),
  );
  mount(contract.exportFile, async ({ params }, caller, { res, header }) => {
    const path = await privacy.archive(caller.accountId, params.exportId);
    // Opened first: an erasure may delete it meanwhile.
    const handle = await open(path).catch(() => {
      throw new AppError('MEDIA_EXPIRED');
    });
    const headers = {
      'Content-Type': 'application/zip',
      'Content-Disposition': `attachment; filename="export-${params.exportId}.zip"`,
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-store',
    };
    await sendFile(res, handle, { headers, range: header('Range') });
    return handled;
  });
  mount(contract.createErasure, async ({ body }, caller) =>
    present(await privacy.askForErasure(caller, body.contact, body.confirm)),
  );
  mount(contract.readErasure, async ({ params }, caller) =>
    present(await privacy.find(caller.accountId, 'erasure', params.erasureId)),
  );
}
