import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource, SessionResource } from '@chasqui/shared';
import { AuditLog } from '../src/audit/audit.entity.js';
import { lockRows, updateRows } from '../src/db/rows.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, hasPostgres, startRig, type Reply, type Rig } from './support/backend.js';
import { dataOf, patient, quick, startCore, type Core } from './support/core.js';

/** What a person decides about a message: in every status, twice at once, and while the message is being sent. */

const failing = { do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false } as const;
const decisions = {
  retry: ['retry', {}],
  cancel: ['cancel', {}],
  'resolve as sent': ['resolve', { as: 'sent' }],
  'resolve as failed': ['resolve', { as: 'failed' }],
  'resolve as retry': ['resolve', { as: 'retry' }],
} as const;
type Decision = keyof typeof decisions;
const refusals = { retry: 'MESSAGE_NOT_RETRYABLE', cancel: 'MESSAGE_NOT_CANCELLABLE', resolve: 'MESSAGE_NOT_UNCERTAIN' };

const decide = (rig: Rig, key: string, id: string, decision: Decision, idempotencyKey?: string): Promise<Reply> => {
  const [verb, body] = decisions[decision];
  const headers = idempotencyKey ? { 'Idempotency-Key': idempotencyKey } : {};
  return rig.call('POST', `/messages/${id}/${verb}`, { key, body, headers });
};

/** Ways to a message of each status. */
function makerOf(core: Core, idle: string) {
  const sent = async (): Promise<MessageResource> => dataOf(await core.send('a decision'));
  const acknowledged = async (ack: number, status: string): Promise<string> => {
    const { id, whatsappId } = await sent();
    const { reservedId: key } = core.worker.left.find((left) => left.messageId === id)!.command;
    const chat = { id: '5511999990001@c.us', type: 'private' as const, name: null };
    const at = new Date().toISOString();
    await core.worker.emit(core.sessionId, 'message.ack', { whatsappId: whatsappId!, key, chat, at, ack, participant: null });
    await core.reaches(id, status);
    return id;
  };
  const queued = async (more: object = {}): Promise<string> =>
    dataOf(await core.send('waits', { sessionId: idle, queueIfOffline: true, async: true, ...more })).id;
  return {
    queued,
    sending: async (): Promise<string> => {
      core.worker.script({ do: 'send', afterMs: 700 });
      const { id } = dataOf(await core.send('takes long', { async: true }));
      await core.reaches(id, 'sending');
      return id;
    },
    sent: async (): Promise<string> => (await sent()).id,
    delivered: () => acknowledged(2, 'delivered'),
    read: () => acknowledged(3, 'read'),
    failed: async (): Promise<string> => {
      core.worker.script(failing);
      const { id } = (await core.send('fails')).body.error!.details['message'] as { id: string };
      core.worker.record.delete(id);
      return id;
    },
    uncertain: async (): Promise<string> => {
      core.worker.proves = false;
      core.worker.script({ do: 'uncertain' });
      const { id } = dataOf(await core.send('perhaps'));
      await core.reaches(id, 'uncertain');
      core.worker.record.delete(id);
      return id;
    },
    cancelled: async (): Promise<string> => {
      const id = await queued();
      await core.post(`/messages/${id}/cancel`, {});
      return id;
    },
    received: async (): Promise<string> => {
      const message = core.inbound('from outside');
      await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
      const { body } = await core.get(`/messages/${encodeURIComponent(message.whatsappId)}`);
      return (body.data as MessageResource).id;
    },
  };
}
type Maker = ReturnType<typeof makerOf>;

async function start(database: 'sqlite' | 'postgres', settings: Record<string, string> = {}) {
  // A busy machine takes longer for a send than the two seconds after which other tests are answered "queued".
  const core = await startCore({ database, settings: { ...patient, ...settings } });
  const { id } = (await core.post('/sessions', { name: 'idle' })).body.data as SessionResource;
  return { core, idle: id, make: makerOf(core, id) };
}

/** Holds a session's lock while `calls` begin one after the other, so that each of them has read what it reads before the lock. */
async function behind(
  core: Core,
  sessionId: string,
  calls: readonly (() => Promise<Reply>)[],
  last: (tx: Transaction) => Promise<unknown> = async () => undefined,
  holdMs = 150 * calls.length,
): Promise<Reply[]> {
  const replies: Promise<Reply>[] = [];
  await core.rig.database.write.run(async (tx) => {
    await lockRows(tx, Session, [sessionId]);
    for (const call of calls) {
      replies.push(call());
      await sleep(holdMs / calls.length);
    }
    if (calls.length === 0) await sleep(holdMs);
    await last(tx);
  });
  return Promise.all(replies);
}

