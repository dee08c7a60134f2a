import { handled, Reply } from '@chasqui/shared/express';
import type { Mount } from '../accounts/caller.js';
import { iso } from '../lib/iso.js';
import { uploadOf } from '../lib/uploads.js';
import { sourceOf } from './sources.js';
import * as contract from './contract.js';
import type { MediaFile } from './media-file.entity.js';
import type { Uploads } from './uploads.js';

/** Mounts the routes of uploads. */
export function mountMedia(mount: Mount, { uploads }: { uploads: Uploads }): void {
  const present = (file: MediaFile) => ({
    id: file.id,
    mimetype: file.mimetype,
    size: file.size,
    filename: file.filename,
    sha256: file.sha256,
    url: `/api/v1/media/${file.id}/file`,
    expiresAt: iso(uploads.expiresAt(file)),
  });
  mount(contract.upload, async ({ body }, caller, { res }) => {
    const { mimetype, filename } = body;
    const { file, stored } = await uploads.store(caller, sourceOf(body, uploadOf(res)), { mimetype, filename });
    return new Reply(present(file), { status: 201, warnings: stored.warnings });
  });
  mount(contract.read, async ({ params }, caller) => present(await uploads.find(caller, params.mediaId)));
  mount(contract.file, async ({ params }, caller, { res, header }) => {
    await uploads.send(caller, params.mediaId, res, header('Range'));
    return handled;
  });
  mount(contract.remove, async ({ params }, caller) => {
    await uploads.remove(caller, params.mediaId);
    return { id: params.mediaId, deleted: true as const };
  });
}
