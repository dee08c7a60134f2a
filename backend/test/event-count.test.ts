import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventTypes } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';

describe.each(await databases())('events for a console on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());
  const keyWith = async (...permissions: string[]): Promise<string> =>
    ((await core.post('/keys', { name: 'k', permissions })).body.data as { key: string }).key;

  test('the count after a cursor is what a page after it has, of each type that the caller may read', async () => {
    const start = (await core.get('/events?limit=1')).body.meta as { latestCursor: string };
    for (const text of ['one', 'two']) {
      const { body } = await core.send(text);
      await core.reaches((body.data as { id: string }).id, 'sent');
    }
    const page = await core.get(`/events?after=${start.latestCursor}&limit=200`);
    const events = page.body.data as { type: string }[];
    const { body } = await core.get(`/events/count?after=${start.latestCursor}`);
    const byType: Record<string, number> = {};
    for (const { type } of events) byType[type] = (byType[type] ?? 0) + 1;
    expect(body.data).toMatchObject({ total: events.length, byType, isExact: true });
    expect(byType['message.queued']).toBe(2);
    const { nextCursor } = body.data as { nextCursor: string };
    expect((await core.get(`/events/count?after=${nextCursor}`)).body.data).toMatchObject({ total: 0, byType: {} });

    const key = await keyWith('events.read', 'messages.receive');
    const seen = await core.rig.call('GET', `/events/count?after=${start.latestCursor}`, { key });
    expect(Object.keys((seen.body.data as { byType: object }).byType)).toEqual(['message.sent']);
    const some = await core.get(`/events/count?after=${start.latestCursor}&types=message.sending`);
    expect(some.body.data).toMatchObject({ total: byType['message.sending'] });
    expect((await core.get('/events/count')).status).toBe(422);
    expect((await core.get('/events/count?after=')).status).toBe(422);
    expect((await core.get('/events/count?after=99999999999')).status).toBe(422);
  });

  test('the catalogue has every type with a sample, and says which of them the caller may read', async () => {
    const key = await keyWith('events.read', 'messages.receive');
    const { status, body } = await core.rig.call('GET', '/events/catalogue', { key });
    expect(status).toBe(200);
    const rows = body.data as {
      type: string;
      isReadable: boolean;
      permission: string;
      otherNames: string[];
      sample: { type: string };
    }[];
    expect(rows.map(({ type }) => type)).toEqual(eventTypes);
    for (const { type, isReadable, permission, sample } of rows) {
      expect(sample.type).toBe(type);
      expect(isReadable).toBe(permission === 'messages.receive');
    }
    expect(rows.find(({ type }) => type === 'session.status')!.otherNames).toEqual(['instance.status', 'connection.update']);
  });
});
