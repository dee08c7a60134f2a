import { beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type HeartbeatReply } from '@chasqui/shared';
import { Failure } from '../src/failures/failure.entity.js';
import { databases, serviceKey } from './support/backend.js';
import { useFaultyCore } from './support/faulty-core.js';

/** What one worker reports of several sessions: a bad item of one session stops only itself. */

describe.each(await databases())('of a worker with several sessions on %s', (database) => {
  const it = useFaultyCore(database);

  const ids: string[] = [];
  beforeAll(async () => {
    for (const name of ['one', 'two', 'three']) {
      const made = (await it.core.post('/sessions', { name: `beat-${name}` })).body.data as { id: string };
      await it.core.post(`/sessions/${made.id}/connect`, {});
      await it.core.worker.link(made.id);
      ids.push(made.id);
    }
  }, 240_000);
  const bareHeartbeat = () => ({
    workerId: 'worker-a',
    bootId: 'boot-1',
    url: it.core.worker.url,
    version: '1',
    capacity: 50,
    draining: false,
    memoryMb: 1,
    memoryLimitMb: null,
    cpuPercent: null,
    sessions: [] as object[],
  });
  const beat = async (memoryMb: Map<string, number>, problems?: unknown): Promise<HeartbeatReply> => {
    const sessions = await Promise.all(
      ids.map(async (sessionId) => ({
        sessionId,
        epoch: (await it.row(sessionId)).leaseEpoch,
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
    const { status, body } = await it.core.rig.call('POST', '//internal/workers/heartbeat', {
      key: null,
      headers: { 'x-api-key': serviceKey },
      body: { ...bareHeartbeat(), sessions, ...(problems === undefined ? {} : { problems }) },
    });
    expect([status, body.error]).toEqual([200, undefined]);
    return body.data as HeartbeatReply;
  };

  test('a session that cannot be updated, at any position, keeps no other from its lease and its figures', async () => {
    await it.refuse('UPDATE', 'sessions', 'NEW."memoryMb" = 666');
    let figure = 100;
    for (let pattern = 0; pattern < 2 ** ids.length; pattern += 1) {
      await it.forget();
      const isBad = (id: string): boolean => ((pattern >> ids.indexOf(id)) & 1) === 1;
      figure += 1;
      const reply = await beat(new Map(ids.map((id) => [id, isBad(id) ? 666 : figure])));
      expect(reply.leases.map(({ sessionId }) => sessionId)).toEqual(expect.arrayContaining(ids));
      expect(reply.revoke.map(({ sessionId }) => sessionId).filter((id) => ids.includes(id))).toEqual([]);
      const updated = (await Promise.all(ids.map(it.row))).filter(({ memoryMb }) => memoryMb === figure).map(({ id }) => id);
      expect(updated).toEqual(ids.filter((id) => !isBad(id)));
      expect(await it.failures('heartbeat')).toEqual(ids.filter(isBad).sort());
    }
  });

  test('a session whose row cannot be read affects only itself, and keeps its lease', async () => {
    const { settings } = await it.row(ids[1]!);
    const set = (text: string): Promise<unknown> =>
      it.core.rig.database.write.run((tx) => tx.manager.query(`UPDATE sessions SET settings = '${text}' WHERE id = '${ids[1]}'`));
    const epochs = new Map(await Promise.all(ids.map(async (id) => [id, (await it.row(id)).leaseEpoch] as const)));
    await set('{');
    try {
      const { body } = await it.core.rig.call('POST', '//internal/workers/heartbeat', {
        key: null,
        headers: { 'x-api-key': serviceKey },
        body: bareHeartbeat(),
      });
      const { leases } = body.data as HeartbeatReply;
      for (const id of ids) expect(leases).toContainEqual(expect.objectContaining({ sessionId: id, epoch: epochs.get(id)! }));
      expect(await it.failures('heartbeat')).toEqual([ids[1]]);
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
    await it.core.rig.failures.flush();
    const rows = await it.core.rig.database.reader.getRepository(Failure).find({ where: { kind: 'worker' } });
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
    await it.forget();
    const report = (id: string, count: number) => [
      { code: 'TASK_FAILED', sessionId: ids[0], detail: 'probe', count, report: id },
    ];
    const count = async (): Promise<number[]> => {
      await it.core.rig.failures.flush();
      return (await it.core.rig.database.reader.getRepository(Failure).find({ where: { kind: 'worker' } })).map(
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
