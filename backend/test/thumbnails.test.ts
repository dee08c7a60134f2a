import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type MessageResource, type ObservedMessage, type WorkerEventPayload } from '@chasqui/shared';
import { createRetention } from '../src/jobs/retention.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { thumbnail, thumbnailWith } from './support/thumbnail.js';

/** The thumbnails of messages: which are stored, who may read them, and when they are deleted. */

type Origin = WorkerEventPayload<'message.observed'>['origin'];
const day = 86_400_000;
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const media = { id: null, mimetype: 'image/png', size: 3, filename: null, sha256: null };
const image = { type: 'image', media, caption: 'look' } as const;

describe.each(await databases())('thumbnails on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const fileOf = (message: MessageResource) => (message.content as { media: { thumbnailUrl?: unknown } }).media;
  const observe = async (more: Partial<ObservedMessage>, origin: Origin = 'live'): Promise<MessageResource> => {
    const message = core.inbound('', { content: image, ...more });
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin });
    const listed = (await core.get('/messages?limit=200')).body.data as MessageResource[];
    return listed.find(({ whatsappId }) => whatsappId?.includes(message.key))!;
  };
  const about = ({ whatsappId, chat }: MessageResource) => {
    const [direction, , key] = whatsappId!.split('_');
    return { whatsappId: whatsappId!, key: key!, chat, fromMe: direction === 'true', at: new Date().toISOString() };
  };
  const fetchOf = (id: string, session = core.sessionId, key = core.rig.apiKey) =>
    fetch(`${core.rig.url}/api/v1/messages/${id}/thumbnail`, {
      headers: { authorization: `ApiKey ${key}`, 'x-session-id': session },
    });
  const refusal = async (id: string, session?: string, key?: string): Promise<unknown[]> => {
    const reply = await fetchOf(id, session, key);
    return [reply.status, ((await reply.json()) as { error?: { code: string } }).error?.code];
  };
  const rows = async (): Promise<string[]> =>
    (await core.rig.database.reader.query<{ messageId: string }[]>('SELECT "messageId" FROM message_thumbnails')).map(
      ({ messageId }) => messageId,
    );
  const put = (settings: object) => core.rig.call('PUT', '/sessions/current', { body: { settings } });

  test('a thumbnail is served as a picture, and the message and its event name its address', async () => {
    const message = await observe({ thumbnail });
    const address = `/api/v1/messages/${message.id}/thumbnail`;
    expect(fileOf(message)).toMatchObject({ url: `/api/v1/messages/${message.id}/media`, thumbnailUrl: address });
    const [event] = (await core.events('message.received')).filter(({ data }) => data['id'] === message.id);
    expect(fileOf(event!.data as unknown as MessageResource).thumbnailUrl).toBe(address);
    expect(JSON.stringify(event)).not.toContain(thumbnail.slice(0, 40));
    const reply = await fetchOf(message.id);
    expect(Buffer.from(await reply.arrayBuffer()).toString('base64')).toBe(thumbnail);
    expect([reply.status, Object.fromEntries(reply.headers)]).toMatchObject([
      200,
      {
        'content-type': 'image/jpeg',
        'x-content-type-options': 'nosniff',
        'cache-control': 'private, max-age=3600, no-transform',
        'content-security-policy': "sandbox; default-src 'none'",
      },
    ]);
    expect((await fetchOf((await observe({ thumbnail: png })).id)).headers.get('content-type')).toBe('image/png');
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['a number', 7],
    ['a long list', Array.from({ length: 70_000 }, () => 0)],
    ['a text', 'Hello Ana'],
    ['base64 of a page', Buffer.from('<html><script>1</script></html>').toString('base64')],
    ['a data URL', `data:image/jpeg;base64,${thumbnail}`],
    ['a JPEG above 64 KiB', thumbnailWith('x'.repeat(65_536))],
    ['a huge text', `/9j/${'A'.repeat(5_000_000)}`],
    ['a GIF', 'R0lGODlhAQABAAAAACw='],
  ])('%s is no thumbnail, and the message is recorded', async (_name, value) => {
    const message = await observe({ thumbnail: value as string });
    expect([message.text, fileOf(message).thumbnailUrl]).toEqual(['look', null]);
    expect(await rows()).not.toContain(message.id);
    expect(await refusal(message.id)).toEqual([404, 'MEDIA_NOT_FOUND']);
  });

  test('view-once media, a text, and a session that stores no files have none', async () => {
    const once = await observe({ thumbnail, content: { ...image, viewOnce: true } });
    const text = await observe({ thumbnail, content: { type: 'text', message: 'Hi' } });
    await put({ storeMedia: false });
    const bare = await observe({ thumbnail });
    await put({ storeMedia: true });
    for (const { id } of [once, text, bare]) expect(await rows()).not.toContain(id);
    for (const message of [once, text, bare]) {
      await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(message), thumbnail });
      expect(await rows()).not.toContain(message.id);
    }
    expect(fileOf(once).thumbnailUrl).toBeNull();
  });

  test('in the storage mode metadata none is stored, whether it comes with the message or later', async () => {
    await put({ storage: 'metadata' });
    const message = await observe({ thumbnail });
    await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(message), thumbnail });
    await put({ storage: 'full' });
    expect(message.content).toBeNull();
    expect(await rows()).not.toContain(message.id);
  });

  test('a thumbnail that comes later belongs to the message, ours or another’s; the first one stays', async () => {
    const theirs = await observe({});
    const sent = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: png }));
    const ours = await core.reaches(sent.id, 'sent');
    expect([theirs, ours].map((one) => fileOf(one).thumbnailUrl)).toEqual([null, null]);
    for (const message of [theirs, ours]) {
      await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(message), thumbnail });
      await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(message), thumbnail: png });
      await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(message), thumbnail: null });
      expect(fileOf(await core.message(message.id)).thumbnailUrl).toContain(message.id);
      const reply = await fetchOf(message.id);
      expect(Buffer.from(await reply.arrayBuffer()).toString('base64')).toBe(thumbnail);
    }
    const seen = await observe({ key: '3ATHUMB0000000000000001' });
    const again = await observe({ key: '3ATHUMB0000000000000001', thumbnail }, 'backfill');
    expect([again.id, fileOf(again).thumbnailUrl]).toEqual([seen.id, expect.any(String)]);
  });

  test('only the account’s own session shows it', async () => {
    const { id } = await observe({ thumbnail });
    const other = ((await core.post('/sessions', { name: 'other' })).body.data as { id: string }).id;
    expect(await refusal(id, other)).toEqual([404, 'MESSAGE_NOT_FOUND']);
    expect(await refusal(id, newId())).toEqual([404, 'SESSION_NOT_FOUND']);
    const key = ((await core.post('/keys', { name: 'deaf', permissions: ['messages.send'] })).body.data as { key: string }).key;
    expect(await refusal(id, core.sessionId, key)).toEqual([403, 'PERMISSION_DENIED']);
    expect((await fetch(`${core.rig.url}/api/v1/messages/${id}/thumbnail`)).status).toBe(401);
  });

  test('deleting a message for everyone, or from the log, deletes its thumbnail', async () => {
    const revoked = await observe({ thumbnail });
    const lateRevoked = await observe({ thumbnail, key: '3AREVOKED00000000000001' });
    const hidden = await observe({ thumbnail });
    await core.worker.emit(core.sessionId, 'message.revoked', about(revoked));
    await observe({ key: '3AREVOKED00000000000001', revokedAt: new Date().toISOString() }, 'compare');
    await core.rig.call('DELETE', `/messages/${hidden.id}?scope=log`);
    for (const { id } of [revoked, lateRevoked, hidden]) expect(await rows()).not.toContain(id);
    expect(await refusal(revoked.id)).toEqual([404, 'MEDIA_NOT_FOUND']);
    expect(await refusal(hidden.id)).toEqual([404, 'MESSAGE_NOT_FOUND']);
    expect(fileOf(await core.message(revoked.id))).toMatchObject({ thumbnailUrl: null, url: expect.any(String) });
    await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(revoked), thumbnail });
    expect(await rows()).not.toContain(revoked.id);
  });

  test('a message whose content comes after it was deleted gets no thumbnail', async () => {
    const content = { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder: 'undecrypted' } as const;
    const keys = ['3AHIDDEN000000000000001', '3AREVOKED00000000000002'] as const;
    const [hidden, revoked] = [await observe({ content, key: keys[0] }), await observe({ content, key: keys[1] })];
    await core.rig.call('DELETE', `/messages/${hidden.id}?scope=log`);
    await core.worker.emit(core.sessionId, 'message.revoked', about(revoked));
    const before = (await core.events('message.updated')).length;
    for (const key of keys)
      await core.worker.emit(core.sessionId, 'message.observed', {
        message: core.inbound('', { content: image, thumbnail, key }),
        origin: 'backfill',
      });
    for (const { id } of [hidden, revoked]) expect(await rows()).not.toContain(id);
    expect(await refusal(hidden.id)).toEqual([404, 'MESSAGE_NOT_FOUND']);
    const updated = (await core.events('message.updated')).slice(before).map(({ data }) => data['id']);
    expect(updated).toEqual([revoked.id]);
    const stored = await core.rig.database.reader.getRepository(Message).findOneByOrFail({ id: hidden.id });
    expect([stored.text, stored.mediaId]).toEqual([null, null]);
  });

  test('an export contains the thumbnails of a person, and an erasure deletes them', async () => {
    const ben = '5511999990077';
    const contact = { id: `${ben}@c.us`, phone: `+${ben}`, lid: null, name: null };
    const chat = { id: contact.id, type: 'private', name: null } as const;
    const key = '3ABEN000000000000000001';
    const { id } = await observe({ thumbnail, key, whatsappId: `false_${contact.id}_${key}`, contact, chat, from: contact.id });
    const isDone = (path: string) =>
      eventually(`${path} to be done`, async () => {
        const { status } = (await core.get(path)).body.data as { status: string };
        return status === 'done';
      });
    const exported = (await core.post('/privacy/exports', { contact: `+${ben}` })).body.data as { id: string };
    await isDone(`/privacy/exports/${exported.id}`);
    const archive = await fetch(`${core.rig.url}/api/v1/privacy/exports/${exported.id}/file`, {
      headers: { authorization: `ApiKey ${core.rig.apiKey}` },
    });
    expect(Buffer.from(await archive.arrayBuffer()).includes(`thumbnails/${id}.jpg`)).toBe(true);
    expect(await rows()).toContain(id);
    const erased = (await core.post('/privacy/erasures', { contact: `+${ben}`, confirm: `+${ben}` })).body.data as { id: string };
    await isDone(`/privacy/erasures/${erased.id}`);
    expect(await rows()).not.toContain(id);
  });

  test('retention deletes thumbnails with their messages, or at the age of files; then the route says that it is gone', async () => {
    const { id } = await observe({ thumbnail });
    const inDays = (days: number, kept: { messages: number; media: number }) =>
      createRetention(
        {
          database: core.rig.database,
          clock: { now: () => new Date(Date.now() + days * day), monotonic: () => performance.now() },
          report: () => undefined,
        },
        {
          media: { remove: async () => undefined, expire: async () => undefined },
          thumbnails: createThumbnails(core.rig),
          days: { ...kept, events: 3_650 },
        },
      );
    await inDays(29, { messages: 90, media: 30 }).run();
    await inDays(1_000, { messages: 0, media: 0 }).run();
    expect(await rows()).toContain(id);
    expect(await inDays(31, { messages: 90, media: 30 }).ofThumbnails()).toBeGreaterThan(0);
    expect(await rows()).toEqual([]);
    expect(await refusal(id)).toEqual([410, 'MEDIA_EXPIRED']);
    await core.worker.emit(core.sessionId, 'message.thumbnail', { ...about(await core.message(id)), thumbnail });
    expect(await rows()).toEqual([]);
    const next = await observe({ thumbnail });
    await inDays(91, { messages: 90, media: 0 }).ofMessages();
    expect([await rows(), await refusal(next.id)]).toEqual([[], [404, 'MESSAGE_NOT_FOUND']]);
  });

  test('the thumbnails of a deleted session are deleted, those of others stay', async () => {
    const { id } = await observe({ thumbnail });
    const thumbnails = createThumbnails(core.rig);
    expect(await thumbnails.removeOfDeletedSessions()).toBe(0);
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    expect(await rows()).toContain(id);
    expect(await thumbnails.removeOfDeletedSessions()).toBe(1);
    expect(await rows()).toEqual([]);
    expect(await refusal(id)).toEqual([404, 'SESSION_NOT_FOUND']);
  });
});
