import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseMessageKey, type MessageResource } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Stars and pins of messages, from this API and from a phone: the log has the present state, and each pin is published once. */

const dayMs = 86_400_000;

describe.each(await databases())('stars and pins, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const received = async (text: string): Promise<MessageResource> => {
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });
    return eventually(`the message ${text}`, async () =>
      ((await core.get('/messages?limit=200')).body.data as MessageResource[]).find((message) => message.text === text),
    );
  };
  /** What the page reports of a message. */
  const marked = ({ whatsappId, chat }: MessageResource, marks: { starred?: boolean; pinnedUntil?: string | null }) =>
    core.worker.emit(core.sessionId, 'message.marked', {
      ...{ whatsappId: whatsappId!, key: parseMessageKey(whatsappId!)!.key, chat, fromMe: false, at: new Date().toISOString() },
      ...marks,
    });
  const changesOf = async ({ id }: MessageResource): Promise<unknown[]> =>
    (await core.events('message.updated')).filter(({ data }) => data['id'] === id).map(({ data }) => data['change']);
  const inDays = (days: number): string => new Date(Date.now() + days * dayMs).toISOString();
  const call = async (method: string, message: MessageResource, path: string, body?: object): Promise<MessageResource> => {
    const reply = await core.rig.call(method, `/messages/${message.id}${path}`, body ? { body } : {});
    expect(reply.status).toBe(200);
    return dataOf(reply);
  };

  test('the reply of a call shows its effect, and the page’s own report changes nothing more', async () => {
    const message = await received('to be marked');
    expect(message).toMatchObject({ starred: false, pinnedUntil: null });
    for (const operation of ['messages.star', 'messages.unstar', 'messages.pin', 'messages.unpin'])
      core.worker.answer.set(operation as never, {} as never);
    expect(await call('PUT', message, '/star')).toMatchObject({ starred: true });
    await marked(message, { starred: true });
    const { pinnedUntil } = await call('PUT', message, '/pin', { seconds: 604_800 });
    expect(Math.abs(Date.parse(pinnedUntil!) - Date.parse(inDays(7)))).toBeLessThan(60_000);
    await marked(message, { pinnedUntil: new Date(Date.parse(pinnedUntil!) - 3_000).toISOString() });
    expect(await core.message(message.id)).toMatchObject({ starred: true, pinnedUntil });
    expect(await call('DELETE', message, '/pin')).toMatchObject({ pinnedUntil: null, starred: true });
    await marked(message, { pinnedUntil: null });
    expect(await call('DELETE', message, '/star')).toMatchObject({ starred: false });
    expect(await changesOf(message)).toEqual(['pinned', 'unpinned']);
  });

  test('what a phone does is recorded, and a longer pin is one of its own', async () => {
    const message = await received('marked on a phone');
    for (const marks of [{ pinnedUntil: inDays(1) }, { starred: true }, { pinnedUntil: inDays(7) }]) await marked(message, marks);
    const now = await core.message(message.id);
    expect([now.starred, Math.round((Date.parse(now.pinnedUntil!) - Date.now()) / dayMs)]).toEqual([true, 7]);
    await marked(message, { pinnedUntil: null, starred: false });
    expect(await core.message(message.id)).toMatchObject({ starred: false, pinnedUntil: null });
    expect(await changesOf(message)).toEqual(['pinned', 'pinned', 'unpinned']);
  });

  test('the end of a pin that has ended, and marks of a deleted message, are not published', async () => {
    const message = await received('pinned for a while');
    await marked(message, { pinnedUntil: inDays(1) });
    const past = Date.now() - 1_000;
    const { write, reader } = core.rig.database;
    await write.run((tx) =>
      tx.manager.query(`UPDATE messages SET "pinnedUntil" = ${past} WHERE id = '${message.id}'`).then(() => undefined),
    );
    await marked(message, { pinnedUntil: null });
    expect(await changesOf(message)).toEqual(['pinned']);
    await call('DELETE', message, '');
    await marked(message, { pinnedUntil: inDays(7), starred: true });
    expect(await changesOf(message)).toEqual(['pinned']);
    const [row] = await reader.query(`SELECT starred, "pinnedUntil" FROM messages WHERE id = '${message.id}'`);
    expect([Boolean(row.starred), Number(row.pinnedUntil)]).toEqual([false, past]);
  });

  test('a star that was set while the session was away is found when the message is compared', async () => {
    const message = core.inbound('starred elsewhere');
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    const find = async () =>
      ((await core.get('/messages?limit=200')).body.data as MessageResource[]).find(({ text }) => text === 'starred elsewhere')!;
    expect((await find()).starred).toBe(false);
    await core.worker.emit(core.sessionId, 'message.observed', { message: { ...message, starred: true }, origin: 'compare' });
    expect((await find()).starred).toBe(true);
    // A worker that does not know says nothing.
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'compare' });
    expect((await find()).starred).toBe(true);
  });
});
