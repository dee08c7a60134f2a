import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import { newId } from '@chasqui/shared';
import { openPresence } from '../src/db/presence.js';
import { updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import { systemClock } from '../src/lib/clock.js';
import { createDispatcher } from '../src/messages/send/dispatcher.js';
import { Message } from '../src/messages/message.entity.js';
import { createPacing } from '../src/messages/send/pacing.js';
import { createSealer } from '../src/lib/sealer.js';
import { createContentStore } from '../src/messages/sealed-content.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { createMessageState } from '../src/messages/state.js';
import { Session } from '../src/sessions/session.entity.js';
import { createWorkerClient } from '../src/whatsapp/client.js';
import { createPlacement } from '../src/whatsapp/placement.js';
import { createWorkerGateway } from '../src/whatsapp/worker-gateway.js';
import { databases, serviceKey } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { noContacts } from './support/contacts.js';

describe.each(await databases())('delivery on %s', (database) => {
  let core: Core;
  const timeline = async (id: string) =>
    (
      (await core.get(`/messages/${id}/timeline`)).body.data as {
        status: string;
        reason: { code: string } | null;
      }[]
    ).map(({ status, reason }) => (reason ? `${status} ${reason.code}` : status));
  const leftOf = (id: string) => core.worker.left.filter((left) => left.messageId === id);
  const policy = (uncertainPolicy: 'hold' | 'retry') =>
    core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { uncertainPolicy }));
  const sendAsync = async (text: string, more: Record<string, unknown> = {}) =>
    dataOf(await core.send(text, { async: true, ...more }));

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterEach(() => {
    core.worker.proves = true;
  });
  afterAll(() => core?.close());

  test('the worker is away: accepted, kept, and sent once when it is back, in order', async () => {
    await core.worker.die();
    const first = await core.send('first', {}, { Prefer: 'wait=1' });
    expect([first.status, first.body.data]).toMatchObject([
      202,
      { status: 'queued', reason: { code: 'WORKER_UNAVAILABLE' }, attempts: 0 },
    ]);
    const second = await sendAsync('second');
    await core.worker.rise();
    const sent = await core.reaches(second.id, 'sent');
    expect(sent.attempts).toBe(1);
    expect(core.worker.left.slice(-2).map(({ messageId }) => messageId)).toEqual([dataOf(first).id, second.id]);
    expect(leftOf(dataOf(first).id)).toHaveLength(1);
  });

  test('a refusal before the hand-over puts it back, and it does not count as an attempt', async () => {
    core.worker.script({ do: 'refuse', code: 'SESSION_NOT_CONNECTED' });
    const answer = await core.send('not yet');
    expect([answer.status, answer.body.data]).toMatchObject([200, { status: 'sent', attempts: 1 }]);
    const { id } = dataOf(answer);
    expect(await timeline(id)).toEqual(['queued', 'sending', 'queued WAITING_FOR_SESSION', 'sending', 'sent']);
    expect(leftOf(id)).toHaveLength(1);
  });

  test('a reply that is lost after the send leaves the message uncertain; it is found by its reserved id and never doubled', async () => {
    core.worker.script({ do: 'loseAfter' });
    const answer = await core.send('lost answer');
    expect([answer.status, answer.body.data]).toMatchObject([
      202,
      { status: 'uncertain', reason: { code: 'TIMEOUT_AFTER_HANDOVER' } },
    ]);
    const { id } = await core.reaches(dataOf(answer).id, 'sent');
    expect(await timeline(id)).toEqual(['queued', 'sending', 'uncertain TIMEOUT_AFTER_HANDOVER', 'sent']);
    expect(leftOf(id)).toHaveLength(1);
    expect(core.worker.puts.filter((put) => put === id)).toHaveLength(1);
  });

  test('the line is cut before it left: sent again under the same id once its absence is proven', async () => {
    core.worker.script({ do: 'loseBefore' });
    const { id } = dataOf(await core.send('never arrived'));
    await core.reaches(id, 'sent');
    expect(await timeline(id)).toEqual([
      'queued',
      'sending',
      'uncertain TIMEOUT_AFTER_HANDOVER',
      'queued PROVEN_ABSENT',
      'sending',
      'sent',
    ]);
    const reserved = (await core.events('message.sending'))
      .filter(({ data }) => data['id'] === id)
      .map(({ data }) => data['reservedId']);
    expect(new Set(reserved).size).toBe(1);
    expect(leftOf(id)).toHaveLength(1);
  });

  test('an outcome that cannot be proven is held until a person settles it', async () => {
    core.worker.proves = false;
    const settled: string[] = [];
    for (const as of ['sent', 'failed', 'retry']) {
      core.worker.script({ do: 'uncertain' });
      const { id } = dataOf(await core.send(`held ${as}`));
      await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'HELD_BY_POLICY');
      core.worker.record.delete(id);
      const answer = await core.post(`/messages/${id}/resolve`, { as });
      expect(answer.status).toBe(200);
      const { status } = await core.reaches(id, as === 'retry' ? 'sent' : as);
      settled.push(status);
      expect((await core.post(`/messages/${id}/resolve`, { as })).body.error?.code).toBe('MESSAGE_NOT_UNCERTAIN');
      expect((await timeline(id)).slice(0, 4)).toEqual([
        'queued',
        'sending',
        'uncertain TIMEOUT_AFTER_HANDOVER',
        'uncertain HELD_BY_POLICY',
      ]);
    }
    expect(settled).toEqual(['sent', 'failed', 'sent']);
  });

  test('an outcome that cannot be proven is retried when the account’s policy says so', async () => {
    await policy('retry');
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send('try again'));
    core.worker.record.delete(id);
    await core.reaches(id, 'sent');
    expect(await timeline(id)).toContain('queued POLICY_RETRY');
    await policy('hold');
  });

  test('cancelled while an earlier attempt may have left: called cancelled only once its absence is proven', async () => {
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send('held, wanted again, not wanted'));
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'HELD_BY_POLICY');
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await core.post(`/messages/${id}/resolve`, { as: 'retry' });
    const cancelled = await core.post(`/messages/${id}/cancel`, {});
    expect([cancelled.status, cancelled.body.data]).toMatchObject([
      200,
      { status: 'uncertain', reason: { code: 'CANCELLED_IN_DOUBT', message: expect.stringContaining('may have left') } },
    ]);
    core.worker.proves = true;
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(id, 'cancelled');
    expect(leftOf(id)).toEqual([]);
  });

  test('a later ack settles an uncertain message without any lookup', async () => {
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send('late ack'));
    const sending = (await core.events('message.sending')).find(({ data }) => data['id'] === id)!;
    const key = String(sending.data['reservedId']);
    const { chat } = await core.message(id);
    await core.worker.emit(core.sessionId, 'message.ack', {
      whatsappId: `true_${chat.id}_${key}`,
      key,
      chat,
      at: new Date().toISOString(),
      ack: 2,
      participant: null,
    });
    expect((await core.message(id)).status).toBe('delivered');
  });

  test('temporary failures are tried again so often, and then it is failed', async () => {
    core.worker.script({ do: 'fail', reason: 'CONNECTION_LOST', retryable: true });
    const { id } = dataOf(await core.send('four times', {}, { Prefer: 'wait=1' }));
    for (let attempt = 2; attempt <= 4; attempt += 1) {
      core.worker.script({ do: 'fail', reason: 'CONNECTION_LOST', retryable: true });
      await core.rig.database.write.run((tx) => updateRows(tx, Message, { id }, { nextAttemptAt: new Date() }));
      await eventually(`attempt ${attempt}`, async () => {
        const message = await core.message(id);
        return message.attempts === attempt && message.status !== 'sending';
      });
    }
    expect(await core.message(id)).toMatchObject({ status: 'failed', reason: { code: 'RETRIES_EXHAUSTED' } });
    expect(leftOf(id)).toEqual([]);
  });

  /**
   * What a backend that was killed while sending leaves behind. Another backend takes it over as soon as it sees it, so `prepare` arranges before
   * that what the worker answers.
   */
  async function leaveBehind(
    text: string,
    { epoch, prepare }: { epoch?: number; prepare?: (message: Message) => void } = {},
  ): Promise<string> {
    const { database } = core.rig;
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const { id } = await sendAsync(text, { queueIfOffline: true });
    prepare?.(await database.reader.getRepository(Message).findOneByOrFail({ id }));
    await database.write.run(async (tx) => {
      const { leaseEpoch } = await tx.manager.findOneByOrFail(Session, { id: core.sessionId });
      const leaseExpiresAt = new Date(Date.now() + 60_000);
      const claim = { leaseOwner: 'a-dead-backend', leaseExpiresAt, epoch: epoch ?? leaseEpoch };
      await updateRows(tx, Message, { id }, { status: 'sending', attempts: 1, ...claim });
      // With the claim: a takeover for a session that is not connected has another outcome.
      await updateRows(tx, Session, { id: core.sessionId }, { status: 'connected', reasonCode: null, reasonText: null });
    });
    await core.worker.move(core.sessionId, 'connected', null);
    return id;
  }

  test('killed after the claim, before the call: another backend makes the same call, and the next message of the chat waits', async () => {
    const id = await leaveBehind('killed before');
    const behind = await sendAsync('waits behind it');
    await core.reaches(id, 'sent');
    await core.reaches(behind.id, 'sent');
    expect(leftOf(id)).toHaveLength(1);
    const order = core.worker.left.map(({ messageId }) => messageId).filter((one) => one === id || one === behind.id);
    expect(order).toEqual([id, behind.id]);
  });

  test('killed after it left: the worker’s record answers the same call', async () => {
    let whatsappId = '';
    const id = await leaveBehind('killed after', {
      prepare(message) {
        whatsappId = `true_${message.chatId}_${message.whatsappKey}`;
        core.worker.record.set(message.id, { outcome: 'sent', whatsappId, ack: 1, at: new Date().toISOString() });
      },
    });
    expect((await core.reaches(id, 'sent')).whatsappId).toBe(whatsappId);
    expect(leftOf(id)).toEqual([]);
  });

  test('a kill while another worker has the message leaves it uncertain; it is looked up and only then sent again', async () => {
    const id = await leaveBehind('another worker', { epoch: 0 });
    await core.reaches(id, 'sent');
    expect(await timeline(id)).toEqual([
      'queued WAITING_FOR_SESSION',
      'uncertain CRASHED_DURING_SEND',
      'queued PROVEN_ABSENT',
      'sending',
      'sent',
    ]);
    expect(leftOf(id)).toHaveLength(1);
  });

  test('killed, and now the worker refuses: that proves nothing about the first call', async () => {
    const id = await leaveBehind('refused later', {
      prepare: () => core.worker.script({ do: 'refuse', code: 'SHUTTING_DOWN' }),
    });
    await core.reaches(id, 'sent');
    expect((await timeline(id)).slice(0, 3)).toEqual([
      'queued WAITING_FOR_SESSION',
      'uncertain CRASHED_DURING_SEND',
      'queued PROVEN_ABSENT',
    ]);
  });

  test('the pace delays a burst, sends a single message at once, and never delays one chat because of another', async () => {
    const pace = (pacing: Record<string, unknown>) =>
      core.rig.call('PUT', '/sessions/current', { body: { settings: { pacing } } });
    await pace({ perMinute: 3, chatGapMs: 2_500, jitterMs: 0 });
    const [a, b] = ['5511999990011', '5511999990012'];
    expect((await core.send('a1', { recipient: a })).status).toBe(200);
    const second = await sendAsync('a2', { recipient: a });
    expect((await core.send('b1', { recipient: b })).status).toBe(200);
    expect(await core.message(second.id)).toMatchObject({ status: 'queued', reason: { code: 'PACING' } });
    await core.reaches(second.id, 'sent');
    const fourth = await core.send('b2', { recipient: b }, { Prefer: 'wait=1' });
    expect([fourth.status, fourth.body.data]).toMatchObject([202, { status: 'queued', reason: { code: 'PACING' } }]);
    await core.post(`/messages/${dataOf(fourth).id}/cancel`, {});
    await pace({ perMinute: 0 });
  });

  // On SQLite a second backend refuses to start.
  const onPostgres = database === 'postgres' ? test : () => undefined;
  onPostgres('two backends on one database: one message of a session in flight, each sent once, in order', async () => {
    const { database: db } = core.rig;
    const clock = systemClock;
    const { url } = db.reader.options as { url: string };
    const presence = await openPresence({ location: { url }, database: db, owner: newId(), log: core.rig.log });
    const client = createWorkerClient({ serviceKey });
    const placement = createPlacement({ database: db, clock }, { client, urls: [core.worker.url], aliveMs: 600_000 });
    const events = createEvents({ clock });
    const second = createDispatcher(
      { database: db, events, clock, log: core.rig.log, report: () => undefined },
      {
        state: createMessageState(
          { events, clock },
          {
            contacts: noContacts,
            quotas: createQuotas({ database: db, events, clock }, { defaultDaily: 0 }),
            wipeFile: async () => undefined,
          },
        ),
        pacing: createPacing(Math.random),
        transport: createWorkerGateway({
          client,
          placement,
          media: { find: async () => null } as never,
          contents: createContentStore(createSealer(`k1:${Buffer.alloc(32).toString('base64')}`)),
          storageOf: async () => 'full',
          optOuts: { normalizedKeywords: async () => [] },
          proxies: { open: async () => null },
          database: db,
          sendDeadlineMs: 2_000,
          leaseMs: 60_000,
        }),
        presence,
        options: { pollMs: 20, leaseMs: 60_000, graceMs: 300, maxRetries: 3, retryIntervalMs: 1_000, scheduleGraceMs: 3_600_000 },
      },
    );
    second.start();
    core.worker.atOnce.most = 0;
    const before = core.worker.left.length;
    core.worker.script(...Array.from({ length: 12 }, () => ({ do: 'send' as const, afterMs: 15 })));
    const accepted = [];
    for (let i = 0; i < 12; i += 1) {
      accepted.push((await sendAsync(`both ${i}`)).id);
      second.wake(core.sessionId);
    }
    await eventually('all of them to be sent', async () => {
      second.wake(core.sessionId);
      return core.worker.left.length >= before + 12;
    });
    await second.stop();
    await presence.close();
    client.close();
    expect(core.worker.left.slice(before).map(({ messageId }) => messageId)).toEqual(accepted);
    expect(core.worker.atOnce.most).toBe(1);
    await core.reaches(accepted.at(-1)!, 'sent');
  });

  test('a message that waits for a session that is deleted ends as failed, with the reason', async () => {
    const made = await core.post('/sessions', { name: 'short-lived' });
    const { id: sessionId } = made.body.data as { id: string };
    const { id } = await sendAsync('for nobody', { sessionId, queueIfOffline: true });
    expect((await core.rig.call('DELETE', `/sessions/${sessionId}`)).status).toBe(200);
    const row = () => core.rig.database.reader.getRepository(Message).findOneByOrFail({ id });
    await eventually('the end of it', async () => (await row()).status === 'failed');
    expect((await row()).reasonCode).toBe('SESSION_DELETED');
  }, 15_000);
});
