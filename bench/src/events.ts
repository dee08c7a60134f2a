import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createAgents } from '@chasqui/shared/http-agents';
import Sqlite from 'better-sqlite3';
import { Client } from 'pg';
import { hasPostgres, ownDatabase } from './database.js';
import { freePort } from './ports.js';
import { eventually, unlimited } from './stack.js';

/**
 * Pages of an event log of a million rows, read over HTTP from a built backend without a worker. The table is filled by the database
 * itself, in realistic proportions: few types make up nearly all of it, some are one in tens of thousands.
 */

const million = 1_000_000;
/** Lower cursors belong to the events of creating sessions. */
const offset = 100;
const sessions = 5;
const program = resolve(import.meta.dirname, '../../backend/dist/main.js');
const pageLimitMs = 10;

export type Line = (what: string, promise: string, measured: string, ok: boolean) => void;

/** The queries; each starts from positions all over the log. */
const queries: Record<string, (sessionId: string) => string> = {
  'whole account': () => '',
  'one frequent type': () => '&types=message.received',
  'three rare types': () => '&types=session.qr,group.updated,call.received',
  'one session': (sessionId) => `&sessionId=${sessionId}`,
  'rare types of one session': (sessionId) => `&sessionId=${sessionId}&types=session.qr,group.updated`,
  'a type that never was': () => '&types=export.ready',
};

