import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { startSimulator } from '@chasqui/simulator';
import { freePort } from '../../bench/src/ports.js';
import { commandLine, treesBelow } from '../../bench/src/processes.js';
import { environment, eventually, type Answer } from '../../bench/src/stack.js';
import { acquireExclusive } from '../src/lib/exclusive.js';

/**
 * `npm start` as it is run: its script, both built processes, real Chromium, the simulator. Whatever is killed, taken away or frozen,
 * everything ends within its bound, and the next start comes up. One installation is started again and again by all tests.
 */

const root = resolve(import.meta.dirname, '../..');
const boundMs = 30_000;

let simulator: Awaited<ReturnType<typeof startSimulator>>;
let dataDir: string;
let env: NodeJS.ProcessEnv;
let base: string;
let key = '';
const starts = new Set<ChildProcess>();
let current: Start | null = null;

beforeAll(async () => {
  simulator = await startSimulator({});
  dataDir = mkdtempSync(join(tmpdir(), 'chasqui-lifecycle-'));
  const [port, workerPort] = [await freePort(), await freePort()];
  base = `http://127.0.0.1:${port}`;
  // Without the panel a backend starts in a fraction of the time.
  const settings = { EGRESS_ALLOW: '127.0.0.1/32', MAX_SESSIONS: '20', CI: '1', PANEL_ENABLED: 'false' };
  env = environment({ dataDir, port, workerPort, browserArgs: simulator.browserArgs, options: { settings } });
});

afterAll(async () => {
  for (const { pid } of Object.values(record()?.parts ?? {})) resume(pid);
  for (const child of starts) {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await endOf(child);
  }
  await simulator?.close();
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
}, 90_000);

interface Start {
  child: ChildProcess;
  output: () => string;
}

