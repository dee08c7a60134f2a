import { defineRoute, fileSourceFields, media, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';

const params = z.object({ mediaId: z.string().min(1).max(64) });
const { mediaUrl, mediaBase64, mimetype, filename } = fileSourceFields;
const missing: readonly ErrorCode[] = ['MEDIA_NOT_FOUND', 'MEDIA_EXPIRED'];

export const upload = defineRoute({
  id: 'media.upload',
  examples: {
    'A file as base64': { mediaBase64: 'R0lGODlhAQABAAAAACw=', filename: 'logo.gif' },
    'A file by URL': { mediaUrl: 'https://example.com/invoice.pdf' },
  },
  method: 'post',
  path: '/media',
  summary: 'Upload a file once, to send it any number of times by its mediaId',
  auth: 'key',
  permission: 'messages.send',
  idempotency: { without: 'A repeat stores the file a second time; a file that is not used is removed.' },
  body: z.strictObject({ mediaUrl, mediaBase64, mimetype, filename }),
  consumes: 'upload',
  status: [201],
  reply: media,
  errors: [
    'FILE_TOO_LARGE',
    'FILE_TYPE_NOT_ALLOWED',
    'FILE_TYPE_MISMATCH',
    'URL_NOT_ALLOWED',
    'MEDIA_URL_FAILED',
    'QUOTA_EXCEEDED',
  ],
});
export const read = defineRoute({
  id: 'media.read',
  method: 'get',
  path: '/media/:mediaId',
  summary: 'An uploaded file, and when it is removed unless it is used',
  auth: 'key',
  permission: 'messages.send',
  params,
  reply: media,
  errors: missing,
});
export const file = defineRoute({
  id: 'media.file',
  headers: ['Range'],
  method: 'get',
  path: '/media/:mediaId/file',
  summary: 'The bytes of an uploaded file',
  auth: 'key',
  permission: 'messages.send',
  params,
  status: [200, 206],
  files: ['application/octet-stream'],
  envelope: false,
  errors: [...missing, 'RANGE_NOT_SATISFIABLE'],
});
export const remove = defineRoute({
  id: 'media.remove',
  method: 'delete',
  path: '/media/:mediaId',
  summary: 'Delete an uploaded file. Messages that were sent with it are not changed',
  auth: 'key',
  permission: 'messages.send',
  params,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['MEDIA_NOT_FOUND', 'MEDIA_IN_USE'],
});
