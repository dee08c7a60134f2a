import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSimulator } from '@chasqui/simulator';
import { freePort } from './ports.js';

/**
 * The whole product as its users run it: the built backend and worker as two processes, and real Chromium, against the simulator.
 * Benchmarks and end-to-end tests use it; it needs `npm run build` before.
 */

const root = resolve(import.meta.dirname, '../..');
const programs = { backend: join(root, 'backend/dist/main.js'), worker: join(root, 'whatsapp-service/dist/main.js') };
export type Part = keyof typeof programs;

export interface StackOptions {
  /** Build of the simulated WhatsApp Web; the newest by default. */
  build?: Parameters<typeof startSimulator>[0] extends infer O ? (O extends { build?: infer B } ? B : never) : never;
  /** More settings for both processes. */
  settings?: Record<string, string>;
  /** Settings that need the ports, such as a proxy between the two processes. */
  line?: (ports: { backend: number; worker: number }) => Promise<Record<string, string>>;
  databaseUrl?: string;
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: {
    success: boolean;
    data: T;
    meta?: Record<string, unknown>;
    error?: { code: string; message: string; details: Record<string, unknown> };
    requestId: string;
  };
}

export type Stack = Awaited<ReturnType<typeof startStack>>;

export async function startStack(options: StackOptions = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-'));
  const simulator = await startSimulator(options.build ? { build: options.build } : {});
  const [port, workerPort] = [await freePort(), await freePort()];
  const settings = { ...options.settings, ...(await options.line?.({ backend: port, worker: workerPort })) };
  const own = { ...options, settings };
  const env = environment({ dataDir, port, workerPort, browserArgs: simulator.browserArgs, options: own });
  const urls: Record<Part, string> = { backend: `http://127.0.0.1:${port}`, worker: `http://127.0.0.1:${workerPort}` };
  const processes = createProcesses(env, urls);
  const others: (() => Promise<void>)[] = [];
  const { start, end, isUp, key } = processes;

  async function api<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const form = body instanceof FormData;
    const answer = await fetch(`${urls.backend}/api/v1${path}`, {
      method,
      headers: {
        authorization: `ApiKey ${key()}`,
        ...(body !== undefined && !form ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: form ? body : JSON.stringify(body) }),
    });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Answer<T>['body'] };
  }

  /** Starts another worker with its own data folder. */
  async function addWorker() {
    const folder = join(dataDir, `worker-${randomBytes(3).toString('hex')}`);
    const another = await freePort();
    const settings = environment({
      dataDir: folder,
      port,
      workerPort: another,
      browserArgs: simulator.browserArgs,
      options: own,
    });
    const added = createProcesses(settings, { ...urls, worker: `http://127.0.0.1:${another}` });
    await added.start('worker');
    others.push(() => added.end('worker', 'SIGTERM'));
    return { pid: () => added.pid('worker'), log: () => added.log('worker') };
  }

  async function close(): Promise<void> {
    await Promise.all(others.map((end) => end()));
    await Promise.all([end('worker', 'SIGTERM'), end('backend', 'SIGTERM')]);
    await simulator.close();
    await rm(dataDir, { recursive: true, force: true });
  }

  try {
    const started = performance.now();
    await start('backend');
    const backendStartMs = performance.now() - started;
    await start('worker');
    return {
      dataDir,
      simulator,
      urls,
      backendStartMs,
      key,
      log: processes.log,
      pid: processes.pid,
      isUp,
      start,
      end,
      addWorker,
      api,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const living = new Set<ChildProcess>();

/** Kills all processes that were started here when this one gets a signal to end. Called by main programs. */
export function endChildrenWithUs(): void {
  for (const [signal, number] of [
    ['SIGTERM', 15],
    ['SIGINT', 2],
  ] as const)
    process.once(signal, () => {
      for (const child of living) child.kill('SIGKILL');
      process.exit(128 + number);
    });
}

/** Starts and ends the two processes, repeatedly. */
export function createProcesses(env: NodeJS.ProcessEnv, urls: Record<Part, string>) {
  const children = new Map<Part, ChildProcess>();
  const output: Record<Part, string[]> = { backend: [], worker: [] };
  let key = '';

  async function start(part: Part): Promise<void> {
    const child = spawn(process.execPath, [programs[part]], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    children.set(part, child);
    living.add(child);
    child.once('exit', () => living.delete(child));
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output[part].push(text);
        const first = /\{"chasqui":"first-admin".*\}/.exec(text);
        if (first) key = (JSON.parse(first[0]) as { apiKey: string }).apiKey;
      });
    }
    await ready(child, `${urls[part]}${part === 'backend' ? '/health/ready' : '/health'}`, () =>
      output[part].slice(-20).join(''),
    );
  }

  /** Ends a part: `SIGKILL` as a crash would, `SIGTERM` as an operator would. */
  async function end(part: Part, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = children.get(part);
    if (!child || !isUp(part)) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** False from the moment on that the process is gone, for whatever reason. */
  const isUp = (part: Part): boolean => {
    const child = children.get(part);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  };

  return {
    start,
    end,
    isUp,
    /** The first administrator's key; empty until the backend has started once. */
    key: () => key,
    log: (part: Part) => output[part].join(''),
    pid: (part: Part) => children.get(part)!.pid!,
  };
}

/** Random secrets for each run: the processes refuse values that look like samples. */
const random = (): string => randomBytes(32).toString('hex');
const secrets = { SERVICE_API_KEY: random(), JWT_SECRET: random(), COOKIE_SECRET: random() };

/** Limits are off, because benchmarks measure what the product can do; limits have separate tests. */
export const unlimited = { API_KEY_RATE_LIMIT: '0', IP_RATE_LIMIT: '0', DEFAULT_DAILY_MESSAGE_LIMIT: '0' };

export function environment(parts: {
  dataDir: string;
  port: number;
  workerPort: number;
  browserArgs: string[];
  options: StackOptions;
}): NodeJS.ProcessEnv {
  const { dataDir, port, workerPort, browserArgs, options } = parts;
  return {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    TMPDIR: process.env['TMPDIR'],
    BROWSER_PATH: process.env['BROWSER_PATH'],
    NODE_ENV: 'production',
    DATA_DIR: dataDir,
    PORT: String(port),
    WORKER_PORT: String(workerPort),
    WORKER_URLS: `http://127.0.0.1:${workerPort}`,
    BACKEND_URL: `http://127.0.0.1:${port}`,
    BROWSER_ARGS: JSON.stringify(browserArgs),
    ...secrets,
    ...unlimited,
    ...(options.databaseUrl ? { DATABASE_URL: options.databaseUrl } : {}),
    ...options.settings,
  };
}

async function ready(child: ChildProcess, url: string, lastWords: () => string): Promise<void> {
  for (const until = Date.now() + 120_000; Date.now() < until; await sleep(25)) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`${url} ended (${child.signalCode ?? `code ${child.exitCode}`}) before it was ready:\n${lastWords()}`);
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return;
  }
  throw new Error(`${url} was not ready in two minutes:\n${lastWords()}`);
}

/** Waits for a condition, never for a duration: polls until `probe` returns a value. The error after the time limit names what it waited for. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false>,
  withinMs = 40_000,
): Promise<T> {
  for (const until = Date.now() + withinMs; Date.now() < until; await sleep(50)) {
    const found = await probe();
    if (found) return found;
  }
  throw new Error(`Waited ${withinMs} ms for ${what}`);
}
