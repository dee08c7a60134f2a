import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, operationIds, requestExamplesOf, type AnyRoute } from '@chasqui/shared';
import type { Express } from 'express';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { Backup } from '../src/backups/backup.entity.js';
import { Restored } from '../src/backups/restored.entity.js';
import { column } from '../src/db/columns.js';
import { entities } from '../src/db/entities.js';
import { insertRow } from '../src/db/rows.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { thumbnail } from './support/thumbnail.js';
import { inOrder, startRouteWorld, type RouteWorld } from './support/route-world.js';

/**
 * Every JSON column of every table, damaged: no route and no page of the panel answers 500, and no list loses a row. The columns, the routes and the
 * pages are read from the entities, the contract and the panel's router, so that a new one is covered by itself.
 */

const texts = ['{', '', 'null', '5', '"x"', '[1'];
/** The transformer that all JSON columns share. */
const { transformer } = column.json() as { transformer: unknown };

interface Damaged {
  table: string;
  name: string;
  keys: string[];
  /** Columns that hold the id of the object a row belongs to. */
  owners: string[];
}

/** What a row of the test's world is called in the paths of the panel. */
type PanelIds = Record<string, string>;

describe.each(await databases())('a damaged column on %s', (database) => {
  let world: RouteWorld;
  let admin: Visitor;
  let columns: Damaged[];
  let pages: string[];
  let app: Express;
  const values = new Map<string, Record<string, string>>();
  const query = (sql: string): Promise<Record<string, unknown>[]> =>
    world.core.rig.database.write.run((tx) => tx.manager.query(sql) as Promise<Record<string, unknown>[]>);

  beforeAll(async () => {
    await bundlePanel();
    world = await startRouteWorld({
      database,
      settings: {
        MAX_KEYS_PER_SESSION: '10000',
        MAX_WEBHOOKS_PER_SESSION: '1000',
        MAX_WEBHOOKS_PER_ACCOUNT: '10000',
        MAX_SESSIONS: '500',
      },
      mountPanel: (mounted, parts) => ((app = mounted), mountPanel(mounted, parts)),
    });
    const { core } = world;
    const source = core.rig.database.reader;
    columns = entities.flatMap((entity) => {
      const metadata = source.getMetadata(entity);
      return metadata.columns
        .filter((one) => one.transformer === transformer)
        .map(({ databaseName }) => ({
          table: metadata.tableName,
          name: databaseName,
          keys: metadata.primaryColumns.map((key) => key.databaseName),
          owners: metadata.columns
            .map((other) => other.databaseName)
            .filter((other) => /Id$/.test(other) && !['accountId', 'sessionId'].includes(other)),
        }));
    });
    await fillTables(world);
    for (const route of reads()) values.set(route.id, await world.idsFor(route));
    admin = createVisitor(core.rig.url);
    await admin.send('/admin/login', { login: 'admin', password });
    pages = panelPaths(app);
  }, 120_000);
  afterAll(() => world?.close());

  const reads = (): AnyRoute[] =>
    inOrder(world.core.rig.routes).filter(
      ({ id, method }) => method === 'get' && !(operationIds as readonly string[]).includes(id),
    );

  /** All rows of a table, except the key that the test uses. */
  const everyRow = ({ table }: Damaged): string =>
    table === 'api_keys' ? `"isPrimary" = ${database === 'postgres' ? 'false' : '0'}` : '1 = 1';

  /** Damages a column of some rows; returns what puts it back. Null: there is no such row. */
  async function damage({ table, name, keys }: Damaged, text: string, where: string): Promise<(() => Promise<void>) | null> {
    const key = keys.map((one) => `"${one}"`).join(', ');
    const rows = await query(`SELECT ${key}, "${name}" AS stored FROM "${table}" WHERE ${where}`);
    if (rows.length === 0) return null;
    await query(`UPDATE "${table}" SET "${name}" = '${text}' WHERE ${where}`);
    return async () => {
      for (const row of rows) {
        const of = keys.map((one) => `"${one}" = '${String(row[one])}'`).join(' AND ');
        const stored = row['stored'] === null ? 'NULL' : `'${String(row['stored']).replaceAll("'", "''")}'`;
        // What was written meanwhile stays.
        await query(`UPDATE "${table}" SET "${name}" = ${stored} WHERE ${of} AND "${name}" = '${text}'`);
      }
    };
  }

  /** The rows of a table that belong to the objects that a path names. */
  function rowsOf({ table, keys, owners }: Damaged, ids: readonly string[]): string {
    const list = ids.map((id) => `'${id === 'current' ? world.core.sessionId : id.replaceAll("'", "''")}'`).join(', ');
    const named = [...keys.filter((key) => key === 'id'), ...owners].map((name) => `"${name}" IN (${list})`);
    return ids.length === 0 || named.length === 0 ? '1 = 0' : `(${named.join(' OR ')}) AND ${everyRow({ table } as Damaged)}`;
  }

  interface Answer {
    status: number;
    /** Of a list: the ids of its rows. */
    ids: string[] | null;
    cause: string;
  }
  const idsIn = (data: unknown): string[] | null =>
    Array.isArray(data)
      ? data.flatMap((row: unknown) => (typeof row === 'object' && row !== null && 'id' in row ? [String(row.id)] : []))
      : null;

  async function askAll(): Promise<Map<string, Answer>> {
    const answers = new Map<string, Answer>();
    for (const route of reads()) {
      const reply = await world.send(route, undefined, values.get(route.id));
      answers.set(route.id, { status: reply.status, ids: idsIn(reply.body.data), cause: (reply.cause ?? '').slice(0, 600) });
    }
    const ids = await panelIds(world);
    for (const path of pages) {
      const reply = await admin.get(filled(path, ids), { accept: 'application/json' });
      const isJson = reply.headers.get('content-type')?.includes('json');
      const body = isJson ? reply.json() : {};
      const cause =
        reply.status === 500 ? (world.core.rig.lines.findLast((line) => line.includes('to the panel failed')) ?? '') : '';
      answers.set(`panel ${path}`, {
        status: reply.status,
        ids: idsIn(body['data'] ?? body['records']),
        cause: cause.slice(0, 600),
      });
    }
    return answers;
  }

  test('makes no read fail and hides no row', async () => {
    const before = await askAll();
    const bad = [...before].filter(([, { status }]) => status >= 500 || status === 400);
    expect(bad.map(([name, { status, cause }]) => [name, status, cause])).toEqual([]);
    const problems: unknown[] = [];
    for (const [index, table] of [...new Set(columns.map((one) => one.table))].entries()) {
      const restores = [];
      for (const one of columns.filter((other) => other.table === table)) {
        const restore = await damage(one, texts[index % texts.length]!, everyRow(one));
        if (!restore) problems.push(`${table} has no row here. Add one to fillTables.`);
        restores.push(restore);
      }
      for (const [name, { status, ids, cause }] of await askAll()) {
        const was = before.get(name)!;
        if (status >= 500 || status !== was.status) problems.push([table, name, was.status, status, cause]);
        const lost = (was.ids ?? []).filter((id) => !ids?.includes(id));
        if (status < 300 && lost.length > 0 && (was.ids?.length ?? 0) < 20) problems.push([table, name, 'lost', lost.length]);
      }
      for (const restore of restores) await restore?.();
    }
    expect(problems).toEqual([]);
  }, 600_000);

  test('makes no change and no deletion of its object fail', async () => {
    const problems: unknown[] = [];
    const writes = inOrder(world.core.rig.routes).filter(({ id, method }) => method !== 'get' && !ends.has(id));
    let turn = 0;
    for (const route of writes) {
      const [example] = Object.values(requestExamplesOf(route));
      if (!/:/.test(route.path)) continue;
      const ids = await world.idsFor(route);
      const text = texts[(turn += 1) % texts.length]!;
      const restores = [];
      for (const one of columns) restores.push(await damage(one, text, rowsOf(one, Object.values(ids))));
      const reply = restores.some((restore) => restore !== null) ? await world.send(route, example, ids) : null;
      const code = reply?.body.error?.code;
      if (code === 'INTERNAL_ERROR') problems.push([text, route.id, (reply!.cause ?? '').slice(0, 600)]);
      // What needs the value says so. Whatever replaces or deletes the object works.
      if (code === 'STORED_DATA_UNREADABLE' && !needs.has(route.id))
        problems.push([
          text,
          route.id,
          code,
          world.core.rig.lines.findLast((line) => line.includes('cannot be read'))?.slice(0, 900),
        ]);
      for (const restore of restores) await restore?.();
    }
    expect(problems).toEqual([]);
  }, 600_000);

  test('makes nothing that the worker reports be refused, and no request to run a job fail', async () => {
    const { core, admin: headers } = world;
    const problems: unknown[] = [];
    const jobs = ((await core.rig.call('GET', '/admin/jobs', { key: null, headers })).body.data as { name: string }[]).map(
      ({ name }) => name,
    );
    for (const [index, one] of columns.entries()) {
      const restore = await damage(one, texts[index % texts.length]!, everyRow(one));
      const media = { id: null, mimetype: 'image/jpeg', size: 225, filename: null, sha256: null };
      const contents = [core.inbound(`text ${index}`), core.inbound('', { content: { type: 'image', media }, thumbnail })];
      const call = {
        callId: `call-${index}`,
        contact: contents[0]!.contact,
        at: new Date().toISOString(),
        isGroup: false,
        isVideo: false,
      };
      const batch = [
        ...contents.map((message) => core.worker.queue(core.sessionId, 'message.observed', { message, origin: 'live' })),
        core.worker.queue(core.sessionId, 'call.received', { ...call, autoReject: null } as never),
      ];
      const { refused } = await core.worker.post(batch);
      if (refused.length > 0)
        problems.push([
          `${one.table}.${one.name}`,
          'refused',
          refused.map(({ id, code }) => [batch.find((event) => event.id === id)?.type, code]),
        ]);
      await core.worker.flush();
      const beat = await core.worker.beat().then(() => null, String);
      if (beat !== null) problems.push([`${one.table}.${one.name}`, 'heartbeat', beat]);
      for (const job of index % 4 === 0 ? jobs : []) {
        const reply = await core.rig.call('POST', `/admin/jobs/${job}/run`, { key: null, headers, body: {} });
        if (reply.status >= 500) problems.push([`${one.table}.${one.name}`, job, reply.status, reply.cause]);
      }
      await restore?.();
    }
    expect(problems).toEqual([]);
  }, 600_000);
});

