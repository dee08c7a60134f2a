import { handled } from '@chasqui/shared/express';
import { readable } from '../db/unreadable.js';
import type { Mount } from '../accounts/caller.js';
import { sendDownload } from '../lib/send-file.js';
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
    await sendDownload(res, {
      path,
      name: `export-${params.exportId}.zip`,
      type: 'application/zip',
      range: header('Range'),
      missing: 'MEDIA_EXPIRED',
    });
    return handled;
  });
  mount(contract.createErasure, async ({ body }, caller) =>
    present(await privacy.askForErasure(caller, body.contact, body.confirm)),
  );
  mount(contract.readErasure, async ({ params }, caller) =>
    present(await privacy.find(caller.accountId, 'erasure', params.erasureId)),
  );
}
