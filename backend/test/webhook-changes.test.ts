import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Webhook as Verifier } from 'standardwebhooks';
import { updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { databases, hasPostgres, type Reply } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** Changes of one endpoint that come at the same time, and changes that another backend makes. */

interface Hook {
  id: string;
  secret: string;
  active: boolean;
}

const hookOf = ({ body }: Reply): Hook => body.data as Hook;

describe.each(await databases())('changes of endpoints on %s', (database) => {
  let core: Core;
  let sink: Sink;
  beforeAll(async () => {
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
  });
  beforeEach(async () => {
    await sink?.close();
    sink = await startSink();
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  const make = async (more: Record<string, unknown> = {}): Promise<Hook> =>
    hookOf(await core.post('/webhooks', { url: sink.url, events: ['message.queued'], ...more }));

  test('of two rotations at once each reply has a secret that signs', async () => {
    const { id } = await make();
    const rotate = () => core.post(`/webhooks/${id}/rotate-secret`, { overlapHours: 1 });
    const secrets = (await Promise.all([rotate(), rotate()])).map((reply) => hookOf(reply).secret);
    await core.send('after two rotations');
    await eventually('the delivery', async () => sink.taken.length > 0);
    const { body, headers } = sink.taken[0]!;
    for (const secret of secrets) expect(new Verifier(secret).verify(body, headers as Record<string, string>)).toBeTruthy();
  });

  test('of two calls at once that create the endpoint of a session, one is refused with the id of the endpoint', async () => {
    const body = { url: sink.url, events: ['message.queued'] };
    const replies = await Promise.all([1, 2].map(() => core.post('/sessions/current/webhook', body)));
    const [made] = replies.filter(({ status }) => status === 201).map(hookOf);
    expect(replies.map(({ status }) => status).sort()).toEqual([201, 409]);
    expect(replies.find(({ status }) => status === 409)!.body.error).toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { webhookId: made!.id },
    });
  });

  test('calls at once that queue one range of events queue each event once', async () => {
    const { id } = await make({ active: false });
    for (let count = 0; count < 3; count += 1) await core.send(`while it is off ${count}`);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const blocking = core.rig.database.write.run(async (tx) => {
      if (database === 'postgres') await runStatement(tx.manager, 'LOCK TABLE webhook_deliveries IN SHARE MODE');
      await held;
    });
    const calls = [1, 2, 3].map(() => core.post(`/webhooks/${id}/redeliver`, { after: '0', onlyMissing: true }));
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND (query LIKE 'INSERT%webhook_deliveries%' OR query LIKE '%FROM webhooks%FOR UPDATE')`;
    if (database === 'postgres')
      await eventually('two calls to wait', async () => (await core.rig.database.reader.query<unknown[]>(waiting)).length > 1);
    release();
    await blocking;
    const replies = await Promise.all(calls);
    expect(replies.map(({ status, cause }) => [status, cause])).toEqual(replies.map(() => [202, undefined]));
    const queued = replies.map(({ body }) => (body.data as { queued: number }).queued).sort((one, other) => one - other);
    expect([queued.slice(0, 2), queued[2]! >= 3]).toEqual([[0, 0], true]);
  });

  test('an endpoint that two calls enable at once is enabled once, with one event', async () => {
    const { id } = await make({ active: false });
    const replies = await Promise.all([1, 2].map(() => core.post(`/webhooks/${id}/enable`, {})));
    expect(replies.map(({ status, body }) => [status, (body.data as Hook).active])).toEqual([
      [200, true],
      [200, true],
    ]);
    const enabled = (await core.events('webhook.enabled')).filter(({ data }) => data['webhookId'] === id);
    expect(enabled).toHaveLength(1);
  });
});

((await hasPostgres()) ? describe : describe.skip)('an endpoint that another backend enables', () => {
  test('gets the next event, also if the change was begun before the last change of another endpoint', async () => {
    const sink = await startSink();
    const core = await startCore({ database: 'postgres', settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    try {
      const make = async (active: boolean): Promise<Hook> =>
        hookOf(await core.post('/webhooks', { url: sink.url, events: ['message.queued'], active }));
      const enabled = await make(false);
      const { id: later } = await make(true);
      await core.send('read with the endpoints as they are');
      await eventually('the delivery', async () => sink.taken.length === 1);
      const { updatedAt } = await core.rig.database.reader.getRepository(Webhook).findOneByOrFail({ id: later });
      // What another backend commits: its change has the time at which it was begun.
      const changes = { isActive: true, disabledReason: null, disabledAt: null, updatedAt: new Date(updatedAt.getTime() - 1) };
      await core.rig.database.write.run((tx) => updateRows(tx, Webhook, { id: enabled.id }, changes));
      await core.send('after the change');
      await eventually('both deliveries', async () => sink.taken.length === 3, 30_000);
    } finally {
      await core.close();
      await sink.close();
    }
  });
});
