import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, readContactCursor } from '@chasqui/shared';
import fc from 'fast-check';
import type { EntityTarget } from 'typeorm';
import { Account } from '../src/accounts/account.entity.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { insertRow, readRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { Failure } from '../src/failures/failure.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { loginOf } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { readSocket, readSse } from './support/readers.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/** A reader that follows `meta.nextCursor` gets every row once that exists all the time, whatever is added and deleted between two pages. */

interface List {
  path: string;
  /** The name of the query parameter. */
  parameter: 'cursor' | 'after';
  add: () => Promise<unknown>;
  /** The table from which rows are deleted; null where they are not. */
  table: string | null;
}

/** What happens before each page, and the size of the pages. */
const plans = fc.record({
  limit: fc.integer({ min: 1, max: 7 }),
  changes: fc.array(fc.record({ added: fc.nat({ max: 2 }), deleted: fc.nat({ max: 2 }), place: fc.nat() }), {
    minLength: 3,
    maxLength: 12,
  }),
});

describe.each(await databases())('lists on %s', (database) => {
  let core: Core;
  let sink: Sink;
  let login: Awaited<ReturnType<typeof loginOf>>;
  let hook: string;
  const lists: Record<string, List> = {};
  const get = (path: string): Promise<Reply> => core.rig.call('GET', path, /\/(audit|admin)/.test(path) ? login : {});

  beforeAll(async () => {
    sink = await startSink('ok');
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    login = await loginOf(core.rig);
    const { body } = await core.post('/webhooks', { url: sink.url, events: ['chat.updated'] });
    hook = (body.data as { id: string }).id;
    const chat = { id: '5511999990001@c.us', type: 'private' as const, name: null };
    const notify = () => core.worker.emit(core.sessionId, 'chat.updated', { chat, change: 'unread', unreadCount: 1 });
    let texts = 0;
    const receive = () =>
      core.worker.emit(core.sessionId, 'message.observed', {
        message: core.inbound(`of a list ${(texts += 1)}`),
        origin: 'live',
      });
    const at = new Date(Date.now() - 60_000);
    // Many entries of one millisecond, so that the id decides.
    const enter = () =>
      core.rig.database.write.run((tx) =>
        insertRow(tx, AuditLog, {
          id: newId(at.getTime() + 10_000 * Math.random()),
          at: new Date(at.getTime() + Math.floor(Math.random() * 3)),
          accountId,
          actorType: 'system',
          actorName: null,
          action: 'list.test',
          objectType: 'list',
          objectId: null,
          changes: {},
        }),
      );
    // Few times for many rows, and ids in no order.
    const moment = (): Date => new Date(at.getTime() + Math.floor(Math.random() * 3));
    const rowId = (): string => newId(at.getTime() + 10_000 * Math.random());
    const insert = <T extends object>(entity: EntityTarget<T>, row: Partial<T>) =>
      core.rig.database.write.run((tx) => insertRow(tx, entity, row));
    const [admin] = await readRows(core.rig.database.reader, Account, 'role = ?', ['admin']);
    const register = () => {
      const [id, username, createdAt] = [rowId(), `list-${newId()}`, moment()];
      return insert(Account, {
        ...admin!,
        id,
        username,
        email: `${username}@example.com`,
        role: 'user',
        passwordHash: 'none',
        jwtSecret: 'none',
        createdAt,
      });
    };
    const owner = newId();
    const [linked] = await readRows(core.rig.database.reader, Session, 'id = ?', [core.sessionId]);
    const open = () => {
      const [id, name, createdAt] = [rowId(), newId(), moment()];
      return insert(Session, { ...linked!, id, name, liveName: name, accountId: owner, isDefault: false, createdAt });
    };
    const fail = () => {
      const [id, lastAt] = [rowId(), moment()];
      const item = { kind: 'job', subject: id, code: 'LIST_TEST', detail: '', count: 1 } as const;
      return insert(Failure, { ...item, id, firstAt: lastAt, lastAt });
    };
    const accountId = ((await core.get('/auth/me')).body.data as { id: string }).id;
    const messages = { parameter: 'cursor', add: receive, table: 'messages' } as const;
    Object.assign(lists, {
      messages: { ...messages, path: '/messages/list?' },
      'messages, oldest first': { ...messages, path: '/messages/list?order=asc&' },
      'messages of a chat and a direction': { ...messages, path: '/messages/list?chatId=5511999990001&direction=inbound&' },
      'messages of a search': { ...messages, path: '/messages/list?search=of%20a%20LIST&' },
      events: { path: '/events?', parameter: 'after', add: receive, table: null },
      'events of a session and a type': {
        path: `/sessions/${core.sessionId}/events?types=chat.updated&`,
        parameter: 'after',
        add: notify,
        table: null,
      },
      deliveries: { path: `/webhooks/${hook}/deliveries?`, parameter: 'cursor', add: notify, table: 'webhook_deliveries' },
      audit: { path: '/audit?action=list.test&', parameter: 'cursor', add: enter, table: 'audit_logs' },
      'audit of all accounts': {
        path: '/admin/audit?action=list.test&',
        parameter: 'cursor',
        add: enter,
        table: 'audit_logs',
      },
      accounts: { path: '/admin/accounts?search=list-&', parameter: 'cursor', add: register, table: 'accounts' },
      'sessions of all accounts': {
        path: `/admin/sessions?accountId=${owner}&`,
        parameter: 'cursor',
        add: open,
        table: 'sessions',
      },
      failures: { path: '/admin/failures?code=LIST_TEST&', parameter: 'cursor', add: fail, table: 'failures' },
    } satisfies Record<string, List>);
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  const idsOf = ({ body }: Reply): string[] => {
    if (!body.success) throw new Error(JSON.stringify(body));
    return (body.data as { id: string }[]).map(({ id }) => id);
  };
  const removed = new Set<string>();
  async function remove(table: string, id: string): Promise<void> {
    removed.add(id);
    await core.rig.database.write.run((tx) => runStatement(tx.manager, `DELETE FROM ${table} WHERE id = ?`, [id]));
  }

  test.each([
    'messages',
    'messages, oldest first',
    'messages of a chat and a direction',
    'messages of a search',
    'events',
    'events of a session and a type',
    'deliveries',
    'audit',
    'audit of all accounts',
    'accounts',
    'sessions of all accounts',
    'failures',
  ])('%s: every row that stays is on one page, and none is on two', async (name) => {
    const { path, parameter, add, table } = lists[name]!;
    for (let count = 0; count < 25; count += 1) await add();
    await fc.assert(
      fc.asyncProperty(plans, async ({ limit, changes }) => {
        const before = idsOf(await get(`${path}limit=200`));
        const seen: string[] = [];
        let cursor: string | null = null;
        for (let page = 0; page < 250; page += 1) {
          const change = changes[page];
          if (change) {
            for (let count = 0; count < change.added; count += 1) await add();
            const left = before.filter((id) => !removed.has(id));
            for (let count = 0; table && count < change.deleted && left.length > 12; count += 1)
              await remove(table, left.splice(change.place % left.length, 1)[0]!);
          }
          const reply: Reply = await get(`${path}limit=${limit}${cursor === null ? '' : `&${parameter}=${cursor}`}`);
          const ids = idsOf(reply);
          seen.push(...ids);
          cursor = reply.body.meta!['nextCursor'] as string | null;
          if (cursor === null || (parameter === 'after' && ids.length === 0)) break;
        }
        expect(seen.filter((id, index) => seen.indexOf(id) !== index)).toEqual([]);
        const stayed = before.filter((id) => !removed.has(id));
        expect(stayed.filter((id) => !seen.includes(id))).toEqual([]);
      }),
      { numRuns: 4, endOnFailure: true },
    );
  });

  test('the list of contacts returns the cursor of the next page, and passes it to the worker', async () => {
    const contact = (name: string | null, id: string) => ({
      id,
      name,
      phone: null,
      lid: null,
      pushName: name,
      savedName: null,
      isBusiness: false,
      isBlocked: false,
      isSaved: false,
    });
    const path = '/sessions/current/contacts?limit=2';
    const answer = (...rows: object[]) => void core.worker.answer.set('contacts.list', rows);
    answer(contact('Ána', '1@lid'), contact(null, '2@lid'));
    const cursor = (await core.get(path)).body.meta!['nextCursor'] as string;
    expect(readContactCursor(cursor)).toEqual({ name: '', id: '2@lid' });
    answer(contact(null, '3@lid'));
    const { status, body } = await core.get(`${path}&cursor=${cursor}`);
    expect([status, body.meta]).toEqual([200, { limit: 2, nextCursor: null }]);
    expect(core.worker.lastOf('contacts.list')!.input).toMatchObject({ cursor });
    for (const wrong of [
      'x',
      '%00',
      Buffer.from('["a"]').toString('base64url'),
      Buffer.from('[1,2]').toString('base64url'),
      'A'.repeat(1_001),
    ])
      expect([wrong, (await core.get(`${path}&cursor=${wrong}`)).status]).toEqual([wrong, 422]);
  });

  test('a text that no page returned is refused by name, in every list', async () => {
    const encoded = (text: string): string => Buffer.from(text).toString('base64url');
    const id = newId();
    const wrong = [
      'x',
      '%00',
      '..%2F..%2Fetc',
      encoded('{"at":1}'),
      encoded(`1:${id}:more`),
      encoded(`-1:${id}`),
      encoded(`1e3:${id}`),
      encoded(`1234567890123456:${id}`),
      encoded(`1:${id}' OR 1=1 --`),
      encoded('1:'),
      encoded(`:${id}`),
      'A'.repeat(201),
    ];
    const { last } = (await runStatement<{ last: number | string }>(
      core.rig.database.reader,
      `SELECT last FROM event_counters WHERE scope = 'log'`,
    ))!.rows[0]!;
    const ahead = String(Number(last) + 1_000_000);
    const numbers = ['x', '-1', '1e3', '0x10', '%D9%A1', '1.5', '1 2', '1234567890123456789', ahead, '9'.repeat(18)];
    for (const [name, { path, parameter }] of Object.entries(lists))
      for (const text of parameter === 'cursor' ? wrong : numbers) {
        const { status, body } = await get(`${path}${parameter}=${text}`);
        expect([name, text, status, body.error?.code]).toEqual([name, text, 422, 'VALIDATION_FAILED']);
      }
    expect((await core.get(`/events?wait=5&after=${ahead}`)).status).toBe(422);
    const headers = { 'x-api-key': core.rig.apiKey };
    for (const after of ['x', ahead])
      await expect(readSse({ url: core.rig.url, headers, query: { after } })).rejects.toMatchObject({ status: 422 });
    const socket = await readSocket({ url: core.rig.url, headers, after: ahead });
    await eventually('the socket to refuse it', async () => socket.others.some((frame) => frame.includes('VALIDATION_FAILED')));
    socket.cut();
    for (const after of [ahead, '9'.repeat(18)])
      expect((await core.post(`/webhooks/${hook}/redeliver`, { after })).status).toBe(422);
  });

  test('a cursor of the newest event stays valid when retention deletes all events', async () => {
    const { body } = await core.get('/events?limit=1');
    const after = body.meta!['latestCursor'] as string;
    await core.rig.database.write.run((tx) => runStatement(tx.manager, 'DELETE FROM events'));
    expect((await core.get(`/events?after=${after}`)).status).toBe(200);
  });
});
