import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { newId, type HeartbeatReply, type MessageResource, type OutletEvent } from '@chasqui/shared';
import fc from 'fast-check';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { attemptInHalves } from '../src/db/isolate.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { isSystemError } from '../src/db/database-errors.js';
import { createEvents } from '../src/events/events.js';
import { EventCounter } from '../src/events/event.entity.js';
import { Failure, type FailureKind } from '../src/failures/failure.entity.js';
import { createFailures, type FailureReport } from '../src/failures/failures.js';
import { createApiKeys } from '../src/accounts/api-keys.js';
import { createRetention } from '../src/jobs/retention.js';
import { startSweep } from '../src/jobs/sweep.js';
import { systemClock as clock } from '../src/lib/clock.js';
import type { Log } from '../src/lib/log.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { loginOf } from './support/account.js';
import { databases, serviceKey } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { refuseRows } from './support/faults.js';
import { coreOf } from './support/parts.js';

/** One bad item stops only itself: a fault is injected at each position of each chain, and everything else must be done. */

const silent: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  isDebug: false,
};
/** Which items of a chain are bad. */
const patterns = (most: number) => fc.array(fc.boolean(), { minLength: 1, maxLength: most });
const day = 86_400_000;

describe('attempts in halves', () => {
  test('everything is done but exactly the bad items, whichever they are', async () => {
    await fc.assert(
      fc.asyncProperty(patterns(80), async (bad) => {
        const items = bad.map((isBad, index) => ({ index, isBad }));
        const done: number[] = [];
        const failed: number[] = [];
        let attempts = 0;
        await attemptInHalves(
          items,
          async (some) => {
            attempts += 1;
            if (some.some(({ isBad }) => isBad)) throw new Error('bad');
            done.push(...some.map(({ index }) => index));
          },
          (some) => void failed.push(...some.map(({ index }) => index)),
        );
        const of = (isBad: boolean) => items.filter((item) => item.isBad === isBad).map(({ index }) => index);
        expect([done, failed]).toEqual([of(false), of(true)]);
        expect(attempts).toBeLessThanOrEqual(1 + 2 * failed.length * Math.ceil(Math.log2(items.length + 1)));
      }),
    );
  });

  test('trouble of the database fails all of an attempt at once, and nothing is repeated', async () => {
    let attempts = 0;
    const failed: number[] = [];
    await attemptInHalves(
      [1, 2, 3],
      () => {
        attempts += 1;
        return Promise.reject(Object.assign(new Error('away'), { code: '57P01' }));
      },
      (some) => void failed.push(...some),
    );
    expect([attempts, failed]).toEqual([1, [1, 2, 3]]);
  });

  test.each([
    ['SQLITE_BUSY', true],
    ['SQLITE_BUSY_SNAPSHOT', true],
    ['SQLITE_FULL', true],
    ['SQLITE_IOERR_WRITE', true],
    ['ECONNRESET', true],
    ['ENOSPC', true],
    ['08006', true],
    ['25006', true],
    ['40P01', true],
    ['53300', true],
    ['55P03', true],
    ['57014', true],
    ['SQLITE_CONSTRAINT_UNIQUE', false],
    ['SQLITE_MISMATCH', false],
    ['SQLITE_TOOBIG', false],
    ['22001', false],
    ['22021', false],
    ['23505', false],
    ['54000', false],
    ['P0001', false],
    ['ERR_INVALID_ARG_TYPE', false],
    ['VALIDATION_FAILED', false],
    [undefined, false],
  ])('an error %s is trouble of the database: %s', (code, expected) => {
    expect(isSystemError(Object.assign(new Error('x'), code === undefined ? {} : { code }))).toBe(expected);
  });
});

describe('listeners', () => {
  test('a listener that throws, at any position, keeps the event from no other', async () => {
    fc.assert(
      fc.property(patterns(6), (bad) => {
        const failed: unknown[] = [];
        const events = createEvents({ clock, listenerFailed: (error) => failed.push(error) });
        const heard: number[] = [];
        for (const [index, isBad] of bad.entries())
          events.subscribe(() => {
            if (isBad) throw new Error('bad');
            heard.push(index);
          });
        events.receive({ cursor: 1, accountId: 'a', sessionId: null, messageId: null, type: 'message.queued', data: null });
        expect(heard).toEqual([...bad.entries()].filter(([, isBad]) => !isBad).map(([index]) => index));
        expect(failed).toHaveLength(bad.filter(Boolean).length);
      }),
    );
  });
});