/** Runs the script of `npm start`; `more` are settings, and `args` arguments, of this start alone. */
function begin(more: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Start {
  const child = spawn(process.execPath, [join(root, 'scripts/start.mjs'), ...args], {
    env: { ...env, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  starts.add(child);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  return { child, output: () => output };
}

/** Resolves when a start says that everything runs. */
async function up(start: Start): Promise<Start> {
  await eventually(
    'everything to run',
    async () => {
      if (start.child.exitCode !== null) throw new Error(`The start ended with ${start.child.exitCode}:\n${start.output()}`);
      // Its last words: the key stands before them.
      return start.output().includes('Stop with Ctrl-C.');
    },
    90_000,
  );
  current = start;
  key = /API key\s+(chq_\w+)/.exec(start.output())?.[1] ?? key;
  return start;
}

/** The start that an earlier test left running, or a new one. */
async function running(): Promise<Start> {
  return current && current.child.exitCode === null && current.child.signalCode === null ? current : up(begin());
}

async function endOf(child: ChildProcess): Promise<number | NodeJS.Signals | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode ?? child.signalCode;
}

type Part = 'backend' | 'worker';
function record(): { pid: number; parts: Record<Part, { pid: number }> } | null {
  const file = join(dataDir, 'run.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ReturnType<typeof record>) : null;
}
const pidOf = (part: Part): number => record()!.parts[part].pid;
/** A zombie has no command line. */
const lives = (pid: number): boolean => commandLine(pid) !== '';
const gone = (pids: number[]) => eventually(`${pids.join(', ')} to end`, async () => !pids.some(lives), boundMs);

function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It has ended.
  }
}

async function api<T>(method: string, path: string, body?: object): Promise<Answer<T>> {
  const answer = await fetch(`${base}/api/v1${path}`, {
    method,
    headers: { authorization: `ApiKey ${key}`, ...(body ? { 'content-type': 'application/json' } : {}), connection: 'close' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Answer<T>['body'] };
}
const answers = () =>
  fetch(`${base}/health/ready`, { headers: { connection: 'close' } }).then(
    (answer) => answer.ok,
    () => false,
  );

test('a first start that is stopped before all runs still shows the one-time password, which no later start can', async () => {
  const first = begin();
  await eventually('the backend', answers, 90_000);
  first.child.kill('SIGINT');
  expect(await endOf(first.child)).toBe(0);
  expect(first.output()).toMatch(/One-time password\s+\S+/);
  key = /API key\s+(chq_\w+)/.exec(first.output())![1]!;
  // In place of the system's program that opens an address in a browser.
  const opener = join(dataDir, 'bin', 'xdg-open');
  mkdirSync(dirname(opener));
  writeFileSync(opener, `#!/bin/sh\necho "$1" > '${opener}.got'\n`, { mode: 0o755 });
  const second = await up(begin({ PATH: `${dirname(opener)}:${env['PATH']}` }, ['--open']));
  expect(second.output()).not.toMatch(/One-time password/);
  await eventually('the panel to be opened', async () => existsSync(`${opener}.got`) && readFileSync(`${opener}.got`, 'utf8'));
  expect(readFileSync(`${opener}.got`, 'utf8')).toBe(`${base}/admin\n`);
  expect((await api('GET', '/sessions')).status).toBe(200);
}, 240_000);

test('both processes stop within seconds after their start script is killed, and the next start succeeds meanwhile', async () => {
  const first = await running();
  const parts = [pidOf('backend'), pidOf('worker')];
  const from = performance.now();
  first.child.kill('SIGKILL');
  const second = begin();
  await gone(parts);
  expect(performance.now() - from).toBeLessThan(boundMs);
  await up(second);
  expect(pidOf('backend')).not.toBe(parts[0]);
}, 240_000);

test('processes that a killed start script leaves frozen are killed by the next start, which waits for their ports', async () => {
  const first = await running();
  const parts = [pidOf('backend'), pidOf('worker')];
  for (const pid of parts) process.kill(pid, 'SIGSTOP');
  first.child.kill('SIGKILL');
  const second = await up(begin());
  expect(parts.filter(lives)).toEqual([]);
  expect(second.output()).toMatch(/The backend of an earlier start \(pid \d+\) does not stop and is killed\./);
  second.child.kill('SIGINT');
  expect(await endOf(second.child)).toBe(0);
}, 240_000);

test('of two starts at once one runs and the other reports it; a start during a stop waits and then runs', async () => {
  const both = [begin(), begin()];
  const refused = await eventually('one to be refused', async () => both.find(({ child }) => child.exitCode !== null), 90_000);
  const first = await up(both.find((one) => one !== refused)!);
  expect([refused.child.exitCode, refused.output()]).toEqual([1, expect.stringContaining(`already runs on ${dataDir}`)]);
  expect(await answers()).toBe(true);
  first.child.kill('SIGTERM');
  await eventually('it to stop', async () => first.output().includes('Stopping backend and worker'));
  await up(begin());
  expect(await endOf(first.child)).toBe(0);
}, 240_000);

test('one process that is stopped, killed or crashes is started again, and the other is left alone', async () => {
  await running();
  for (const [part, signal] of [
    ['backend', 'SIGTERM'],
    ['worker', 'SIGTERM'],
    ['backend', 'SIGKILL'],
    ['worker', 'SIGKILL'],
  ] as const) {
    const before = { backend: pidOf('backend'), worker: pidOf('worker') };
    process.kill(before[part], signal);
    await eventually(`another ${part}`, async () => pidOf(part) !== before[part] && (await answers()), 60_000);
    const other = part === 'backend' ? 'worker' : 'backend';
    expect(pidOf(other)).toBe(before[other]);
  }
}, 240_000);

test('a backend that cannot start is tried three times, and its words are shown with the exit code 1', async () => {
  current?.child.kill('SIGTERM');
  if (current) expect(await endOf(current.child)).toBe(0);
  // Not a database that is away: that is waited for.
  const release = acquireExclusive(join(dataDir, 'backend.lock'));
  try {
    const start = begin();
    expect(await endOf(start.child)).toBe(1);
    expect(start.output()).toMatch(/The backend does not start; it ended with code 1 each time/);
    expect(start.output()).toContain('uses this database');
    expect(record()).toBeNull();
  } finally {
    release();
  }
}, 240_000);

test('nothing that is open, half done or frozen keeps a stop from ending in time, and its terminal may be gone', async () => {
  const start = await running();
  const sink = createServer((req: IncomingMessage) => void req.resume()).listen(0, '127.0.0.1');
  await once(sink, 'listening');
  const url = `http://127.0.0.1:${(sink.address() as AddressInfo).port}/hook`;
  expect((await api('POST', '/webhooks', { url, events: ['*'] })).status).toBe(201);
  const asked = once(sink, 'request');

  // One session shows its code, in a browser that is then frozen; ten more are during their start.
  await api('POST', '/sessions', { name: 'frozen' });
  await api('POST', '/sessions/frozen/connect');
  const shown = await api<{ id: string }>('GET', '/sessions/frozen');
  await eventually(
    'a code',
    async () => (await api<{ qrText: string | null }>('GET', '/sessions/frozen/qr')).body.data?.qrText,
    60_000,
  );
  await asked;
  const frozen = treesBelow(pidOf('worker')).find((tree) => tree.some((pid) => commandLine(pid).includes(shown.body.data.id)))!;
  for (const pid of frozen) process.kill(pid, 'SIGSTOP');
  for (let number = 0; number < 10; number += 1) await api('POST', '/sessions', { name: `s${number}` });
  void Promise.all(Array.from({ length: 10 }, (_, number) => api('POST', `/sessions/s${number}/connect`).catch(() => null)));
  await eventually('a browser that starts', async () => treesBelow(pidOf('worker')).length > 1);

  // Half a body, and a stream without a reader.
  const { port } = new URL(base);
  const half = connect(Number(port), '127.0.0.1').on('error', () => undefined);
  half.write(
    `POST /api/v1/messages/send-text HTTP/1.1\r\nHost: x\r\nAuthorization: ApiKey ${key}\r\nContent-Length: 500\r\n\r\n{"mess`,
  );
  const stream = get(`${base}/api/v1/events/stream`, { headers: { authorization: `ApiKey ${key}` }, agent: false });
  stream.on('error', () => undefined);
  const [answer] = (await once(stream, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  expect(answer.statusCode).toBe(200);

  const browsers = treesBelow(pidOf('worker')).flat();
  const parts = [pidOf('backend'), pidOf('worker')];
  start.child.stdout!.destroy();
  start.child.stderr!.destroy();
  const from = performance.now();
  start.child.kill('SIGHUP');
  await endOf(start.child);
  expect(performance.now() - from).toBeLessThan(boundMs);
  expect(parts.filter(lives)).toEqual([]);
  for (const pid of browsers) resume(pid);
  await gone(browsers);
  half.destroy();
  stream.destroy();
  sink.closeAllConnections();
  sink.close();

  // The worker's browsers of before do not hold the logins: a code is shown again.
  await up(begin());
  await api('POST', '/sessions/frozen/connect');
  await eventually(
    'a code again',
    async () => (await api<{ qrText: string | null }>('GET', '/sessions/frozen/qr')).body.data?.qrText,
    60_000,
  );
}, 300_000);