describe.each(await databases())('decisions on %s', (database) => {
  let core: Core;
  let idle: string;
  let make: Maker;
  beforeAll(async () => {
    ({ core, idle, make } = await start(database));
  });
  afterAll(() => core?.close());

  const allowed: { [S in keyof Maker]: Partial<Record<Decision, string>> } = {
    queued: { cancel: 'cancelled' },
    sending: {},
    sent: {},
    delivered: {},
    read: {},
    failed: { retry: 'sent' },
    uncertain: { 'resolve as sent': 'sent', 'resolve as failed': 'failed', 'resolve as retry': 'queued' },
    cancelled: {},
    received: {},
  };

  test.each(Object.keys(allowed) as (keyof Maker)[])(
    'of a message that is %s: each decision is made, or refused with the status and without any effect',
    async (status) => {
      for (const decision of Object.keys(decisions) as Decision[]) {
        const id = await make[status]();
        const before = await core.message(id);
        const leftBefore = core.worker.left.filter(({ messageId }) => messageId === id).length;
        const { status: code, body } = await decide(core.rig, core.rig.apiKey, id, decision);
        const becomes = allowed[status][decision];
        if (becomes) {
          expect([decision, code, (body.data as MessageResource).status]).toEqual([decision, 200, becomes]);
          if (becomes === 'queued') await core.reaches(id, 'sent');
          continue;
        }
        const refusal = refusals[decisions[decision][0]];
        expect([decision, code, body.error?.code, body.error?.details['status']]).toEqual([
          decision,
          409,
          refusal,
          before.status,
        ]);
        const left = () => core.worker.left.filter(({ messageId }) => messageId === id).length;
        if (status === 'sending') {
          await core.reaches(id, 'sent');
          expect(left()).toBe(1);
        } else expect([(await core.message(id)).status, left()]).toEqual([before.status, leftBefore]);
      }
    },
  );

  test('an uncertain message whose time is over waits again as long as at first when it is resolved as retry', async () => {
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send('perhaps', { expiresAt: new Date(Date.now() + 1_500).toISOString() }));
    await core.reaches(id, 'uncertain');
    core.worker.record.delete(id);
    await sleep(1_600);
    const { body } = await decide(core.rig, core.rig.apiKey, id, 'resolve as retry');
    expect(Date.parse((body.data as MessageResource).expiresAt!)).toBeGreaterThan(Date.now());
    await core.reaches(id, 'sent');
    expect(core.worker.left.filter(({ messageId }) => messageId === id)).toHaveLength(1);
  });

  test('a message that became doubtful after its expiry was noticed does not fail, because it may have been sent', async () => {
    const id = await make.queued({ expiresAt: new Date(Date.now() + 800).toISOString() });
    await behind(
      core,
      idle,
      [],
      (tx) => updateRows(tx, Message, { id }, { hasUncertainAttempt: true }),
      // Longer than the time that is left and the interval at which expired messages are looked for.
      2_500,
    );
    expect((await core.reaches(id, 'failed', 'uncertain')).status).toBe('uncertain');
  });
});

