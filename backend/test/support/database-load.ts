import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutletEvent } from '@chasqui/shared';
import { openFaultProxy, type FaultProxy } from '../../../bench/src/fault-proxy.js';
import { freePort } from '../../../bench/src/ports.js';
import { password, serviceKey } from './backend.js';
import { ana, observed, quick } from './core.js';
import { eventually } from './eventually.js';
import type { PostgresServer } from '../../../bench/src/postgres-server.js';
import { startStandIn } from './worker.js';

const program = resolve(import.meta.dirname, '../../dist/main.js');
export const againMs = 15_000;
/** Of one request of a client: longer than every limit of the backend. */
const patienceMs = 25_000;
/** Events of one request of the worker: few, so that a slow machine takes them in within its patience. */
const mostTogether = 50;
/** Of one request of the worker, which then asks another backend. */
const workerPatienceMs = 4_000;

async function startBackendProcess(databaseUrl: string, settings: Record<string, string>, output: string[]) {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-faults-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    PATH: process.env['PATH'],
    DATA_DIR: dataDir,
    PORT: String(port),
    SERVICE_API_KEY: serviceKey,
    ADMIN_PASSWORD: password,
    LOG_LEVEL: 'info',
    PANEL_ENABLED: 'false',
    MAX_QUEUED_PER_SESSION: '1000000',
    API_KEY_RATE_LIMIT: '0',
    IP_RATE_LIMIT: '0',
    DEFAULT_DAILY_MESSAGE_LIMIT: '0',
    ...quick,
    ...settings,
    DATABASE_URL: databaseUrl,
  };
  let child: ChildProcess | null = null;
  const isUp = (): boolean => child !== null && child.exitCode === null && child.signalCode === null;
  return {
    url,
    get pid(): number {
      return child!.pid!;
    },
    spawn(): void {
      child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [child.stdout!, child.stderr!])
        stream.setEncoding('utf8').on('data', (text: string) => void output.push(...text.split('\n').filter(Boolean)));
    },
    isUp,
    isReady: async (): Promise<boolean> => {
      if (!isUp()) throw new Error(`The backend has ended: ${output.slice(-5).join('\n')}`);
      const answer = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
      return answer?.ok === true;
    },
    signal: (name: NodeJS.Signals): void => void child!.kill(name),
    async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
      if (!isUp()) return;
      const ended = once(child!, 'exit');
      child!.kill(signal);
      await ended;
    },
    removeData: () => rm(dataDir, { recursive: true, force: true }),
  };
}
export type BackendProcess = Awaited<ReturnType<typeof startBackendProcess>>;

export interface Line {
  url: string;
  close(): Promise<void>;
}

interface Attempt {
  status: number;
  retryAfter: string | null;
  body: string;
}

