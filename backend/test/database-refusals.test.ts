import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel, type PanelParts } from '../src/admin/panel.js';
import { changeRoutes, readRoutes } from '../src/admin/routes.js';
import { tables } from '../src/admin/tables.js';
import { DatabaseConnectionLost, markConnectionError } from '../src/db/database-errors.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { hasPostgres, password, serviceKey } from './support/backend.js';
import { answer } from '../src/messages/accept/send-request.js';
import { Message } from '../src/messages/message.entity.js';
import type { Messages } from '../src/messages/messages.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** While every statement fails, every way into the backend is asked: the whole route table, the whole panel, and WebSockets. */
const describeOnPostgres = (await hasPostgres()) ? describe : describe.skip;

const withCode = (code: string): Error => Object.assign(new Error('of the driver'), { code });
const troubles: Record<string, () => Error> = {
  'a connection that broke': () => markConnectionError(withCode('ECONNRESET')),
  'a limit of ours': () => new DatabaseConnectionLost('PostgreSQL did not answer.'),
  'a lock that was not given': () => withCode('55P03'),
  'a server that is read-only': () => withCode('25006'),
  'no connections left': () => withCode('53300'),
  'rights that were taken away': () => withCode('42501'),
  'a full disk': () => withCode('53100'),
};

describeOnPostgres('while the database is in trouble', () => {
  let core: Core;
  let panel: PanelParts;
  let admin: Visitor;
  let token: string;
  let heal = (): void => undefined;

  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({
      database: 'postgres',
      mountPanel: (app, parts) => mountPanel(app, (panel = parts)),
    });
    admin = createVisitor(core.rig.url);
    expect((await admin.send('/admin/login', { login: 'admin', password })).status).toBe(303);
    const signedIn = await core.rig.call('POST', '/auth/login', {
      key: null,
      body: { email: 'admin@localhost.localdomain', password },
    });
    token = (signedIn.body.data as { token: string }).token;
  }, 60_000);
  afterAll(async () => {
    heal();
    await core?.close();
  });

  /** Every statement, of the reader and of transactions, begins with a query runner. */
  function breakDatabase(trouble: () => Error): void {
    const { reader } = core.rig.database;
    const { createQueryRunner } = reader;
    reader.createQueryRunner = () => {
      throw trouble();
    };
    heal = () => void (reader.createQueryRunner = createQueryRunner);
  }

  type Asked = [what: string, status: number, retryAfter: string | null];
  /** The answers that are neither 503 with Retry-After nor a refusal of the request itself. */
  const untrue = (answers: Asked[]): Asked[] =>
    answers.filter(([, status, retryAfter]) => (status === 503 ? retryAfter === null : status >= 500));
  const refusedIn = (answers: Asked[]): number => answers.filter(([, status]) => status === 503).length;

  test.each(Object.keys(troubles))(
    '%s: the API, the panel and the worker are refused with 503 and Retry-After',
    async (name) => {
      breakDatabase(troubles[name]!);
      try {
        const ids = (path: string): string => path.replace(/:\w+/g, () => randomUUID());
        const api = await Promise.all(
          core.rig.routes.map(async ({ method, path }): Promise<Asked> => {
            const ask = { headers: { authorization: `Bearer ${token}` }, key: null };
            const body = method === 'get' ? {} : { body: {} };
            const reply = await core.rig.call(method.toUpperCase(), ids(path), { ...ask, ...body });
            return [`${method} ${path}`, reply.status, reply.headers.get('retry-after')];
          }),
        );
        expect(untrue(api)).toEqual([]);
        expect(refusedIn(api)).toBeGreaterThan(core.rig.routes.length / 2);

        const reads = readRoutes({
          reader: panel.database.reader,
          overview: {} as never,
          clock: panel.clock,
          bulk: panel.bulk,
          statistics: {} as never,
          search: {} as never,
          webhooks: panel.verbs.webhooks,
        });
        const routes = [...reads, ...changeRoutes(panel.verbs)].map(
          ({ method, path }) => [method, `/admin${ids(path)}`] as const,
        );
        const pages = ['/admin', '/admin/api/dashboard', '/admin/pages/events', `/admin/live/sessions/${randomUUID()}/stream`];
        for (const { id } of tables) pages.push(`/admin/resources/${id}`, `/admin/api/resources/${id}/actions/list`);
        const asked = [...routes, ...pages.map((path) => ['get', path] as const)];
        const seen = await Promise.all(
          asked.map(async ([method, path]): Promise<Asked> => {
            const reply = method === 'get' ? await admin.get(path) : await admin.post(path, {});
            return [`${method} ${path}`, reply.status, reply.headers.get('retry-after')];
          }),
        );
        // Who asks cannot be found out, so that none of them gets further.
        expect(seen.filter(([, status, retryAfter]) => status !== 503 || retryAfter === null)).toEqual([]);
        const form = await createVisitor(core.rig.url).send('/admin/login', { login: 'admin', password });
        expect([form.status, form.headers.get('retry-after')]).toEqual([503, expect.any(String)]);

        const message = core.worker.queue(core.sessionId, 'message.observed', { message: core.inbound('x'), origin: 'live' });
        const worker = await core.rig.call('POST', '//internal/events', {
          key: null,
          headers: { 'x-api-key': serviceKey },
          body: { workerId: core.worker.workerId, bootId: 'boot-1', events: [message] },
        });
        expect([worker.status, worker.headers.get('retry-after')]).toEqual([503, expect.any(String)]);

        expect(await closeOfSocket()).toMatchObject({
          code: 1013,
          reason: expect.stringMatching(/DATABASE_UNAVAILABLE|STORAGE_FULL/),
        });
      } finally {
        heal();
      }
      expect([200, 202]).toContain((await core.send(`after ${name}`)).status);
    },
    60_000,
  );

  const closeOfSocket = (): Promise<{ code: number; reason: string }> =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${core.rig.url.replace('http', 'ws')}/api/v1/ws`, {
        headers: { authorization: `Bearer ${token}` },
      });
      socket.on('open', () => socket.send(JSON.stringify({ type: 'subscribe' })));
      socket.on('error', () => undefined);
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });

  test('a message that is accepted is answered as accepted, also when its outcome and its reply cannot be looked up', async () => {
    const { reader } = core.rig.database;
    const key = randomUUID();
    core.worker.script({ do: 'send', afterMs: 2_500 });
    const sending = core.send('accepted during trouble', {}, { 'idempotency-key': key });
    await eventually('the message to be on disk', async () => {
      const found = await reader.query<unknown[]>(`SELECT 1 FROM messages WHERE text = 'accepted during trouble'`);
      return found.length > 0;
    });
    breakDatabase(troubles['a connection that broke']!);
    const reply = await sending;
    heal();
    expect([200, 202]).toContain(reply.status);
    const { id } = dataOf(reply);
    const again = await core.send('accepted during trouble', {}, { 'idempotency-key': key });
    expect(dataOf(again).id).toBe(id);
    await core.reaches(id, 'sent');
    expect(core.worker.left.filter(({ messageId }) => messageId === id)).toHaveLength(1);
  }, 60_000);

  test.each(Object.keys(troubles))(
    '%s: the reply to an accepted message needs nothing that only the database knows',
    async (name) => {
      const accepted = dataOf(await core.send(`answered during ${name}`));
      const message = await core.rig.database.reader.getRepository(Message).findOneByOrFail({ id: accepted.id });
      const messages = { present: () => Promise.reject(troubles[name]!()) } as unknown as Messages;
      const reply = await answer({ messages }, message);
      expect(reply).toMatchObject({ data: { id: accepted.id, text: `answered during ${name}` } });
    },
  );

  test('statements that fail now and then are no fault of the message that they were for: its chat is not set aside', async () => {
    const { write } = core.rig.database;
    const { run } = write;
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const ids: string[] = [];
    for (let number = 0; number < 12; number += 1)
      ids.push(dataOf(await core.send(`during a storm ${number}`, { async: true, queueIfOffline: true })).id);
    write.run = async <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => {
      if (Math.random() < 0.5) throw troubles['a connection that broke']!();
      return run(work);
    };
    heal = () => void (write.run = run);
    await eventually(
      'the session to be connected again',
      () =>
        core.worker.move(core.sessionId, 'connected', null).then(
          () => true,
          () => false,
        ),
      30_000,
    );
    await eventually(
      'some messages to be sent',
      async () => core.worker.left.filter(({ messageId }) => ids.includes(messageId)).length > 6,
      30_000,
    );
    heal();
    for (const id of ids) await core.reaches(id, 'sent');
    expect(core.worker.left.map(({ messageId }) => messageId).filter((id) => ids.includes(id))).toHaveLength(ids.length);
    expect(core.rig.lines.filter((line) => line.includes('could not be claimed'))).toEqual([]);
  }, 90_000);
});
