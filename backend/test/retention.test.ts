import { readdir, utimes, writeFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type EventResource } from '@chasqui/shared';
import { insertRows } from '../src/db/rows.js';
import { systemClock } from '../src/lib/clock.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createRetention, type Retention, type RetentionDays } from '../src/jobs/retention.js';
import { createMedia, type Media } from '../src/media/media.js';
import { Message } from '../src/messages/message.entity.js';
import { createSealer } from '../src/lib/sealer.js';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

const day = 86_400_000;
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

describe.each(await databases())('retention on %s', (database) => {
  let core: Core;
  let media: Media;
  beforeAll(async () => {
    core = await startCore({ database });
    media = createMedia(
      { database: core.rig.database, clock: systemClock },
      {
        dir: join(core.rig.dataDir, 'media'),
        maxBytes: 1_000_000,
        allowed: ['*'],
        convert: undefined as never,
        safeFetch: null as never,
        sealer: createSealer(`k1:${Buffer.alloc(32).toString('base64')}`),
      },
    );
  });
  afterAll(() => core?.close());

  /** The retention of this installation as it will be in so many days. */
  const after = (days: number, kept: Partial<RetentionDays> = {}): Retention =>
    createRetention(
      {
        database: core.rig.database,
        clock: { now: () => new Date(Date.now() + days * day), monotonic: () => performance.now() },
        report: () => undefined,
      },
      { media, thumbnails: createThumbnails(core.rig), days: { messages: 90, media: 30, events: 30, ...kept } },
    );
  const sessions = async () => ((await core.get('/sessions')).body.data as { counters: Record<string, number> }[])[0]!.counters;
  const events = async (after?: string) => core.get(`/events?limit=200${after === undefined ? '' : `&after=${after}`}`);

  test('final messages are deleted with their files; waiting ones and the counts stay', async () => {
    const sent = dataOf(await core.send('old'));
    const image = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture }));
    await core.reaches(image.id, 'sent');
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const waiting = dataOf(await core.send('waits', { queueIfOffline: true, async: true }));
    const before = await sessions();
    expect(await after(89).run()).toMatchObject({ messages: 0 });
    expect((await core.message(sent.id)).status).toBe('sent');
    expect(await after(91, { media: 0 }).run()).toMatchObject({ messages: 2, files: 0 });
    expect((await core.get(`/messages/${sent.id}`)).status).toBe(404);
    expect((await core.get(`/messages/${image.id}/media`)).status).toBe(404);
    expect((await core.message(waiting.id)).status).toBe('queued');
    expect(await sessions()).toEqual(before);
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(waiting.id, 'sent');
  });

  test('files go before their messages, and a request for one says so', async () => {
    const { id } = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture }));
    await core.reaches(id, 'sent');
    expect((await core.get(`/messages/${id}/media`)).status).toBe(200);
    expect(await after(31).run()).toMatchObject({ messages: 0, files: 1 });
    expect((await core.message(id)).content).toMatchObject({ media: { mimetype: 'image/png' } });
    const gone = await core.get(`/messages/${id}/media`);
    expect([gone.status, gone.body.error?.code]).toEqual([410, 'MEDIA_EXPIRED']);
  });

  test('the oldest events are deleted first, and an earlier cursor gets an error and never skips the gap', async () => {
    await core.send('one more');
    const first = ((await events()).body.data as EventResource[])[0]!;
    const { events: gone } = await after(31).run();
    expect(gone).toBeGreaterThan(0);
    const expired = await events(first.cursor);
    expect([expired.status, expired.body.error?.code]).toEqual([410, 'CURSOR_EXPIRED']);
    const oldest = String(expired.body.error?.details['oldestCursor']);
    const next = dataOf(await core.send('after the gap'));
    const rest = await events(oldest);
    expect(rest.status).toBe(200);
    expect((rest.body.data as EventResource[]).map(({ type, data }) => [type, data['id']])).toContainEqual([
      'message.sent',
      next.id,
    ]);
    expect(await after(0).run()).toEqual({ messages: 0, files: 0, thumbnails: 0, events: 0 });
  });

  test('more than fit into one commit go too', async () => {
    const { id } = dataOf(await core.send('first', { scheduledAt: new Date(Date.now() + day).toISOString() }));
    await core.post(`/messages/${id}/cancel`, {});
    const row = await core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    await core.rig.database.write.run((tx) =>
      insertRows(
        tx,
        Message,
        Array.from({ length: 620 }, (_, n) => ({ ...row, id: newId(), whatsappKey: `key-${n}` })),
      ),
    );
    expect((await after(91).run()).messages).toBeGreaterThanOrEqual(620);
    expect((await core.get('/messages/list')).body.data).toEqual([]);
  });

  test('the cleanup deletes old files that no row names, and leaves the others', async () => {
    const { id, content } = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture }));
    const { id: mediaId } = (content as unknown as { media: { id: string } }).media;
    const folder = join(core.rig.dataDir, 'media', 'zz');
    await mkdir(folder, { recursive: true });
    for (const [name, age] of [
      ['orphan', 2],
      ['orphan.part', 2],
      ['young', 0],
    ] as const) {
      await writeFile(join(folder, name), 'x');
      const at = new Date(Date.now() - age * 3_600_000);
      await utimes(join(folder, name), at, at);
    }
    // Old, and somebody's: it stays all the same.
    const own = join(core.rig.dataDir, 'media', mediaId.slice(-2), mediaId);
    await utimes(own, 0, 0);
    expect(await media.sweep()).toBe(2);
    expect(await readdir(folder)).toEqual(['young']);
    expect((await core.get(`/messages/${id}/media`)).status).toBe(200);
  });
});