/** Calls that cannot be carried out without the value. */
const needs = new Set([
  // No key may be given out whose permissions are unknown.
  'keys.claim',
  'sessionKeys.claim',
  // The settings have the proxy, without which a session never connects, and the limits of what it sends.
  'sessions.pairingCode',
  'sessions.restart',
  'stories.post',
  // They send or show what is damaged.
  'messages.forward',
  'templates.preview',
]);
/** They end the login or the session of the test; what is queued again would get the outcome that another example arranges. */
const ends = new Set(['messages.retry', 'auth.logout', 'auth.password', 'auth.regenerateKey', 'admin.workers.change']);

/** Rows of the tables that the routes do not fill. */
async function fillTables({ core, admin }: RouteWorld): Promise<void> {
  const { rig } = core;
  const now = new Date();
  await rig.database.write.run(async (tx) => {
    await insertRow(tx, Backup, {
      id: newId(),
      status: 'failed',
      trigger: 'manual',
      parts: ['database'],
      host: 'here',
      file: '/nowhere/one.backup',
      createdAt: now,
      finishedAt: now,
    } as Partial<Backup> as Backup);
    await insertRow(tx, Restored, {
      id: newId(),
      backupId: newId(),
      takenAt: now,
      restoredAt: now,
      mode: 'move',
      startsSessions: true,
      appliedAt: now,
      counts: {},
    });
  });
  const personalised = [{ recipient: '+5511999990001', variables: { name: 'Ana' } }];
  const weekly = { name: 'weekly', cron: '0 9 * * 1', message: { type: 'text', recipient: '+5511999990001', message: 'x' } };
  const made: [method: string, path: string, body: unknown, headers?: Record<string, string>][] = [
    ['POST', '/ws/ticket', {}],
    ['POST', '/opt-outs', { contacts: ['+5511900000077'] }],
    ['PUT', '/opt-outs/keywords', { out: ['leave'], in: ['return'] }],
    ['POST', '/messages/bulk', { message: 'Hi {{name}}', recipients: personalised, scheduledAt: '2030-01-01T00:00:00Z' }],
    ['POST', '/schedules', weekly],
    ['POST', '/admin/jobs/qr.sweep/run', {}, admin],
  ];
  for (const [method, path, body, headers] of made) {
    const { status, body: answer } = await rig.call(method, path, { body, ...(headers ? { key: null, headers } : {}) });
    if (status >= 300) throw new Error(`${path}: ${JSON.stringify(answer)}`);
  }
  await eventually('an error to be counted', async () => {
    const [row] = (await rig.database.reader.query('SELECT COUNT(*) AS n FROM error_counts')) as { n: number | string }[];
    return Number(row!.n) > 0;
  });
}