((await hasPostgres()) ? describe : describe.skip)('decisions on two backends of one PostgreSQL', () => {
  let core: Core;
  let make: Maker;
  let other: Rig;
  beforeAll(async () => {
    const settings = {
      JWT_SECRET: 'one secret for both backends, long enough',
      ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
    };
    ({ core, make } = await start('postgres', settings));
    const second = {
      ...quick,
      SEND_DEADLINE_MS: '20000',
      ...settings,
      WORKER_URLS: core.worker.url,
      DATABASE_URL: core.rig.databaseUrl!,
    };
    other = await startRig({ settings: second });
  }, 60_000);
  afterAll(async () => {
    await other?.close();
    await core?.close();
  });

  const at = (rig: Rig, id: string, decision: Decision, key?: string) => () => decide(rig, core.rig.apiKey, id, decision, key);
  const outcomesOf = (replies: readonly Reply[]): string[] =>
    replies.map(({ status, body }) => (status === 200 ? 'made' : `${status} ${body.error?.code}`)).sort();
  const leftOf = (id: string) => core.worker.left.filter(({ messageId }) => messageId === id);
  const entriesOf = (id: string) => core.rig.database.reader.getRepository(AuditLog).findBy({ objectId: id });

  test.each([
    ['failed', 'retry', 'retry', 'MESSAGE_NOT_RETRYABLE', ['sent']],
    ['uncertain', 'resolve as retry', 'resolve as retry', 'MESSAGE_NOT_UNCERTAIN', ['sent']],
    ['uncertain', 'resolve as sent', 'resolve as failed', 'MESSAGE_NOT_UNCERTAIN', ['sent']],
    ['uncertain', 'resolve as failed', 'resolve as sent', 'MESSAGE_NOT_UNCERTAIN', ['failed']],
    ['uncertain', 'resolve as failed', 'resolve as retry', 'MESSAGE_NOT_UNCERTAIN', ['failed']],
  ] as const)('%s: of "%s" and "%s" at once the first is made, once', async (status, first, second, refusal, ends) => {
    for (const isSwapped of [false, true]) {
      const id = await make[status]();
      const [one, two] = isSwapped ? [other, core.rig] : [core.rig, other];
      const replies = await behind(core, core.sessionId, [at(one, id, first), at(two, id, second)]);
      expect(outcomesOf(replies)).toEqual([`409 ${refusal}`, 'made']);
      expect(replies[0]!.status).toBe(200);
      expect(ends).toContain((await core.reaches(id, 'sent', 'failed')).status);
      expect(leftOf(id)).toHaveLength(first.includes('retry') ? 1 : 0);
      expect(await entriesOf(id)).toHaveLength(1);
    }
  });

  test('a message that is resolved as retry and cancelled at once is not called cancelled, because it may have been sent', async () => {
    const id = await make.uncertain();
    await core.worker.move(core.sessionId, 'disconnected', 'USER_STOPPED');
    try {
      const replies = await behind(core, core.sessionId, [at(core.rig, id, 'resolve as retry'), at(other, id, 'cancel')]);
      expect(outcomesOf(replies)).toEqual(['made', 'made']);
      expect((await core.message(id)).status).toBe('uncertain');
    } finally {
      await core.worker.move(core.sessionId, 'connected', null);
    }
  });

  test('a message that another backend has sent and queued again since it was read waits for its time', async () => {
    let id = '';
    await behind(
      core,
      core.sessionId,
      [
        async () => {
          const reply = await core.send('read before it was changed', { async: true });
          ({ id } = dataOf(reply));
          return reply;
        },
      ],
      // As after an attempt that failed for now.
      (tx) => updateRows(tx, Message, { id }, { attempts: 1, nextAttemptAt: new Date(Date.now() + 3_600_000) }),
      1_000,
    );
    await sleep(1_200);
    expect([await core.message(id), leftOf(id)]).toMatchObject([{ status: 'queued', attempts: 1 }, []]);
    await core.post(`/messages/${id}/cancel`, {});
  });

  test('with one Idempotency-Key two calls at once make one decision, and a repeat returns its reply', async () => {
    for (const [status, decision] of [
      ['failed', 'retry'],
      ['uncertain', 'resolve as retry'],
      ['uncertain', 'resolve as sent'],
      ['uncertain', 'resolve as failed'],
    ] as const) {
      const id = await make[status]();
      const key = `decide ${status} ${decision}`;
      const replies = await behind(core, core.sessionId, [at(core.rig, id, decision, key), at(other, id, decision, key)]);
      for (const one of outcomesOf(replies)) expect(['made', '409 IDEMPOTENCY_IN_PROGRESS']).toContain(one);
      const made = replies.find((reply) => reply.status === 200)!;
      for (const rig of [core.rig, other]) {
        const again = await decide(rig, core.rig.apiKey, id, decision, key);
        expect([again.status, again.headers.get('idempotency-replayed'), again.body]).toEqual([200, 'true', made.body]);
      }
      await core.reaches(id, 'sent', 'failed');
      expect([key, (await entriesOf(id)).length, leftOf(id).length]).toEqual([key, 1, decision.includes('retry') ? 1 : 0]);
    }
  });

  test('a decision while the message is being sent again is refused on both, and it is sent once more', async () => {
    const id = await make.failed();
    core.worker.script({ do: 'send', afterMs: 900 });
    const retry = decide(core.rig, core.rig.apiKey, id, 'retry');
    await core.reaches(id, 'sending');
    const calls = (Object.keys(decisions) as Decision[]).flatMap((decision) =>
      [core.rig, other].map((rig) => decide(rig, core.rig.apiKey, id, decision)),
    );
    for (const { status } of await Promise.all(calls)) expect(status).toBe(409);
    expect((await retry).status).toBe(200);
    await core.reaches(id, 'sent');
    expect(leftOf(id)).toHaveLength(1);
  });
});
