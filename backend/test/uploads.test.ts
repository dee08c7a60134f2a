import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { updateRows } from '../src/db/rows.js';
import { systemClock } from '../src/lib/clock.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { createMedia } from '../src/media/media.js';
import { createUploads } from '../src/media/uploads.js';
import { makeAccount } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** Files that are uploaded once and sent many times. */

const base64 = 'R0lGODlhAQABAAAAACw=';
const bytes = Buffer.from(base64, 'base64');
interface Upload {
  id: string;
  size: number;
  mimetype: string;
  expiresAt: string;
}

describe.each(await databases())('uploads on %s', (database) => {
  let core: Core;
  const upload = async (more: object = {}): Promise<Upload> => {
    const reply = await core.post('/media', { mediaBase64: base64, filename: 'logo.gif', ...more });
    expect(reply.status).toBe(201);
    return reply.body.data as Upload;
  };
  const send = (mediaId: string, more: object = {}) => core.post('/messages/send-media', { recipient: ana, mediaId, ...more });
  const remove = (id: string) => core.rig.call('DELETE', `/media/${id}`, {});
  const codeOf = ({ status, body }: Reply) => [status, body.error?.code];
  /** The cleanup task, on the files of the running backend. */
  const prune = () => {
    const parts = { database: core.rig.database, clock: systemClock };
    const media = createMedia(parts, {
      dir: join(core.rig.dataDir, 'media'),
      maxBytes: 1_000_000,
      allowed: ['*'],
      convert: undefined as never,
      safeFetch: null as never,
      sealer: null as never,
    });
    return createUploads(parts, { media, storageOf: async () => 'full', settingsOf: async () => null }).prune();
  };
  /** As if it was last used `hours` ago; then the cleanup runs. */
  const pruneAfter = async (id: string, hours: number): Promise<void> => {
    const usedAt = new Date(Date.now() - hours * 3_600_000);
    await core.rig.database.write.run((tx) => updateRows(tx, MediaFile, { id }, { usedAt }));
    await prune();
  };

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('one file is sent twice, and each message has a copy of its own', async () => {
    const { id, size, mimetype } = await upload();
    expect([size, mimetype]).toEqual([bytes.length, 'image/gif']);
    const sent = [dataOf(await send(id)), dataOf(await send(id, { caption: 'again' }))];
    for (const message of sent) {
      expect(message.status).toBe('sent');
      const left = core.worker.left.find((one) => one.messageId === message.id);
      expect(left?.file?.bytes.equals(bytes)).toBe(true);
    }
    const ids = sent.map(({ content }) => (content as { media: { id: string } }).media.id);
    expect(new Set([id, ...ids]).size).toBe(3);
  });

  test('the file can be read whole and in part', async () => {
    const { id, expiresAt } = await upload();
    expect((await core.get(`/media/${id}`)).body.data).toMatchObject({ id, filename: 'logo.gif', size: bytes.length });
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    const file = async (headers: Record<string, string>) => core.rig.call('GET', `/media/${id}/file`, { headers });
    const part = await file({ range: 'bytes=0-5' });
    expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes 0-5/${bytes.length}`]);
    const whole = await file({});
    expect([whole.status, whole.headers.get('content-type'), whole.headers.get('x-content-type-options')]).toEqual([
      200,
      'image/gif',
      'nosniff',
    ]);
    expect(codeOf(await file({ range: 'bytes=900-' }))).toEqual([416, 'RANGE_NOT_SATISFIABLE']);
  });

  test('a file in use is not deleted until its messages are final', async () => {
    const { id } = await upload();
    core.worker.proves = false;
    core.worker.scripts.push({ do: 'uncertain' });
    const message = dataOf(await send(id, { async: true }));
    await core.reaches(message.id, 'uncertain');
    expect(codeOf(await remove(id))).toEqual([409, 'MEDIA_IN_USE']);
    await pruneAfter(id, 100);
    expect((await core.get(`/media/${id}`)).status).toBe(200);
    await core.post(`/messages/${message.id}/resolve`, { as: 'sent' });
    core.worker.proves = true;
    expect((await remove(id)).body.data).toEqual({ id, deleted: true });
    expect(codeOf(await core.get(`/media/${id}`))).toEqual([404, 'MEDIA_NOT_FOUND']);
    expect(codeOf(await send(id))).toEqual([404, 'MEDIA_NOT_FOUND']);
    // The message has its own copy.
    expect((await core.get(`/messages/${message.id}/media`)).status).toBe(200);
  });

  test('a file that is not used for a day is removed, and each send is a use', async () => {
    const used = await upload();
    await pruneAfter(used.id, 23.9);
    await send(used.id);
    await prune();
    expect((await core.get(`/media/${used.id}`)).status).toBe(200);
    await pruneAfter(used.id, 24.1);
    expect(codeOf(await core.get(`/media/${used.id}`))).toEqual([410, 'MEDIA_EXPIRED']);
    expect(codeOf(await core.get(`/media/${used.id}/file`))).toEqual([410, 'MEDIA_EXPIRED']);
    expect(codeOf(await send(used.id))).toEqual([404, 'MEDIA_NOT_FOUND']);
    await pruneAfter(used.id, 24 * 9);
    expect(codeOf(await core.get(`/media/${used.id}`))).toEqual([404, 'MEDIA_NOT_FOUND']);
  });

  test('another account, and a key of another session, cannot read, send or delete it', async () => {
    const { id } = await upload();
    const other = await makeAccount(core.rig);
    await core.rig.call('POST', '/sessions', { key: other.key, body: { name: 'theirs' } });
    const session = dataOf(await core.post('/sessions', { name: `other-${id.slice(0, 8)}` })).id;
    const created = await core.post(`/sessions/${session}/keys`, { name: 'bound', permissions: ['messages.send'] });
    const bound = (created.body.data as { key: string }).key;
    for (const key of [other.key, bound]) {
      const ask = (method: string, path: string, body?: object) =>
        core.rig.call(method, path, { key, ...(body ? { body } : {}) });
      expect((await ask('GET', `/media/${id}`)).status).toBe(404);
      expect((await ask('GET', `/media/${id}/file`)).status).toBe(404);
      expect((await ask('DELETE', `/media/${id}`)).status).toBe(404);
      const sent = await ask('POST', '/messages/send-media', { recipient: ana, mediaId: id, queueIfOffline: true });
      expect(sent.status).toBe(404);
    }
    // What the bound key uploads is its session's, and the account's.
    const own = await core.rig.call('POST', '/media', { key: bound, body: { mediaBase64: base64 } });
    const ownId = (own.body.data as Upload).id;
    expect((await core.rig.call('GET', `/media/${ownId}`, { key: bound })).status).toBe(200);
    expect((await core.get(`/media/${ownId}`)).status).toBe(200);
    // The file of a message is no upload.
    const message = dataOf(await send(id));
    expect((await core.get(`/media/${(message.content as { media: { id: string } }).media.id}`)).status).toBe(404);
  });

  test('the file of a message can be sent again, until the message is deleted from the log', async () => {
    const { id } = await upload();
    const first = await core.reaches(dataOf(await send(id)).id, 'sent');
    const fileId = (first.content as { media: { id: string } }).media.id;
    const again = await send(fileId);
    expect(codeOf(again)).toEqual([200, undefined]);
    await core.rig.call('DELETE', `/messages/${first.id}?scope=log`);
    expect(codeOf(await send(fileId))).toEqual([404, 'MEDIA_NOT_FOUND']);
    expect((await core.reaches(dataOf(again).id, 'sent')).id).toBe(dataOf(again).id);
  });

  test('refuses what cannot be sent', async () => {
    const code = async (body: object) => codeOf(await core.post('/media', body));
    expect(await code({})).toEqual([422, 'VALIDATION_FAILED']);
    expect(await code({ mediaBase64: base64, mediaUrl: 'https://example.com/a.gif' })).toEqual([422, 'VALIDATION_FAILED']);
    expect(await code({ mediaUrl: 'http://127.0.0.1/a.gif' })).toEqual([422, 'URL_NOT_ALLOWED']);
    expect(await code({ mediaBase64: Buffer.from('MZ\x90\x00').toString('base64'), filename: 'a.exe' })).toEqual([
      422,
      'FILE_TYPE_NOT_ALLOWED',
    ]);
  });
});

test('in the storage mode metadata an upload lies on the disk sealed, and can be sent but not read', async () => {
  const core = await startCore({ database: 'sqlite', settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
  try {
    const { id } = (await core.post('/media', { mediaBase64: base64, filename: 'logo.gif' })).body.data as Upload;
    const file = await core.rig.database.reader.getRepository(MediaFile).findOneByOrFail({ id });
    expect([file.isSealed, file.filename, file.sha256]).toEqual([true, null, null]);
    expect((await core.get(`/media/${id}/file`)).status).toBe(404);
    const message = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaId: id }));
    expect(core.worker.left.find((one) => one.messageId === message.id)?.file?.bytes.equals(bytes)).toBe(true);
  } finally {
    await core.close();
  }
});