describe('cleanup tasks', () => {
  const kinds = ['works', 'throws', 'rejects', 'rejects oddly', 'hangs'] as const;
  /** What anything could throw: it has no text, and its properties throw. */
  const codes: Partial<Record<string, string>> = {
    throws: 'Error',
    rejects: 'Error',
    'rejects oddly': 'UNKNOWN',
    hangs: 'TASK_OVERDUE',
  };
  const oddity = (): object =>
    new Proxy(Object.create(null) as object, {
      has: () => {
        throw new Error('odd');
      },
    });

  test('a task that throws, rejects or never ends, at any position, keeps no other from running repeatedly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 5 }), async (chosen) => {
        const reports: FailureReport[] = [];
        const runs = chosen.map(() => 0);
        const open = chosen.map(() => 0);
        let overlaps = 0;
        const core = { log: silent, report: (report: FailureReport) => void reports.push(report) };
        const sweep = startSweep(core, {
          tasks: chosen.map((kind, index) => ({
            name: `${index} ${kind}`,
            run: () => {
              runs[index]! += 1;
              if (kind === 'throws') throw new Error('bad');
              if (kind === 'rejects oddly') return Promise.reject(oddity() as Error);
              if (kind === 'rejects') return Promise.reject(new Error('bad'));
              if ((open[index]! += 1) > 1) overlaps += 1;
              return kind === 'hangs' ? new Promise(() => undefined) : Promise.resolve().then(() => (open[index]! -= 1));
            },
          })),
          times: { firstMs: 0, everyMs: 2, retryMs: 1, overdueMs: 5 },
        });
        const reported = (index: number, kind: (typeof kinds)[number]): boolean =>
          reports.some(({ subject, code }) => subject === `${index} ${kind}` && code === codes[kind]);
        await eventually('all tasks to be where they should be', async () =>
          chosen.every((kind, index) => (kind === 'hangs' ? reported(index, kind) : runs[index]! >= 3)),
        );
        sweep.stop();
        expect(overlaps).toBe(0);
        for (const [index, kind] of chosen.entries()) {
          if (kind === 'hangs') expect(runs[index]).toBe(1);
          expect(reported(index, kind)).toBe(kind !== 'works');
        }
      }),
      { numRuns: 25 },
    );
  });
});