/** The GET paths of the panel, read from its router, and its lists. */
function panelPaths(app: Express): string[] {
  interface Layer {
    route?: { path: string; methods: Record<string, boolean> };
    handle?: { stack?: Layer[] };
  }
  const walk = (stack: readonly Layer[]): string[] =>
    stack.flatMap(({ route, handle }) =>
      route ? (route.methods['get'] && typeof route.path === 'string' ? [route.path] : []) : walk(handle?.stack ?? []),
    );
  const live = [...new Set(walk((app as unknown as { router: { stack: Layer[] } }).router.stack))].filter((path) =>
    path.startsWith('/live/'),
  );
  if (live.length < 40) throw new Error('The paths of the panel are not found in its router.');
  return live.filter((path) => !path.endsWith('/stream') && !path.endsWith('/file')).map((path) => `/admin${path}`);
}

const filled = (path: string, ids: PanelIds): string =>
  path.replace(/:\w+/g, (name, at: number) => ids[path.slice(0, at).split('/').at(-2)!] ?? name) +
  (path.endsWith('event-sample') ? '?type=message.sent' : path.endsWith('/find') ? '?term=a' : '');

async function panelIds({ core }: RouteWorld): Promise<PanelIds> {
  const first = async (table: string, more = ''): Promise<string> => {
    const rows = (await core.rig.database.reader.query(`SELECT id FROM ${table} ${more} LIMIT 1`)) as { id: string }[];
    return rows[0]?.id ?? 'none';
  };
  return {
    sessions: core.sessionId,
    messages: await first('messages'),
    accounts: await first('accounts'),
    keys: await first('api_keys'),
    webhooks: await first('webhooks', 'WHERE "deletedAt" IS NULL'),
    bulk: await first('bulk_jobs'),
    deliveries: await first('webhook_deliveries'),
    plans: await first('plans'),
    templates: await first('templates'),
    optouts: await first('opt_outs'),
    lists: 'messages',
    jobs: 'qr.sweep',
    media: await first('media_files'),
    thumbnails: await first('messages'),
  };
}