export async function eventPages(line: Line): Promise<void> {
  for (const dialect of (await hasPostgres()) ? (['SQLite', 'PostgreSQL'] as const) : (['SQLite'] as const)) {
    const own = dialect === 'PostgreSQL' ? await ownDatabase() : null;
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-pages-'));
    try {
      await measure(line, dialect, dataDir, own?.url ?? null);
    } finally {
      await own?.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  }
}

async function measure(line: Line, dialect: string, dataDir: string, databaseUrl: string | null): Promise<void> {
  // Started once to create tables and an account, and again when the tables are full.
  const first = await startAlone(dataDir, databaseUrl);
  const { id } = await first.call<{ id: string }>('GET', '/auth/me');
  const sessionIds: string[] = [];
  for (let number = 0; number < sessions; number += 1)
    sessionIds.push((await first.call<{ id: string }>('POST', '/sessions', { name: `pages-${number}` })).id);
  await first.end();
  await fill(dataDir, databaseUrl, id, sessionIds);
  const backend = await startAlone(dataDir, databaseUrl, first.key());
  /** Median and p95 of 200 calls; 20 before them fill caches and compile. */
  const timed = async (pathOf: (round: number) => string): Promise<[median: number, p95: number]> => {
    const times: number[] = [];
    for (let round = 0; round < 220; round += 1) {
      const started = performance.now();
      await backend.call('GET', pathOf(round));
      if (round >= 20) times.push(performance.now() - started);
    }
    times.sort((a, b) => a - b);
    return [times[100]!, times[190]!];
  };
  try {
    // The cost of a request that reads no event: on a busy machine it is most of the figure.
    const [bare] = await timed(() => '/auth/me');
    for (const [what, query] of Object.entries(queries)) {
      const [median, p95] = await timed((round) => {
        const after = Math.floor((million * ((round * 37) % 220)) / 220);
        return `/events?after=${after}${query(sessionIds[round % sessions]!)}`;
      });
      line(
        `event page of ${dialect}, 1,000,000 events, ${what}, p95`,
        `< ${pageLimitMs} ms`,
        `${p95.toFixed(1)} ms, median ${median.toFixed(1)} (a request without events ${bare.toFixed(1)})`,
        p95 < pageLimitMs,
      );
    }
  } finally {
    await backend.end();
  }
}

const columns = '"cursor", "id", "accountId", "sessionId", "sequence", "type", "messageId", "data", "occurredAt"';
/** For row number `i`; `%` is integer remainder on both. */
const values = (accountId: string, sessionIds: string[], pad: (length: number) => string): string => `
  i, ${pad(8)} || '-0000-7000-8000-000000000000', '${accountId}', CASE i % ${sessions} ${sessionIds.map((id, number) => `WHEN ${number} THEN '${id}'`).join(' ')} END, i / ${sessions},
  CASE WHEN i % 20011 = 0 THEN 'session.qr' WHEN i % 50021 = 0 THEN 'group.updated' WHEN i % 1009 = 0 THEN 'session.status'
    WHEN i % 4 = 0 THEN 'message.received' WHEN i % 4 = 1 THEN 'message.queued' WHEN i % 4 = 2 THEN 'message.sent' ELSE 'message.ack' END,
  ${pad(8)} || '-0000-7000-8000-00000000000m',
  '{"id":"' || i || '","text":"A sentence of about the length that a message has, with its answer.","chat":{"id":"5511999990001@c.us","type":"private","name":"Ana"}}',
  1760000000000 + i`;

async function fill(dataDir: string, databaseUrl: string | null, accountId: string, sessionIds: string[]): Promise<void> {
  const end = `UPDATE event_counters SET last = ${offset + million} WHERE scope = 'log'`;
  const counter = `INSERT INTO event_counters (scope, last) VALUES ('log', ${offset + million})`;
  if (databaseUrl === null) {
    const file = new Sqlite(join(dataDir, 'chasqui.sqlite'));
    const rows = `WITH RECURSIVE n(i) AS (SELECT ${offset} UNION ALL SELECT i + 1 FROM n WHERE i < ${offset + million})`;
    file.exec(
      `INSERT INTO events (${columns}) ${rows} SELECT ${values(accountId, sessionIds, (length) => `printf('%0${length}d', i)`)} FROM n`,
    );
    if (file.prepare(end).run().changes === 0) file.exec(counter);
    file.close();
    return;
  }
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  const pad = (length: number): string => `lpad(i::text, ${length}, '0')`;
  await client.query(
    `INSERT INTO events (${columns}) SELECT ${values(accountId, sessionIds, pad)} FROM generate_series(${offset}, ${offset + million}) AS i`,
  );
  if ((await client.query(end)).rowCount === 0) await client.query(counter);
  // As autovacuum would have done long before a million.
  await client.query('VACUUM ANALYZE events');
  await client.end();
}

export async function startAlone(dataDir: string, databaseUrl: string | null, known = '') {
  const port = await freePort();
  const env = {
    ...unlimited,
    PATH: process.env['PATH'],
    NODE_ENV: 'production',
    DATA_DIR: dataDir,
    PORT: String(port),
    WORKER_URLS: 'http://127.0.0.1:9',
    LOG_LEVEL: 'warn',
    ...(databaseUrl ? { DATABASE_URL: databaseUrl } : {}),
  };
  const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const { httpAgent: agent } = createAgents();
  let key = known;
  child.stdout.setEncoding('utf8').on('data', (text: string) => (key = /"apiKey":"([^"]+)"/.exec(text)?.[1] ?? key));
  const url = `http://127.0.0.1:${port}`;
  await eventually('the backend', async () => (await fetch(`${url}/health/ready`).catch(() => null))?.ok === true, 60_000);
  return {
    key: () => key,
    /** Uses a kept-alive connection; fetch would measure itself. */
    async call<T>(method: string, path: string, body?: object): Promise<T> {
      const headers = { authorization: `ApiKey ${key}`, ...(body ? { 'content-type': 'application/json' } : {}) };
      const request = http.request(`${url}/api/v1${path}`, { method, agent, headers });
      request.end(body && JSON.stringify(body));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const text = (await response.setEncoding('utf8').toArray()).join('');
      const reply = JSON.parse(text) as { success: boolean; data: T };
      if (!reply.success) throw new Error(`${path} answered ${response.statusCode}: ${text}`);
      return reply.data;
    },
    async end(): Promise<void> {
      agent.destroy();
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
