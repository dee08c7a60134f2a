import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SessionResource } from '@chasqui/shared';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { deleteRows, lockRows, updateRows } from '../src/db/rows.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { databases, type Reply } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';

/**
 * A request looks an object up, another one deletes it, and only then the first one writes. The reply is a 404, never a 500, and the deleted
 * object stays as it is. A transaction of the test keeps the writers waiting until both requests have done their reading.
 */
describe.each(await databases())('on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, settings: { MAX_SESSIONS: '50' } });
  });
  afterAll(() => core?.close());

  /** Runs the calls one after the other up to their writes, while `first` has its transaction open; then all of them to their ends. */
  async function behind(first: (tx: Transaction) => Promise<unknown>, ...calls: (() => Promise<Reply>)[]): Promise<Reply[]> {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const blocking = core.rig.database.write.run(async (tx) => {
      await first(tx);
      await held;
    });
    await sleep(50);
    const replies: Promise<Reply>[] = [];
    for (const call of calls) {
      replies.push(call());
      await sleep(150);
      if (database === 'postgres') await untilWaiting(replies.length);
    }
    release();
    await blocking;
    return Promise.all(replies);
  }
  /** Waits until so many statements wait for locks, so that the calls write in their order on a busy machine too. */
  async function untilWaiting(count: number): Promise<void> {
    const waiting =
      'SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = $1';
    // A call that waits for its turn within the process is not among them.
    for (let tries = 0; tries < 100; tries += 1) {
      const [row] = await core.rig.database.reader.query<{ count: number }[]>(waiting, ['Lock']);
      if (row!.count >= count) return;
      await sleep(20);
    }
  }
  const call = (method: string, path: string, body?: object) => (): Promise<Reply> =>
    core.rig.call(method, path, body === undefined ? {} : { body });
  const outcome = ({ status, body }: Reply) => [status, body.error?.code ?? null];
  let made = 0;
  const makeSession = async (): Promise<SessionResource> =>
    (await core.post('/sessions', { name: `s-${(made += 1)}` })).body.data as SessionResource;

  test.each([
    ['PUT', '', {}],
    ['PUT', '', { name: 'taken-again' }],
    ['PUT', '', { isDefault: true }],
    ['POST', '/disconnect', {}],
    ['POST', '/connect', {}],
    ['DELETE', '', undefined],
  ])(
    'a session that is deleted before %s %s %j writes: 404, and the row stays as the deletion left it',
    async (method, path, body) => {
      const { id } = await makeSession();
      const change = call(method, `/sessions/${id}${path}`, body);
      const [deleted, changed] = await behind((tx) => lockRows(tx, Session, [id]), call('DELETE', `/sessions/${id}`), change);
      expect(deleted?.status).toBe(200);
      expect(outcome(changed!)).toEqual([404, 'SESSION_NOT_FOUND']);
      const row = await core.rig.database.reader.getRepository(Session).findOneByOrFail({ id });
      expect(row).toMatchObject({ liveName: id, isDefault: false, desired: 'stopped', status: 'disconnected' });
    },
  );

  test.each([
    ['PUT', '', {}],
    ['PUT', '', { active: true }],
    ['POST', '/enable', {}],
    ['POST', '/rotate-secret', {}],
    ['DELETE', '', undefined],
  ])('a webhook that is deleted before %s %s %j writes: 404, and it stays switched off', async (method, path, body) => {
    const hook = await core.post('/webhooks', { url: 'https://hook.invalid/', events: ['message.*'], active: false });
    const { id } = hook.body.data as { id: string };
    const change = call(method, `/webhooks/${id}${path}`, body);
    const [deleted, changed] = await behind((tx) => lockRows(tx, Webhook, [id]), call('DELETE', `/webhooks/${id}`), change);
    expect(deleted?.status).toBe(200);
    expect(outcome(changed!)).toEqual([404, 'WEBHOOK_NOT_FOUND']);
    expect(await core.rig.database.reader.getRepository(Webhook).findOneByOrFail({ id })).toMatchObject({ isActive: false });
  });

  test.each([
    ['cancel', {}],
    ['resolve', { as: 'failed' }],
    ['retry', {}],
  ])('a message that is deleted before it is changed with %s: a refusal, not a bug', async (verb, body) => {
    const { id } = dataOf(await core.send('to be deleted'));
    await core.reaches(id, 'sent');
    const [reply] = await behind((tx) => deleteRows(tx, Message, { id }), call('POST', `/messages/${id}/${verb}`, body));
    expect([404, 409]).toContain(reply!.status);
  });

  test('when two sessions become the default at once, exactly one is it', async () => {
    const [present, one, other] = [await makeSession(), await makeSession(), await makeSession()];
    await core.rig.call('PUT', `/sessions/${present.id}`, { body: { isDefault: true } });
    const replies = await behind(
      (tx) => lockRows(tx, Session, [present.id]),
      ...[one, other].map(({ id }) => call('PUT', `/sessions/${id}`, { isDefault: true })),
    );
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
    const list = (await core.get('/sessions')).body.data as SessionResource[];
    expect(list.filter(({ isDefault }) => isDefault).map(({ id }) => id)).toEqual([other.id]);
  });

  test('an update without any field changes nothing and is no error: session, webhook, key', async () => {
    const { id } = await makeSession();
    const hook = await core.post('/webhooks', { url: 'https://hook.invalid/', events: ['message.*'] });
    const key = (await core.post('/keys', { name: 'plain', permissions: ['messages.send'] })).body.data as { id: string };
    const paths = [`/sessions/${id}`, `/webhooks/${(hook.body.data as { id: string }).id}`, `/keys/${key.id}`];
    const replies = await Promise.all(paths.map((path) => core.rig.call('PUT', path, { body: {} })));
    expect(replies.map(outcome)).toEqual(paths.map(() => [200, null]));
  });

  test('updateRows without a value to set writes nothing and counts the rows that match', async () => {
    const { id } = (await core.post('/keys', { name: 'counted', permissions: [] })).body.data as { id: string };
    const counted = (where: { id: string }, changes: Partial<ApiKey>): Promise<number> =>
      core.rig.database.write.run((tx) => updateRows(tx, ApiKey, where, changes));
    expect(await counted({ id }, {})).toBe(1);
    expect(await counted({ id: 'another' }, {})).toBe(0);
  });
});
