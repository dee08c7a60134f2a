import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What a message says about its lookups while its outcome is unknown, and afterwards. */
describe.each(await databases())('lookups of uncertain messages on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, settings: { UNCERTAIN_GRACE_MS: '2000' } });
  });
  afterAll(() => core?.close());
  const lookupOf = async (id: string): Promise<MessageResource['lookup']> => (await core.message(id)).lookup;

  test('are none of a message whose outcome was always known', async () => {
    const { id } = dataOf(await core.send('known', { async: true }));
    await core.reaches(id, 'sent');
    expect(await lookupOf(id)).toBeNull();
  });

  test('are counted with their time and result, and with the next one until it is held for a decision', async () => {
    core.worker.script({ do: 'uncertain', ack: 0 });
    const { id } = dataOf(await core.send('in the page', { async: true }));
    await core.reaches(id, 'uncertain');
    await eventually('the first lookup', async () => ((await lookupOf(id))?.count ?? 0) > 0);
    const first = (await lookupOf(id))!;
    expect(first.result).toBe('pending');
    expect(Math.abs(Date.now() - Date.parse(first.lastAt!))).toBeLessThan(10_000);
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'NOT_ACKNOWLEDGED');
    const held = (await lookupOf(id))!;
    expect(held).toMatchObject({ result: 'pending', nextAt: null });
    expect(held.count).toBeGreaterThan(1);
    const listed = (await core.get('/messages/list?status=uncertain')).body.data as MessageResource[];
    expect(listed.find((message) => message.id === id)?.lookup).toEqual(held);
    const events = (await core.events('message.uncertain')).filter(({ data }) => data['id'] === id);
    expect(events.map(({ data }) => (data['lookup'] as MessageResource['lookup'])?.count)).toEqual([0, held.count]);
  });

  test('are kept when one of them decides, and begin again with the next unknown outcome', async () => {
    core.worker.script({ do: 'uncertain' }, { do: 'uncertain', ack: 0 });
    const { id } = dataOf(await core.send('nowhere', { async: true }));
    const results = new Set<string>();
    await eventually('it to be held', async () => {
      const { lookup, reason } = await core.message(id);
      if (lookup?.result) results.add(lookup.result);
      return reason?.code === 'NOT_ACKNOWLEDGED';
    });
    expect(results).toContain('pending');
    const uncertain = (await core.events('message.uncertain')).filter(({ data }) => data['id'] === id);
    const counts = uncertain.map(({ data }) => (data['lookup'] as MessageResource['lookup'])!.count);
    expect(counts.slice(0, 2)).toEqual([0, 0]);
    const queued = (await core.events('message.queued')).filter(({ data }) => data['id'] === id).at(-1)!;
    expect(queued.data['lookup']).toMatchObject({ result: 'proven_absent', nextAt: null });
  });
});