/** Backends, a worker, and clients that never rest. `openLine` opens the way of each backend to the server. */
export async function startUnderLoad<L extends Line = FaultProxy>(
  server: PostgresServer,
  count: number,
  openLine: (port: number) => Promise<L> = openFaultProxy as unknown as (port: number) => Promise<L>,
) {
  const database = `faults_${randomUUID().slice(0, 8)}`;
  await server.query('postgres', `CREATE DATABASE ${database}`);
  const worker = await startStandIn({ serviceKey });
  const output: string[] = [];
  const lines = await Promise.all(Array.from({ length: count }, () => openLine(server.port)));
  const backends: BackendProcess[] = [];
  for (const line of lines) {
    const { port } = new URL(line.url);
    const url = `postgres://postgres@127.0.0.1:${port}/${database}`;
    backends.push(await startBackendProcess(url, { WORKER_URLS: worker.url }, output));
  }
  // At once, on an empty database.
  for (const backend of backends) backend.spawn();
  for (const backend of backends) await eventually('the backend to be ready', backend.isReady, 60_000);
  const firstAdmins = output.filter((line) => line.includes('first-admin'));
  const { apiKey } = JSON.parse(firstAdmins[0]!) as { apiKey: string };

  const headers = { authorization: `ApiKey ${apiKey}`, 'content-type': 'application/json' };
  const ask = (backend: BackendProcess, path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${backend.url}/api/v1${path}`, { headers, signal: AbortSignal.timeout(patienceMs), ...init });
  worker.report(backends[0]!.url);
  await worker.beat();
  const sessions: string[] = [];
  for (const name of ['one', 'two']) {
    const made = await ask(backends[0]!, '/sessions', { method: 'POST', body: JSON.stringify({ name }) });
    const { id, sessionId } = ((await made.json()) as { data: { id?: string; sessionId?: string } }).data;
    sessions.push((id ?? sessionId)!);
    await ask(backends[0]!, `/sessions/${name}/connect`, { method: 'POST' });
    await worker.link(sessions.at(-1)!, `+551198888777${sessions.length}`);
  }

  const refusals: Attempt[] = [];
  const accepted = new Map<string, string>();
  const wanted = { calls: 0 };
  const taken = { events: 0 };
  const keys: string[] = [];
  let stopping = false;
  /** The backends are gone: callers that still wait for a reply give up. */
  let closed = false;

  /** One call, repeated under its key until an answer counts, as the guide asks of clients. */
  async function sendOne(turn: number): Promise<void> {
    const key = randomUUID();
    wanted.calls += 1;
    for (let attempt = turn; !closed; attempt += 1) {
      const backend = backends[attempt % backends.length]!;
      const body = JSON.stringify({
        sessionId: ['one', 'two'][turn % 2],
        recipient: ana,
        message: key,
        async: true,
        queueIfOffline: true,
      });
      const answer = await ask(backend, '/messages/send-text', {
        method: 'POST',
        body,
        headers: { ...headers, 'idempotency-key': key },
      }).catch(() => null);
      if (answer?.ok) {
        accepted.set(key, ((await answer.json()) as { data: { id: string } }).data.id);
        return;
      }
      if (answer)
        refusals.push({ status: answer.status, retryAfter: answer.headers.get('retry-after'), body: await answer.text() });
      await sleep(200);
    }
  }
  const client = async (turn: number): Promise<void> => {
    while (!stopping) {
      await sendOne(turn);
      await sleep(100);
    }
  };

  /** The worker's half: what arrives is handed over until it is acknowledged, to whichever backend answers. */
  async function handOver(): Promise<void> {
    let pending: OutletEvent[] = [];
    for (let turn = 0; !closed && (!stopping || pending.length > 0); turn += 1) {
      if (!stopping)
        for (const sessionId of sessions) {
          const message = observed('hello', {});
          keys.push(message.key);
          pending.push(worker.queue(sessionId, 'message.observed', { message, origin: 'live' }));
        }
      const backend = backends[turn % backends.length]!;
      const reply = await internal(backend, 'events', {
        workerId: worker.workerId,
        bootId: 'boot-1',
        events: pending.slice(0, mostTogether),
      });
      if (reply) {
        const before = pending.length;
        pending = pending.filter(({ cursor }) => cursor > (reply['ackCursor'] as number));
        taken.events += before - pending.length;
        if ((reply['refused'] as unknown[]).length > 0)
          throw new Error(`Events were refused: ${JSON.stringify(reply['refused'])}`);
      }
      await sleep(100);
    }
  }
  async function beat(): Promise<void> {
    for (let turn = 0; !stopping; turn += 1) {
      worker.report(backends[turn % backends.length]!.url);
      await Promise.race([worker.beat({ obey: false }).catch(() => undefined), sleep(workerPatienceMs)]);
      await sleep(400);
    }
  }
  async function internal(backend: BackendProcess, path: string, body: unknown): Promise<Record<string, unknown> | null> {
    const answer = await fetch(`${backend.url}/internal/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': serviceKey },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(workerPatienceMs),
    }).catch(() => null);
    if (!answer) return null;
    if (answer.ok) return ((await answer.json()) as { data: Record<string, unknown> }).data;
    refusals.push({ status: answer.status, retryAfter: answer.headers.get('retry-after'), body: await answer.text() });
    return null;
  }
  let failure: unknown = null;
  const load = [...Array.from({ length: 6 }, (_, turn) => client(turn)), handOver(), beat()].map((part) =>
    part.catch((error: unknown) => void (failure = error)),
  );

  /** A fresh call is accepted by each of these backends, and what arrives is taken in. Gives how long that took. */
  async function flows(among: readonly BackendProcess[] = backends): Promise<number> {
    const started = performance.now();
    const before = taken.events;
    await Promise.all([
      ...among.map((backend) =>
        eventually(
          'a fresh call to be accepted',
          async () => {
            const body = JSON.stringify({
              sessionId: 'one',
              recipient: ana,
              message: 'probe',
              async: true,
              queueIfOffline: true,
            });
            const key = randomUUID();
            const signal = AbortSignal.timeout(6_000);
            const init = { method: 'POST', body, headers: { ...headers, 'idempotency-key': key }, signal };
            return (await ask(backend, '/messages/send-text', init).catch(() => null))?.ok;
          },
          againMs,
        ),
      ),
      eventually('arrivals to be taken in', async () => taken.events > before, againMs),
    ]);
    return performance.now() - started;
  }

  /** Ends the load, waits until all has left, and compares. */
  async function judge() {
    stopping = true;
    await Promise.all(load);
    if (failure) throw failure as Error;
    const open = (): Promise<{ id: string; status: string }[]> =>
      server.query(
        database,
        `SELECT id, status, "sessionId", "reasonCode", "leaseOwner", "leaseExpiresAt" - EXTRACT(EPOCH FROM now()) * 1000 AS lease, attempts FROM messages WHERE direction = 'outbound' AND status NOT IN ('sent', 'delivered', 'read')`,
      );
    await eventually('all messages to be sent', async () => (await open()).length === 0, 75_000).catch(() => undefined);
    const stuck = await open();
    const rows = await server.query<{ id: string; direction: string; text: string; whatsappKey: string }>(
      database,
      'SELECT id, direction, text, "whatsappKey" FROM messages',
    );
    const leftBy = new Map<string, number>();
    for (const { messageId } of worker.left) leftBy.set(messageId, (leftBy.get(messageId) ?? 0) + 1);
    const outbound = rows.filter(({ direction, text }) => direction === 'outbound' && text !== 'probe');
    const inbound = rows.filter(({ direction }) => direction === 'inbound').map(({ whatsappKey }) => whatsappKey);
    return {
      calls: wanted.calls,
      lost:
        [...accepted.values()].filter((id) => leftBy.get(id) !== 1).length + keys.filter((key) => !inbound.includes(key)).length,
      doubled:
        [...leftBy.values()].filter((times) => times > 1).length +
        (outbound.length - new Set(outbound.map(({ text }) => text)).size) +
        (inbound.length - new Set(inbound).size),
      stuck,
      unheard: outbound.length - accepted.size,
    };
  }

  return {
    server,
    database,
    backends,
    lines,
    output,
    firstAdmins,
    refusals,
    flows,
    judge,
    async close() {
      stopping = closed = true;
      for (const backend of backends) {
        if (backend.isUp()) backend.signal('SIGCONT');
        await backend.end('SIGKILL');
        await backend.removeData();
      }
      await Promise.all(load);
      for (const line of lines) await line.close();
      await worker.close();
    },
  };
}
