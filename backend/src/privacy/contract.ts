import { defineRoute } from '@chasqui/shared';
import { z } from 'zod';

/** Exports and erasures of what is stored about one contact. */

const time = z.iso.datetime();
const request = {
  id: z.string(),
  contact: z.string().nullable(),
  status: z.enum(['queued', 'running', 'done', 'failed']),
  counts: z.record(z.string(), z.number().int()),
  createdAt: time,
  finishedAt: time.nullable(),
};
const exported = z.object({ ...request, expiresAt: time.nullable() }).meta({ id: 'Export' });
const erasure = z.object(request).meta({ id: 'Erasure' });
const contact = z.string().min(1).max(128);
const exportParams = z.object({ exportId: z.string().max(64) });
const erasureParams = z.object({ erasureId: z.string().max(64) });
const access = { auth: 'acc', permission: 'privacy.manage' } as const;

/** Nothing that names a contact may outlive its erasure, and neither may a stored reply. */
const harmless = {
  without: 'A stored reply would name the contact for longer than its erasure allows. A second request does no harm.',
};

export const createExport = defineRoute({
  ...access,
  id: 'privacy.exports.create',
  examples: { 'One person': { contact: '+5511999990001' } },
  method: 'post',
  idempotency: harmless,
  path: '/privacy/exports',
  summary: 'Gather everything held about one contact into one archive',
  body: z.strictObject({ contact }),
  status: 202,
  reply: exported,
  errors: ['INVALID_RECIPIENT'],
});
export const readExport = defineRoute({
  ...access,
  id: 'privacy.exports.read',
  method: 'get',
  path: '/privacy/exports/:exportId',
  summary: 'How far an export is',
  params: exportParams,
  reply: exported,
  errors: ['EXPORT_NOT_FOUND'],
});
export const exportFile = defineRoute({
  ...access,
  id: 'privacy.exports.file',
  method: 'get',
  path: '/privacy/exports/:exportId/file',
  summary: 'The archive (ZIP): messages.json, events.json, contacts.json, opt-outs.json and the files',
  headers: ['Range'],
  params: exportParams,
  status: [200, 206],
  files: ['application/zip'],
  envelope: false,
  errors: ['EXPORT_NOT_FOUND', 'EXPORT_NOT_READY', 'MEDIA_EXPIRED', 'RANGE_NOT_SATISFIABLE'],
});
export const createErasure = defineRoute({
  ...access,
  id: 'privacy.erasures.create',
  examples: { 'One person': { contact: '+5511999990001', confirm: '+5511999990001' } },
  method: 'post',
  idempotency: harmless,
  path: '/privacy/erasures',
  summary: 'Remove what is held about one contact; `confirm` is the contact once more. It cannot be undone',
  body: z.strictObject({ contact, confirm: z.string().max(128) }),
  status: 202,
  reply: erasure,
  errors: ['INVALID_RECIPIENT', 'CONFIRMATION_REQUIRED'],
});
export const readErasure = defineRoute({
  ...access,
  id: 'privacy.erasures.read',
  method: 'get',
  path: '/privacy/erasures/:erasureId',
  summary: 'How far an erasure is',
  params: erasureParams,
  reply: erasure,
  errors: ['ERASURE_NOT_FOUND'],
});
