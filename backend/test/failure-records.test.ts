import { describe, expect, test } from '@jest/globals';
import { Failure } from '../src/failures/failure.entity.js';
import { createFailures } from '../src/failures/failures.js';
import { systemClock as clock } from '../src/lib/clock.js';
import { loginOf } from './support/account.js';
import { databases } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { useFaultyCore } from './support/faulty-core.js';
import { silentLog } from './support/silent-log.js';

/** The record of items that failed by themselves. */

const day = 86_400_000;

describe.each(await databases())('the record of failures on %s', (database) => {
  const it = useFaultyCore(database);

  const make = (write = it.core.rig.database.write) =>
    createFailures({ database: { ...it.core.rig.database, write }, clock, log: silentLog });
  const rows = () => it.core.rig.database.reader.getRepository(Failure).find();

  test('is written when the database is back, and is bounded meanwhile', async () => {
    let isAway = true;
    const { write } = it.core.rig.database;
    const own = make({
      ...write,
      run: (work) => (isAway ? Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' })) : write.run(work)),
    });
    for (let index = 0; index < 3_000; index += 1)
      own.report({ kind: 'accept', subject: `away ${index}`, code: 'X', detail: 'd' });
    await own.flush();
    isAway = false;
    own.report({ kind: 'accept', subject: 'back', code: 'X', detail: 'd' });
    await own.flush();
    const found = await rows();
    expect(found.length).toBeGreaterThan(900);
    expect(found.length).toBeLessThanOrEqual(1_000);
    await own.stop();
  });

  test('a tenant whose items all fail displaces no other tenant, not even while the database is unavailable', async () => {
    let isAway = false;
    const { write } = it.core.rig.database;
    const own = make({
      ...write,
      run: (work) => (isAway ? Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' })) : write.run(work)),
    });
    const at = new Date();
    const flood = (round: number): void => {
      for (let index = 0; index < 3_000; index += 1)
        own.report({ kind: 'accept', subject: `flood ${round} ${index}`, accountId: 'flooder', code: 'X', detail: 'd', at });
    };
    own.report({ kind: 'accept', subject: 'other 1', accountId: 'other', code: 'X', detail: 'd', at });
    await own.flush();
    for (let round = 0; round < 4; round += 1) {
      flood(round);
      await own.flush();
    }
    isAway = true;
    flood(9);
    own.report({ kind: 'accept', subject: 'other 2', accountId: 'other', code: 'X', detail: 'd', at });
    await own.flush();
    isAway = false;
    await own.flush();
    const found = await rows();
    expect(
      found
        .filter(({ accountId }) => accountId === 'other')
        .map(({ subject }) => subject)
        .sort(),
    ).toEqual(['other 1', 'other 2']);
    expect(found.filter(({ accountId }) => accountId === 'flooder')).toHaveLength(200);
    await own.stop();
  });

  test('a report that cannot be written stops no other', async () => {
    await it.refuse('INSERT', 'failures', `NEW.subject = 'unwritable'`);
    const own = make();
    for (const subject of ['first', 'unwritable', 'last']) own.report({ kind: 'accept', subject, code: 'X', detail: 'd' });
    await own.flush();
    expect((await rows()).map(({ subject }) => subject).sort()).toEqual(['first', 'last']);
    await own.stop();
  });

  test('keeps the latest rows only, and none that is old', async () => {
    const own = make();
    const start = Date.now() - 10_000;
    for (let round = 0; round < 3; round += 1) {
      for (let index = 0; index < 900; index += 1)
        own.report({
          kind: 'accept',
          subject: `${round} ${index}`,
          code: 'X',
          detail: 'd',
          at: new Date(start + round * 1_000 + index),
        });
      await own.flush();
    }
    const kept = await rows();
    expect(kept.length).toBeLessThanOrEqual(2_001);
    expect(kept.filter(({ subject }) => subject.startsWith('2 '))).toHaveLength(900);
    await it.core.rig.database.write.run((tx) => tx.manager.query(`UPDATE failures SET "lastAt" = ${Date.now() - 31 * day}`));
    await own.prune();
    expect(await rows()).toEqual([]);
    await own.stop();
  });

  test('is seen by staff, in the order of time, and by health while it is recent', async () => {
    const admin = await loginOf(it.core.rig);
    const health = async () =>
      ((await (await fetch(`${it.core.rig.url}/health`)).json()) as { checks: Record<string, string> }).checks;
    await it.core.rig.failures.flush();
    await it.forget();
    await eventually('health to be ok', async () => (await health())['failures'] === 'ok');
    it.core.rig.failures.report({
      kind: 'worker_event',
      subject: 'e1',
      code: 'VALIDATION_FAILED',
      detail: 'd',
      sessionId: it.core.sessionId,
    });
    it.core.rig.failures.report({
      kind: 'cleanup',
      subject: 'media.sweep',
      code: 'EACCES',
      detail: 'd',
      at: new Date(Date.now() - 60_000),
    });
    await it.core.rig.failures.flush();
    // A check is made at most once a second.
    const isSeen = (state: string) => eventually(`health to be ${state}`, async () => (await health())['failures'] === state);
    await isSeen('degraded');
    const list = (query = '') => it.core.rig.call('GET', `/admin/failures${query}`, admin);
    expect(((await list()).body.data as { subject: string }[]).map(({ subject }) => subject)).toEqual(['e1', 'media.sweep']);
    expect((await list('?kind=cleanup')).body).toMatchObject({ data: [{ code: 'EACCES', count: 1 }], meta: { total: 1 } });
    expect((await list(`?sessionId=${it.core.sessionId}`)).body.meta).toMatchObject({ total: 1 });
    expect((await it.core.get('/admin/failures')).status).toBe(403);
    await it.core.rig.database.write.run((tx) => tx.manager.query(`UPDATE failures SET "lastAt" = ${Date.now() - 16 * 60_000}`));
    await isSeen('ok');
  });
});