describe.each(await databases())('one bad item on %s', (database) => {
  let core: Core;
  let aheadMs = 0;
  const ahead = { now: clock.now, monotonic: () => clock.monotonic() + aheadMs };
  const failures = async (kind: FailureKind): Promise<string[]> => {
    await core.rig.failures.flush();
    return (await core.rig.database.reader.getRepository(Failure).findBy({ kind })).map(({ subject }) => subject).sort();
  };
  const forget = (): Promise<unknown> => core.rig.database.write.run((tx) => tx.manager.query('DELETE FROM failures'));
  let heal: (() => Promise<void>) | null = null;
  const refuse = async (
    ...what: Parameters<typeof refuseRows> extends [unknown, ...infer Rest] ? Rest : never
  ): Promise<void> => {
    heal = await refuseRows(core.rig.database, ...what);
  };
  const row = (id: string): Promise<Session> => core.rig.database.reader.getRepository(Session).findOneByOrFail({ id });
  let serial = 0;

  beforeAll(async () => {
    core = await startCore({ database, clock: ahead, settings: { EVENT_RETENTION_DAYS: '30', EGRESS_ALLOW: '127.0.0.1/32' } });
  });
  afterAll(() => core?.close());
  beforeEach(forget);
  afterEach(async () => {
    await heal?.();
    heal = null;
  });

  test('a worker event that cannot be stored, at any position of a batch, is refused and recorded alone', async () => {
    await refuse('INSERT', 'messages', `NEW.text LIKE 'BAD%'`);
    await fc.assert(
      fc.asyncProperty(patterns(6), async (bad) => {
        await forget();
        const name = `batch ${(serial += 1)}`;
        const batch = bad.map((isBad, index): OutletEvent =>
          core.worker.queue(core.sessionId, 'message.observed', {
            message: core.inbound(`${isBad ? 'BAD' : 'good'} ${name} ${index}`),
            origin: 'live',
          }),
        );
        const { ackCursor, refused } = await core.worker.post(batch);
        const badIds = batch.filter((_, index) => bad[index]).map(({ id }) => id);
        expect(ackCursor).toBe(batch.at(-1)!.cursor);
        expect(refused).toEqual(badIds.map((id) => ({ id, code: 'INTERNAL_ERROR' })));
        const stored = (await core.get(`/messages?search=${encodeURIComponent(name)}&order=asc&limit=50`)).body
          .data as MessageResource[];
        expect(stored.map(({ text }) => text)).toEqual(bad.flatMap((isBad, index) => (isBad ? [] : [`good ${name} ${index}`])));
        expect(await failures('worker_event')).toEqual([...badIds].sort());
        // Sent again, because its answer was lost, it is known and is not counted twice.
        await core.worker.post(batch);
        expect((await core.rig.database.reader.getRepository(Failure).find()).every(({ count }) => count === 1)).toBe(true);
      }),
      { numRuns: 12 },
    );
    await core.worker.flush();
  });

  test('one batch that comes to several backends at once is stored once, and none of them fails', async () => {
    for (let round = 0; round < 5; round += 1) {
      const batch = [1, 2, 3].map((index) =>
        core.worker.queue(core.sessionId, 'message.observed', {
          message: core.inbound(`at once ${round} ${index}`),
          origin: 'live',
        }),
      );
      const answers = await Promise.all([1, 2, 3, 4].map(() => core.worker.post(batch)));
      for (const answer of answers) expect(answer).toEqual({ ackCursor: batch.at(-1)!.cursor, refused: [], resend: [] });
      expect((await core.get(`/messages?search=at%20once%20${round}`)).body.meta).toMatchObject({ total: 3 });
    }
    await core.worker.flush();
  });

  test('an event whose envelope fits no column does not block the batch', async () => {
    const good = core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound('enveloped'), origin: 'live' });
    const broken = ['x'.repeat(80), 'a\0b'].map((id) => ({ ...good, id }));
    const far = { ...good, id: newId(), epoch: 2 ** 40 };
    const lost = { ...good, id: newId(), sessionId: 'a\0b' };
    const { refused } = await core.worker.post([...broken, far, lost, good]);
    expect(refused).toEqual([...broken, far, lost].map(({ id }) => ({ id, code: 'VALIDATION_FAILED' })));
    expect((await core.get('/messages?search=enveloped')).body.meta).toMatchObject({ total: 1 });
    expect(await failures('worker_event')).toHaveLength(4);
    await core.worker.flush();
  });

  test('a message that cannot be stored, at any position of a shared commit, fails alone', async () => {
    await refuse('INSERT', 'messages', `NEW.text LIKE 'BAD%'`);
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await fc.assert(
      fc.asyncProperty(patterns(9), async (bad) => {
        await forget();
        const name = `shared ${(serial += 1)}`;
        const answers = await Promise.all(
          bad.map((isBad, index) =>
            core.send(`${isBad ? 'BAD' : 'good'} ${name} ${index}`, { async: true, queueIfOffline: true }),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(bad.map((isBad) => (isBad ? 500 : 202)));
        const stored = (await core.get(`/messages?search=${encodeURIComponent(name)}&limit=50`)).body.data as MessageResource[];
        expect(stored.map(({ text }) => text).sort()).toEqual(
          bad.flatMap((isBad, index) => (isBad ? [] : [`good ${name} ${index}`])).sort(),
        );
        expect(await failures('accept')).toHaveLength(bad.filter(Boolean).length);
      }),
      { numRuns: 10 },
    );
    await core.worker.move(core.sessionId, 'connected', null);
  });

  test('a declared type with control characters is refused before it meets the database', async () => {
    for (const mimetype of ['text/x\0y', 'text/a b', 'text/', `text/${'x'.repeat(200)}`]) {
      const { status, body } = await core.post('/messages/send-media', {
        recipient: ana,
        mediaBase64: Buffer.from([1, 2, 3, 4]).toString('base64'),
        mimetype,
      });
      expect([status, ['FILE_TYPE_NOT_ALLOWED', 'VALIDATION_FAILED'].includes(body.error!.code)]).toEqual([422, true]);
    }
  });

  if (database === 'postgres')
    test('an event during which the database fails each time is set aside in the end, and keeps no session waiting until then', async () => {
      const other = ((await core.post('/sessions', { name: 'beside' })).body.data as { id: string }).id;
      await core.post(`/sessions/${other}/connect`, {});
      await core.worker.link(other);
      heal = await refuseRows(core.rig.database, 'INSERT', 'messages', `NEW.text LIKE 'SLOW%'`, '57014');
      const arrival = (sessionId: string, text: string): OutletEvent =>
        core.worker.queue(sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });
      const slow = arrival(core.sessionId, 'SLOW one');
      const behind = arrival(core.sessionId, 'aside behind');
      const beside = arrival(other, 'aside beside');
      const batch = [slow, behind, beside];
      const texts = async (): Promise<(string | null)[]> =>
        ((await core.get('/messages?search=aside&order=asc&limit=50')).body.data as MessageResource[]).map(({ text }) => text);
      const attempt = (): Promise<boolean> =>
        core.worker.post(batch).then(
          () => true,
          () => false,
        );
      expect(await attempt()).toBe(false);
      expect(await attempt()).toBe(false);
      expect(await texts()).toEqual(['aside beside']);
      for (let times = 0; times < 4; times += 1) expect(await attempt()).toBe(false);
      expect(await failures('worker_event')).toEqual([]);
      aheadMs += 60_000;
      const { ackCursor, refused } = await core.worker.post(batch);
      expect([ackCursor, refused]).toEqual([beside.cursor, [{ id: slow.id, code: 'INTERNAL_ERROR' }]]);
      expect((await texts()).sort()).toEqual(['aside behind', 'aside beside']);
      expect(await failures('worker_event')).toEqual([slow.id]);
      await core.worker.flush();
    });

  if (database === 'postgres')
    test('a slow batch is committed in parts, in order and once, so that accepts continue between them', async () => {
      const run = (sql: string): Promise<unknown> => core.rig.database.write.run((tx) => tx.manager.query(sql));
      await run(
        `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$`,
      );
      await run(
        `CREATE TRIGGER linger BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.text LIKE 'LINGER%') EXECUTE FUNCTION linger()`,
      );
      heal = async () => {
        await run('DROP TRIGGER linger ON messages');
        await run('DROP FUNCTION linger()');
      };
      const batch = Array.from({ length: 8 }, (_, index) =>
        core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound(`LINGER ${index}`), origin: 'live' }),
      );
      const last = batch.at(-1)!.cursor;
      let parts = 0;
      for (let acked = 0; acked < last; parts += 1) {
        const { ackCursor, refused, resend } = await core.worker.post(batch.filter(({ cursor }) => cursor > acked));
        expect([ackCursor > acked, refused, resend]).toEqual([true, [], []]);
        acked = ackCursor;
      }
      expect(parts).toBeGreaterThan(1);
      const stored = (await core.get('/messages?search=LINGER&order=asc&limit=50')).body.data as MessageResource[];
      expect(stored.map(({ text }) => text)).toEqual(batch.map((_, index) => `LINGER ${index}`));
      await core.worker.flush();
    });

  describe('rows that are damaged', () => {
    const damage = (sql: string): Promise<unknown> => core.rig.database.write.run((tx) => tx.manager.query(sql));
    const texts = ['{', '', 'null', '5', '"x"', '[1'];

    test('a message, an event, a session, an endpoint or a key that cannot be read hides no other in its list', async () => {
      const made = (await core.post('/sessions', { name: 'damaged' })).body.data as { id: string };
      const endpoint = (await core.post('/webhooks', { url: 'http://127.0.0.1:9/damaged', events: ['*'] })).body.data as {
        id: string;
      };
      const key = (await core.post('/keys', { name: 'damaged', permissions: ['messages.send'] })).body.data as { id: string };
      await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('damaged row'), origin: 'live' });
      const [message] = (await core.get('/messages?search=damaged%20row')).body.data as MessageResource[];
      const lists = ['/messages?limit=200', '/events?limit=200&after=0', '/sessions', '/webhooks', '/keys', '/admin/audit'];
      const idsOf = async (path: string): Promise<string[]> => {
        const { status, body } = await core.rig.call('GET', path, path.startsWith('/admin') ? await loginOf(core.rig) : {});
        expect([path, status]).toEqual([path, 200]);
        return (body.data as { id: string }[]).map(({ id }) => id);
      };
      const before = await Promise.all(lists.slice(0, 5).map(idsOf));
      for (const text of texts) {
        await damage(
          `UPDATE messages SET content = '${text}', contact = '${text}', mentions = '${text}' WHERE id = '${message!.id}'`,
        );
        await damage(`UPDATE events SET data = '${text}' WHERE "messageId" = '${message!.id}'`);
        await damage(`UPDATE sessions SET settings = '${text}', metadata = '${text}' WHERE id = '${made.id}'`);
        await damage(`UPDATE webhooks SET events = '${text}', types = '${text}', filter = '${text}' WHERE id = '${endpoint.id}'`);
        await damage(`UPDATE api_keys SET permissions = '${text}' WHERE id = '${key.id}'`);
        await damage(`UPDATE audit_logs SET changes = '${text}' WHERE "objectId" = '${key.id}'`);
        for (const [index, path] of lists.entries())
          if (index < 5) expect(await idsOf(path)).toEqual(expect.arrayContaining(before[index]!));
          else expect((await idsOf(path)).length).toBeGreaterThan(0);
        expect((await core.get(`/messages/${message!.id}`)).body.data).toMatchObject({
          id: message!.id,
          content: null,
          mentions: [],
        });
        expect((await core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
          lastError: expect.stringMatching(/settings/),
        });
      }
      // What could not be read is kept until somebody replaces it.
      await core.rig.call('PUT', `/sessions/${made.id}`, { body: { name: 'damaged-still' } });
      expect((await core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
        name: 'damaged-still',
        lastError: expect.stringMatching(/settings/),
      });
      await core.rig.call('PUT', `/sessions/${made.id}`, { body: { settings: { queueIfOffline: true } } });
      expect((await core.get(`/sessions/${made.id}`)).body.data).toMatchObject({
        lastError: null,
        settings: { queueIfOffline: true, storeMedia: true },
      });
      await core.rig.call('DELETE', `/webhooks/${endpoint.id}`);
    });

    test('an endpoint whose row cannot be read stops no accept, no arrival and no other endpoint', async () => {
      const [bad, good] = await Promise.all(
        ['bad', 'good'].map(
          async (name) =>
            (await core.post('/webhooks', { url: `http://127.0.0.1:9/${name}`, events: ['*'] })).body.data as { id: string },
        ),
      );
      await damage(`UPDATE webhooks SET types = '{' WHERE id = '${bad!.id}'`);
      // The rows are cached for at most a minute.
      aheadMs += 120_000;
      const { status, body } = await core.send('beside a bad endpoint', { async: true, queueIfOffline: true });
      expect([status, body.error]).toEqual([202, undefined]);
      await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('to a bad endpoint'), origin: 'live' });
      expect((await core.get('/messages?search=to%20a%20bad')).body.meta).toMatchObject({ total: 1 });
      expect(await failures('webhook')).toContain(bad!.id);
      expect(await failures('webhook')).not.toContain(good!.id);
      const count = async (id: string): Promise<number> =>
        Number(
          (
            (await core.rig.database.reader.query(
              `SELECT COUNT(*) AS n FROM webhook_deliveries WHERE "webhookId" = '${id}'`,
            )) as { n: number }[]
          )[0]!.n,
        );
      expect(await count(good!.id)).toBeGreaterThan(0);
      for (const { id } of [bad!, good!]) await core.rig.call('DELETE', `/webhooks/${id}`);
    });
  });

  describe('of a worker with several sessions', () => {
    const ids: string[] = [];
    beforeAll(async () => {
      for (const name of ['one', 'two', 'three']) {
        const made = (await core.post('/sessions', { name: `beat-${name}` })).body.data as { id: string };
        await core.post(`/sessions/${made.id}/connect`, {});
        await core.worker.link(made.id);
        ids.push(made.id);
      }
    }, 240_000);
    const beat = async (memoryMb: Map<string, number>, problems?: unknown): Promise<HeartbeatReply> => {
      const sessions = await Promise.all(
        ids.map(async (sessionId) => ({
          sessionId,
          epoch: (await row(sessionId)).leaseEpoch,
          status: 'connected',
          reason: null,
          lastRoundTripAt: null,
          metrics: {
            memoryMb: memoryMb.get(sessionId) ?? null,
            cpuPercent: 1,
            processes: 1,
            browserUptimeSeconds: 1,
            queueDepth: 0,
            roundTripMs: 1,
          },
          compat: [],
          whatsappWebVersion: '2.3000',
        })),
      );
      const { status, body } = await core.rig.call('POST', '//internal/workers/heartbeat', {
        key: null,
        headers: { 'x-api-key': serviceKey },
        body: {
          workerId: 'worker-a',
          bootId: 'boot-1',
          url: core.worker.url,
          version: '1',
          capacity: 50,
          draining: false,
          memoryMb: 1,
          memoryLimitMb: null,
          cpuPercent: null,
          sessions,
          ...(problems === undefined ? {} : { problems }),
        },
      });
      expect([status, body.error]).toEqual([200, undefined]);
      return body.data as HeartbeatReply;
    };

    test('a session that cannot be updated, at any position, keeps no other from its lease and its figures', async () => {
      await refuse('UPDATE', 'sessions', 'NEW."memoryMb" = 666');
      let figure = 100;
      for (let pattern = 0; pattern < 2 ** ids.length; pattern += 1) {
        await forget();
        const isBad = (id: string): boolean => ((pattern >> ids.indexOf(id)) & 1) === 1;
        figure += 1;
        const reply = await beat(new Map(ids.map((id) => [id, isBad(id) ? 666 : figure])));
        expect(reply.leases.map(({ sessionId }) => sessionId)).toEqual(expect.arrayContaining(ids));
        expect(reply.revoke.map(({ sessionId }) => sessionId).filter((id) => ids.includes(id))).toEqual([]);
        const updated = (await Promise.all(ids.map(row))).filter(({ memoryMb }) => memoryMb === figure).map(({ id }) => id);
        expect(updated).toEqual(ids.filter((id) => !isBad(id)));
        expect(await failures('heartbeat')).toEqual(ids.filter(isBad).sort());
      }
    });

    test('a session whose row cannot be read affects only itself, and keeps its lease', async () => {
      const { settings } = await row(ids[1]!);
      const set = (text: string): Promise<unknown> =>
        core.rig.database.write.run((tx) => tx.manager.query(`UPDATE sessions SET settings = '${text}' WHERE id = '${ids[1]}'`));
      const epochs = new Map(await Promise.all(ids.map(async (id) => [id, (await row(id)).leaseEpoch] as const)));
      await set('{');
      try {
        const { body } = await core.rig.call('POST', '//internal/workers/heartbeat', {
          key: null,
          headers: { 'x-api-key': serviceKey },
          body: {
            workerId: 'worker-a',
            bootId: 'boot-1',
            url: core.worker.url,
            version: '1',
            capacity: 50,
            draining: false,
            memoryMb: 1,
            memoryLimitMb: null,
            cpuPercent: null,
            sessions: [],
          },
        });
        const { leases } = body.data as HeartbeatReply;
        for (const id of ids) expect(leases).toContainEqual(expect.objectContaining({ sessionId: id, epoch: epochs.get(id)! }));
        expect(await failures('heartbeat')).toEqual([ids[1]]);
      } finally {
        await set(JSON.stringify(settings));
      }
    });

    test('items that the worker isolated arrive with its heartbeat and are recorded, whatever they contain', async () => {
      const at = new Date().toISOString();
      const problem = { code: 'EVENT_LOST', sessionId: ids[0], detail: 'It could not be read.', at, count: 3 };
      const odd = {
        code: 'x'.repeat(500),
        sessionId: 'no id\0',
        detail: `a\0b\ud800${'y'.repeat(9_000)}`,
        at: '2999-01-01T00:00:00.000Z',
        count: -7,
      };
      await beat(new Map(), [problem, odd]);
      await beat(new Map(), [{ ...problem, count: 2 }]);
      await core.rig.failures.flush();
      const rows = await core.rig.database.reader.getRepository(Failure).find({ where: { kind: 'worker' } });
      expect(rows.find(({ code }) => code === 'EVENT_LOST')).toMatchObject({
        subject: `worker-a ${ids[0]}`,
        sessionId: ids[0],
        detail: 'It could not be read.',
        count: 5,
      });
      const other = rows.find(({ code }) => code.startsWith('xxx'))!;
      expect([other.code.length, other.sessionId, other.count, other.detail.length]).toEqual([64, null, 1, 200]);
      expect(other.lastAt.getTime()).toBeLessThanOrEqual(Date.now());
    });

    test('a report of a problem that comes twice, because its answer was lost, counts once', async () => {
      await forget();
      const report = (id: string, count: number) => [
        { code: 'TASK_FAILED', sessionId: ids[0], detail: 'probe', count, report: id },
      ];
      const count = async (): Promise<number[]> => {
        await core.rig.failures.flush();
        return (await core.rig.database.reader.getRepository(Failure).find({ where: { kind: 'worker' } })).map(
          (one) => one.count,
        );
      };
      const first = newId();
      await beat(new Map(), report(first, 3));
      await beat(new Map(), report(first, 3)); // Before the first one is written.
      expect(await count()).toEqual([3]);
      await beat(new Map(), report(first, 3));
      expect(await count()).toEqual([3]);
      await beat(new Map(), report(newId(), 2));
      expect(await count()).toEqual([5]);
    });
  });

  test('an expired message that cannot be ended blocks no other', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const sent: MessageResource[] = [];
    for (const text of ['late 1', 'LATE BAD', 'late 2'])
      sent.push(dataOf(await core.send(text, { async: true, queueIfOffline: true })));
    await refuse('UPDATE', 'messages', `NEW.text = 'LATE BAD' AND NEW.status = 'failed'`);
    const ids = sent.map(({ id }) => id);
    await core.rig.database.write.run(async (tx) => {
      for (const [index, id] of [ids[1]!, ids[0]!, ids[2]!].entries())
        await updateRows(tx, Message, { id }, { expiresAt: new Date(Date.now() - 10_000 + index) });
    });
    await core.reaches(ids[0]!, 'failed');
    await core.reaches(ids[2]!, 'failed');
    expect((await core.message(ids[1]!)).status).toBe('queued');
    await eventually('the record', async () => (await failures('message')).includes(ids[1]!));
    await heal?.();
    heal = null;
    await core.post(`/messages/${ids[1]}/cancel`);
    await core.worker.move(core.sessionId, 'connected', null);
  });

  test('an expiring key that cannot be announced blocks no other notice', async () => {
    const names = ['ends 1', 'ENDS BAD', 'ends 2'];
    for (const name of names)
      await core.post('/keys', { name, permissions: ['messages.send'], expiresAt: new Date(Date.now() + 2 * day).toISOString() });
    await refuse('UPDATE', 'api_keys', `NEW.name = 'ENDS BAD'`);
    const reports: FailureReport[] = [];
    const keys = createApiKeys(
      { ...coreOf(core.rig.database), report: (report) => void reports.push(report) },
      { rules: { maxPerSession: 10, expiryDays: 365, autoRotation: false, noticeDays: 7 } },
    );
    await keys.announceEnding();
    const noticed = await core.rig.database.reader.getRepository(ApiKey).find();
    expect(names.map((name) => noticed.find((key) => key.name === name)!.noticedAt !== null)).toEqual([true, false, true]);
    expect(reports.map(({ kind, subject }) => [kind, subject])).toEqual([
      ['key_notice', noticed.find(({ name }) => name === 'ENDS BAD')!.id],
    ]);
  });

  test('a row that cannot be deleted when its time is over keeps no other from being deleted', async () => {
    const reports: FailureReport[] = [];
    const retentionIn = (days: number) =>
      createRetention(
        {
          database: core.rig.database,
          clock: { now: () => new Date(Date.now() + days * day), monotonic: () => performance.now() },
          report: (report) => void reports.push(report),
        },
        {
          media: { remove: async () => undefined, expire: async () => undefined },
          days: { messages: 90, media: 30, events: 30 },
        },
      );
    const ids: string[] = [];
    for (const text of ['old 1', 'old 2', 'OLD BAD', 'old 3']) {
      const { id } = dataOf(await core.send(text));
      await core.reaches(id, 'sent');
      ids.push(id);
    }
    const before = await core.rig.database.reader.getRepository(Message).count();
    await refuse('DELETE', 'messages', `OLD.text = 'OLD BAD'`);
    const removed = await retentionIn(91).ofMessages();
    expect(reports).toEqual([expect.objectContaining({ kind: 'retention', subject: ids[2] })]);
    expect((await core.rig.database.reader.getRepository(Message).find()).map(({ id }) => id)).toEqual([ids[2]]);
    expect(removed).toBe(before - 1);
    await heal?.();
    expect(await retentionIn(91).ofMessages()).toBe(1);

    reports.length = 0;
    const all = await core.events();
    expect(all.length).toBeGreaterThan(5);
    const third = Number(((await core.get('/events?limit=3')).body.data as { cursor: string }[])[2]!.cursor);
    await refuse('DELETE', 'events', `OLD.cursor = ${third}`);
    await retentionIn(31).ofEvents();
    const left = await core.rig.database.write.run((tx) =>
      tx.manager.query<{ cursor: number | string }[]>('SELECT cursor FROM events'),
    );
    expect(left.map((event) => Number(event.cursor))).toEqual([third]);
    expect(reports).toEqual([expect.objectContaining({ kind: 'retention', subject: `event ${third}` })]);
    await heal?.();
    heal = null;
    await retentionIn(31).ofEvents();
    // The bound that readers are told is not lowered by the row that was deleted late.
    expect((await core.get('/events?after=0')).body.error?.code).toBe('CURSOR_EXPIRED');
  });

  test('of the erasure of a contact, a message that cannot be erased keeps no other, and the request says that it failed', async () => {
    const phone = '5511900001111';
    const ids: string[] = [];
    for (const text of ['erase 1', 'ERASE BAD', 'erase 2']) ids.push(dataOf(await core.send(text, { recipient: phone })).id);
    for (const id of ids) await core.reaches(id, 'sent');
    await refuse('UPDATE', 'messages', `OLD.text = 'ERASE BAD' AND NEW.text IS NULL`);
    const asked = (await core.post('/privacy/erasures', { contact: phone, confirm: phone })).body.data as { id: string };
    const status = () => core.get(`/privacy/erasures/${asked.id}`).then(({ body }) => (body.data as { status: string }).status);
    await eventually('the erasure to end', async () => ['done', 'failed'].includes(await status()));
    expect(await status()).toBe('failed');
    const texts = await core.rig.database.reader.getRepository(Message).find();
    expect(ids.map((id) => texts.find((message) => message.id === id)!.text)).toEqual([null, 'ERASE BAD', null]);
    expect(await failures('privacy')).toContain(`${asked.id} ${ids[1]}`);
    await heal?.();
    heal = null;
    const again = (await core.post('/privacy/erasures', { contact: phone, confirm: phone })).body.data as { id: string };
    await eventually(
      'the second erasure',
      async () => ((await core.get(`/privacy/erasures/${again.id}`)).body.data as { status: string }).status === 'done',
    );
  });

  test('of the export of a contact, a message that cannot be read is counted as such, and the rest is there', async () => {
    const phone = '5511900002222';
    const ids: string[] = [];
    for (const text of ['export 1', 'export 2', 'export 3']) ids.push(dataOf(await core.send(text, { recipient: phone })).id);
    for (const id of ids) await core.reaches(id, 'sent');
    await core.rig.database.write.run((tx) => tx.manager.query(`UPDATE messages SET content = '{' WHERE id = '${ids[1]}'`));
    const asked = (await core.post('/privacy/exports', { contact: phone })).body.data as { id: string };
    const request = await eventually('the export to end', async () => {
      const { data } = (await core.get(`/privacy/exports/${asked.id}`)).body;
      return ['done', 'failed'].includes((data as { status: string }).status) && data;
    });
    expect(request).toMatchObject({ status: 'done', counts: { messages: 2, unreadable: 1 } });
    expect(await failures('privacy')).toContain(`${asked.id} ${ids[1]}`);
    await core.rig.database.write.run((tx) => tx.manager.query(`DELETE FROM messages WHERE id = '${ids[1]}'`));
  });

  test('a callback of a commit that throws neither fails the commit nor stops later ones', async () => {
    const { write } = core.rig.database;
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        write.run(async (tx) => {
          await insertRow(tx, EventCounter, { scope: `callback-${index}`, last: 1 });
          tx.afterCommit(() => {
            if (index % 2 === 0) throw new Error('bad callback');
          });
          return index;
        }),
      ),
    );
    expect(results).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await write.run(async () => 'goes on')).toBe('goes on');
  });

  describe('the record of failures', () => {
    const make = (write = core.rig.database.write) =>
      createFailures({ database: { ...core.rig.database, write }, clock, log: silent });
    const rows = () => core.rig.database.reader.getRepository(Failure).find();

    test('is written when the database is back, and is bounded meanwhile', async () => {
      let isAway = true;
      const { write } = core.rig.database;
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
      const { write } = core.rig.database;
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
      await refuse('INSERT', 'failures', `NEW.subject = 'unwritable'`);
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
      await core.rig.database.write.run((tx) => tx.manager.query(`UPDATE failures SET "lastAt" = ${Date.now() - 31 * day}`));
      await own.prune();
      expect(await rows()).toEqual([]);
      await own.stop();
    });

    test('is seen by staff, in the order of time, and by health while it is recent', async () => {
      const admin = await loginOf(core.rig);
      const health = async () =>
        ((await (await fetch(`${core.rig.url}/health`)).json()) as { checks: Record<string, string> }).checks;
      await core.rig.failures.flush();
      await forget();
      await eventually('health to be ok', async () => (await health())['failures'] === 'ok');
      core.rig.failures.report({
        kind: 'worker_event',
        subject: 'e1',
        code: 'VALIDATION_FAILED',
        detail: 'd',
        sessionId: core.sessionId,
      });
      core.rig.failures.report({
        kind: 'cleanup',
        subject: 'media.sweep',
        code: 'EACCES',
        detail: 'd',
        at: new Date(Date.now() - 60_000),
      });
      await core.rig.failures.flush();
      // A check is made at most once a second.
      const isSeen = (state: string) => eventually(`health to be ${state}`, async () => (await health())['failures'] === state);
      await isSeen('degraded');
      const list = (query = '') => core.rig.call('GET', `/admin/failures${query}`, admin);
      expect(((await list()).body.data as { subject: string }[]).map(({ subject }) => subject)).toEqual(['e1', 'media.sweep']);
      expect((await list('?kind=cleanup')).body).toMatchObject({ data: [{ code: 'EACCES', count: 1 }], meta: { total: 1 } });
      expect((await list(`?sessionId=${core.sessionId}`)).body.meta).toMatchObject({ total: 1 });
      expect((await core.get('/admin/failures')).status).toBe(403);
      await core.rig.database.write.run((tx) => tx.manager.query(`UPDATE failures SET "lastAt" = ${Date.now() - 16 * 60_000}`));
      await isSeen('ok');
    });
  });
});
