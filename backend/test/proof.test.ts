import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionStatusResource } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { updateRows } from '../src/db/rows.js';
import { databases, serviceKey, startRig } from './support/backend.js';
import { dataOf, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink } from './support/sink.js';
import { startStandIn } from './support/worker.js';

/** What counts as sent, who may send, and that refusals name the true reason. */
describe.each(await databases())('proof of sending on %s', (database) => {
  let core: Core;
  const leftOf = (id: string) => core.worker.left.filter((left) => left.messageId === id);
  const policy = (uncertainPolicy: 'hold' | 'retry') =>
    core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { uncertainPolicy }));
  const reservedOf = async (id: string): Promise<string> =>
    String((await core.events('message.sending')).find(({ data }) => data['id'] === id)!.data['reservedId']);
  const attemptsOf = (id: string) => core.worker.puts.filter((put) => put === id).length;
  const timeline = async (id: string) =>
    ((await core.get(`/messages/${id}/timeline`)).body.data as { status: string }[]).map(({ status }) => status);

  beforeAll(async () => {
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
  });
  afterAll(() => core?.close());

  /** Handed to a page that keeps it with ack 0. */
  const unacknowledged = async (text: string): Promise<{ id: string; key: string }> => {
    core.worker.script({ do: 'uncertain', ack: 0 });
    const { id } = dataOf(await core.send(text, { async: true }));
    await core.reaches(id, 'uncertain');
    return { id, key: await reservedOf(id) };
  };

  test('a message that is found with ack 0 never becomes sent: it waits for a person, who can have it sent', async () => {
    const { id, key } = await unacknowledged('still in the page');
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'NOT_ACKNOWLEDGED');
    expect(leftOf(id)).toEqual([]);
    core.worker.found.delete(key);
    await core.post(`/messages/${id}/resolve`, { as: 'retry' });
    await core.reaches(id, 'sent');
    expect([leftOf(id).length, attemptsOf(id)]).toEqual([1, 2]);
    expect(await timeline(id)).not.toContain('failed');
  });

  test('an acknowledgement of the server settles it, whenever it comes', async () => {
    const { id, key } = await unacknowledged('late');
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'NOT_ACKNOWLEDGED');
    const chat = { id: '5511999990001@c.us', type: 'private', name: null } as const;
    const about = { whatsappId: `true_${chat.id}_${key}`, key, chat, at: new Date().toISOString() };
    await core.worker.emit(core.sessionId, 'message.ack', { ...about, ack: 1, participant: null });
    await core.reaches(id, 'sent');
  });

  test('with the policy `retry` each attempt reaches the page again, as often as a retry, and then it is held', async () => {
    await policy('retry');
    core.worker.script({ do: 'uncertain' }, { do: 'uncertain' }, { do: 'uncertain' });
    const { id } = await unacknowledged('again and again');
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'NOT_ACKNOWLEDGED', 30_000);
    expect(attemptsOf(id)).toBe(4);
    expect(leftOf(id)).toEqual([]);
    await policy('hold');
  }, 40_000);

  test('a retry of a failed message by a person reaches the page, whatever it failed with', async () => {
    for (const reason of [
      'RECIPIENT_NOT_ON_WHATSAPP',
      'GROUP_ADMIN_REQUIRED',
      'CHAT_NOT_FOUND',
      'REACH_OUT_LOCKED',
      'WHATSAPP_REFUSED',
    ]) {
      core.worker.script({ do: 'fail', reason, retryable: false });
      const refused = await core.send(`refused with ${reason}`);
      expect(refused.body.error).toMatchObject({ code: 'SEND_FAILED', details: { reason } });
      const { id } = refused.body.error!.details['message'] as { id: string };
      const again = await core.post(`/messages/${id}/retry`, {});
      expect([again.status, dataOf(again).status]).toEqual([200, 'sent']);
      expect(leftOf(id)).toHaveLength(1);
    }
  });

  test('recipients whose sends cannot be looked up are refused on every route, and nothing is stored', async () => {
    const before = ((await core.get('/messages/list?limit=200')).body.data as unknown[]).length;
    const bodies = {
      'send-text': { message: 'a story' },
      'send-location': { latitude: 1, longitude: 1 },
      'send-contact': { contacts: [{ name: 'Ana', phone: '+5511999990001' }] },
      'send-poll': { question: 'Which?', options: ['a', 'b'] },
      'send-media': { type: 'document', mediaBase64: Buffer.from('text').toString('base64'), filename: 'a.txt' },
      send: { type: 'text', message: 'a story' },
    };
    for (const [route, body] of Object.entries(bodies)) {
      const answer = await core.post(`/messages/${route}`, { recipient: 'status@broadcast', ...body, queueIfOffline: true });
      expect([route, answer.status, answer.body.error?.code]).toEqual([route, 422, 'RECIPIENT_NOT_SUPPORTED']);
    }
    // A broadcast list is no address at all.
    expect((await core.send('a list', { recipient: '1234567890@broadcast' })).body.error?.code).toBe('INVALID_RECIPIENT');
    expect((await core.get('/messages/list?limit=200')).body.data).toHaveLength(before);
  });

  test.each([
    ['ACCOUNT_BANNED', 'terms_block'],
    ['ACCOUNT_RESTRICTED', 'terms_block'],
    ['NETWORK_BLOCKED', 'proxy_block'],
  ])('%s is the reason of the session and an event', async (code, kind) => {
    const before = (await core.events('session.restriction')).length;
    await core.worker.move(core.sessionId, 'error', code);
    await core.worker.move(core.sessionId, 'error', code);
    const session = (await core.get('/sessions/current')).body.data as { status: string; reason: { code: string } };
    expect([session.status, session.reason.code]).toEqual(['error', code]);
    const told = (await core.events('session.restriction')).slice(before).map(({ data }) => data);
    expect(told).toMatchObject([{ kind }]);
    await core.post('/sessions/init');
    await eventually('it to be connected', async () => (await core.session()).isConnected);
  });

  test('a deactivated account sends nothing, its sessions stop, its webhooks wait, and all of it comes back', async () => {
    const setActive = (isActive: boolean) =>
      core.rig.database.write.run((tx) => updateRows(tx, Account, { role: 'admin' }, { isActive }));
    const row = async () =>
      core.rig.database.reader.query(`SELECT status, "reasonCode" FROM sessions`) as Promise<
        { status: string; reasonCode: string | null }[]
      >;
    const sink = await startSink();
    await core.post('/webhooks', { url: sink.url, events: ['session.*', 'message.*'] });
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await eventually('its webhook to be called', async () => sink.taken.length > 0);
    const { id } = dataOf(await core.send('before the end', { async: true, queueIfOffline: true }));
    await eventually('all to be delivered', async () => {
      const waiting = await core.rig.database.reader.query<object[]>(
        `SELECT id FROM webhook_deliveries WHERE status IN ('pending', 'sending')`,
      );
      return waiting.length === 0;
    });
    const told = sink.seen.length;
    await setActive(false);
    // An endpoint in use learns of it within two seconds.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await core.worker.move(core.sessionId, 'connected', null);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(leftOf(id)).toEqual([]);
    expect(sink.seen.slice(told).map(({ body }) => body)).toEqual([]);
    await core.worker.beat();
    await eventually('the session to stop', async () => (await row())[0]?.reasonCode === 'ACCOUNT_INACTIVE');
    expect((await row())[0]?.status).toBe('disconnected');
    await core.worker.beat();
    expect(core.worker.sessions.get(core.sessionId)!.status).toBe('disconnected');

    await setActive(true);
    await core.worker.beat();
    await eventually('its message', async () => leftOf(id).length === 1);
    await eventually('what its webhook waited for', async () => sink.taken.length > told);
    await sink.close();
  }, 30_000);
});

test('a session that is started right after the system waits for a worker', async () => {
  const worker = await startStandIn({ serviceKey });
  await worker.die();
  const rig = await startRig({ settings: { ...quick, WORKER_URLS: worker.url } });
  worker.report(rig.url);
  try {
    const started = rig.call('POST', '/sessions/init');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await worker.rise();
    const { status, body } = await started;
    expect([status, (body.data as SessionStatusResource).status]).toEqual([200, 'qr_pending']);
  } finally {
    await rig.close();
    await worker.close();
  }
}, 30_000);

test('a start that finds no worker within its wait says so', async () => {
  const rig = await startRig({ settings: { ...quick, WORKER_URLS: 'http://127.0.0.1:9', INIT_WAIT_MS: '700' } });
  try {
    const began = performance.now();
    const { status, body } = await rig.call('POST', '/sessions/init');
    expect([status, body.error?.code]).toEqual([503, 'WORKER_UNAVAILABLE']);
    expect(performance.now() - began).toBeGreaterThan(600);
  } finally {
    await rig.close();
  }
}, 30_000);
