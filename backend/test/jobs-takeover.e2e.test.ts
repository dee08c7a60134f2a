import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { freePort } from '../../bench/src/ports.js';
import { migratedDatabase, password, serviceKey } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { describeOnPostgres } from './support/own-database.js';

/** Two built backends on one PostgreSQL. The one that runs the jobs is killed or frozen. */

const program = resolve(import.meta.dirname, '../dist/main.js');

interface Backend {
  url: string;
  child: ChildProcess;
  /** How often it has begun to run the jobs. */
  terms: () => number;
}

describeOnPostgres('two backends of which one runs the jobs', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function startBackend(databaseUrl: string): Promise<Backend> {
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-takeover-'));
    closers.push(() => rm(dataDir, { recursive: true, force: true }));
    const port = await freePort();
    const env = {
      PATH: process.env['PATH'],
      DATA_DIR: dataDir,
      DATABASE_URL: databaseUrl,
      PORT: String(port),
      SERVICE_API_KEY: serviceKey,
      JWT_SECRET: `${serviceKey}-of-tokens`,
      ADMIN_PASSWORD: password,
      WORKER_URLS: 'http://127.0.0.1:9',
      PANEL_ENABLED: 'false',
    };
    const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    closers.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGCONT');
      child.kill('SIGKILL');
      await ended;
    });
    const url = `http://127.0.0.1:${port}`;
    await eventually('the backend to be ready', async () => (await fetch(`${url}/health/ready`).catch(() => null))?.ok);
    return { url, child, terms: () => output.split('This backend runs the jobs.').length - 1 };
  }

  async function start() {
    const own = await migratedDatabase();
    closers.push(own.drop);
    const client = new Client({ connectionString: own.url });
    await client.connect();
    closers.push(() => client.end());
    const leader = await startBackend(own.url);
    const other = await startBackend(own.url);
    expect([leader.terms(), other.terms()]).toEqual([1, 0]);
    const login = await fetch(`${other.url}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: 'admin@localhost.localdomain', password }),
    });
    const { data } = (await login.json()) as { data: { token: string } };
    const post = (path: string) =>
      fetch(`${other.url}/api/v1${path}`, { method: 'POST', headers: { authorization: `Bearer ${data.token}` } });
    const query = async (sql: string) => (await client.query<Record<string, string>>(sql)).rows;
    const leaderRow = async () => (await query('SELECT term, owner FROM job_leader'))[0]!;
    return { leader, other, post, query, leaderRow };
  }

  test.each([
    ['killed', 'SIGKILL', 10_000],
    ['frozen', 'SIGSTOP', 20_000],
  ] as const)(
    'when it is %s, the other one runs the jobs within seconds; a frozen one that wakes up runs none',
    async (_what, signal, withinMs) => {
      const { leader, other, post, query, leaderRow } = await start();
      const before = await leaderRow();
      leader.child.kill(signal);
      const at = Date.now();
      await eventually('the other backend to lead', async () => other.terms() === 1);
      const tookMs = Date.now() - at;
      process.stderr.write(`Takeover from a backend that got ${signal}: ${tookMs} ms.\n`);
      expect(tookMs).toBeLessThan(withinMs);
      const after = await leaderRow();
      expect(Number(after['term'])).toBeGreaterThan(Number(before['term']));
      expect(after['owner']).not.toBe(before['owner']);
      expect((await post('/admin/jobs/messages.cleanup/run')).status).toBe(202);
      await eventually('the requested run to end', async () => {
        const [run] = await query(`SELECT status, term FROM job_runs WHERE job = 'messages.cleanup'`);
        return run?.['status'] === 'succeeded' && run['term'] === after['term'];
      });
      if (signal === 'SIGKILL') return;
      // A run of the first backend, if a minute began right before it was frozen. The other one has ended it.
      const ofEarlierTerms = `SELECT id, term, status FROM job_runs WHERE term <> ${Number(after['term'])} ORDER BY id`;
      const ended = await eventually('runs of earlier terms to be ended', async () => {
        const rows = await query(ofEarlierTerms);
        return rows.every(({ status }) => status !== 'running') && rows;
      });
      leader.child.kill('SIGCONT');
      await eventually('the woken backend to answer', async () => (await fetch(`${leader.url}/health/ready`)).ok);
      await sleep(2_000);
      expect((await leaderRow())['term']).toBe(after['term']);
      expect(leader.terms()).toBe(1);
      expect(await query(ofEarlierTerms)).toEqual(ended);
    },
  );
});
