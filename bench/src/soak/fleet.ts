import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSimulator } from '@chasqui/simulator';
import { ownDatabase } from '../database.js';
import { openFaultProxy, type FaultProxy } from '../fault-proxy.js';
import { freePort } from '../ports.js';
import { findServerPrograms, startPostgresServer, type PostgresServer } from '../postgres-server.js';
import { createProcesses, environment, eventually, type Answer } from '../stack.js';

export type DatabaseKind = 'sqlite' | 'postgres';

/** One process of the fleet; it is restarted whenever it ends. */
export interface Member {
  name: string;
  part: 'backend' | 'worker';
  pid(): number;
  isUp(): boolean;
  log(): string;
}

export interface Fleet {
  database: DatabaseKind;
  /** The administrator's URL of the PostgreSQL database; null on SQLite. */
  databaseUrl: string | null;
  /** The PostgreSQL server of this fleet alone. Null on SQLite, and where PostgreSQL's programs are not installed: then the shared server is used. */
  server: PostgresServer | null;
  simulator: Awaited<ReturnType<typeof startSimulator>>;
  members: Member[];
  /** Between each backend and PostgreSQL; empty on SQLite. */
  lines: FaultProxy[];
  /** Between the backends and each worker: one in front of the worker, one in front of the backends for that worker. */
  links: FaultProxy[];
  /** The address that clients call; it balances over the backends that accept connections. */
  url: string;
  api<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer<T>>;
  headers(): Record<string, string>;
  restarts(): number;
  close(): Promise<void>;
}

export const admin = { email: 'soak@example.com', password: 'correct horse battery staple' };
/** After this time without a reply a call counts as lost, and the client repeats it. */
export const clientTimeoutMs = 8_000;

const settings = {
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '1',
  PROBE_SECONDS: '2',
  UNCERTAIN_GRACE_MS: '2000',
  SEND_DEADLINE_MS: '8000',
  SEND_WAIT_MS: '3000',
  MESSAGE_RETRY_INTERVAL: '0.05',
  LEASE_SECONDS: '15',
  LOG_LEVEL: 'info',
  EGRESS_ALLOW: '127.0.0.1/32',
  // As by default for the first retry, and then often enough that everything is delivered soon after the last fault.
  WEBHOOK_RETRY_DELAYS: [200, ...Array.from({ length: 60 }, () => 1_000)].join(','),
  PANEL_ENABLED: 'false',
  ADMIN_EMAIL: admin.email,
  ADMIN_PASSWORD: admin.password,
};

/** `backends` and `workers` as built processes, on one database, behind a balancer; each process that dies is restarted. */
export async function openFleet(
  database: DatabaseKind,
  backends: number,
  workers: number,
  more: Record<string, string> = {},
): Promise<Fleet> {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-soak-'));
  const simulator = await startSimulator({});
  const own = database === 'postgres' ? await openDatabase() : null;
  const lines: FaultProxy[] = [];
  const links: FaultProxy[] = [];
  const closing: (() => Promise<void>)[] = [];
  let ended = false;
  let restarts = 0;

  const ports = { backend: await portsOf(backends), worker: await portsOf(workers) };
  const balancer = await openBalancer(ports.backend);
  for (const port of ports.worker) links.push(await openFaultProxy(port));
  const workerUrls = links.map(({ url }) => url).join(',');
  const made: { member: Member; start: () => Promise<void>; end: () => Promise<void>; key: () => string }[] = [];

  async function add(part: Member['part'], index: number): Promise<void> {
    const port = ports[part][index]!;
    const line = own && part === 'backend' ? await openFaultProxy(Number(new URL(own.url).port)) : null;
    if (line) lines.push(line);
    const toBackends = part === 'worker' ? await openFaultProxy(Number(new URL(balancer.url).port)) : null;
    if (toBackends) links.push(toBackends);
    const addresses = {
      BACKEND_URL: toBackends?.url ?? balancer.url,
      ...(part === 'worker' ? { WORKER_URL: links[index]!.url } : {}),
    };
    const env = {
      ...environment({
        // Backends share secrets and files, as replicas do; each worker has a disk of its own.
        dataDir: part === 'backend' ? dataDir : join(dataDir, `worker-${index}`),
        port: part === 'backend' ? port : ports.backend[0]!,
        workerPort: part === 'worker' ? port : ports.worker[0]!,
        browserArgs: simulator.browserArgs,
        options: {
          settings: { ...settings, ...more, WORKER_URLS: workerUrls, ...addresses },
          ...(own ? { databaseUrl: line ? throughProxy(own.url, line.url) : own.url } : {}),
        },
      }),
    };
    const url = `http://127.0.0.1:${port}`;
    const processes = createProcesses(env, { backend: url, worker: url });
    const member: Member = {
      name: `${part} ${index + 1}`,
      part,
      pid: () => processes.pid(part),
      isUp: () => processes.isUp(part),
      log: () => processes.log(part),
    };
    made.push({
      member,
      start: () => processes.start(part),
      end: () => processes.end(part, 'SIGTERM'),
      key: processes.key,
    });
    await processes.start(part);
  }

  async function watch(): Promise<void> {
    for (; !ended; await sleep(50))
      for (const { member, start } of made)
        if (!ended && !member.isUp()) {
          restarts += 1;
          await start().catch(() => undefined); // Killed during its start: the next round restarts it.
        }
  }

  async function close(): Promise<void> {
    ended = true;
    await Promise.all(closing.map((end) => end()));
    await Promise.all(made.filter(({ member }) => member.part === 'worker').map(({ end }) => end()));
    await Promise.all(made.map(({ end }) => end()));
    balancer.close();
    await Promise.all([...lines, ...links].map((line) => line.close()));
    await simulator.close();
    await own?.close();
    await rm(dataDir, { recursive: true, force: true });
  }

  const headers = (): Record<string, string> => ({ authorization: `ApiKey ${made[0]!.key()}` });
  try {
    for (let index = 0; index < backends; index += 1) await add('backend', index);
    for (let index = 0; index < workers; index += 1) await add('worker', index);
    const watching = watch();
    closing.push(() => watching);
    return {
      database,
      databaseUrl: own?.url ?? null,
      server: own?.server ?? null,
      simulator,
      members: made.map(({ member }) => member),
      lines,
      links,
      url: balancer.url,
      headers,
      restarts: () => restarts,
      close,
      async api<T>(method: string, path: string, body?: unknown, more: Record<string, string> = {}): Promise<Answer<T>> {
        const answer = await fetch(`${balancer.url}/api/v1${path}`, {
          method,
          signal: AbortSignal.timeout(clientTimeoutMs),
          headers: { ...headers(), ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...more },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Answer<T>['body'] };
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const databaseName = 'soak';

async function openDatabase(): Promise<{ url: string; server: PostgresServer | null; close: () => Promise<void> }> {
  const programs = findServerPrograms();
  if (!programs) {
    const shared = await ownDatabase();
    return { url: shared.url, server: null, close: shared.drop };
  }
  const server = await startPostgresServer(programs);
  await server.query('postgres', `CREATE DATABASE ${databaseName}`);
  return { url: server.url(databaseName), server, close: () => server.close() };
}

/** How long a step of linking a phone may take. A browser that starts on a loaded machine takes minutes; nothing is measured here. */
const linkWithinMs = 240_000;

/** Links one phone to a new session. */
export async function linkPhone(fleet: Fleet, name: string, phone: string): Promise<void> {
  const { client } = fleet.simulator;
  await client.createAccount({ phone, name });
  // On a loaded machine the first browser may take longer than a client waits: asked for again, it is the same session.
  const done = (path: string, body: object) => async (): Promise<boolean> => {
    const answer = await fleet.api('POST', path, body).catch(() => null);
    return answer !== null && (answer.status < 300 || answer.body.error?.code === 'ALREADY_EXISTS');
  };
  await eventually(`${name} to be made`, done('/sessions', { name }), linkWithinMs);
  await eventually(`${name} to be started`, done(`/sessions/${name}/connect`, {}), linkWithinMs);
  const qr = await eventually(
    'a code',
    async () => (await fleet.api<{ qrText: string | null }>('GET', `/sessions/${name}/qr`).catch(() => null))?.body.data?.qrText,
    linkWithinMs,
  );
  await client.scan({ qr, phone });
  await eventually(`${name} to be connected`, () => isConnected(fleet, name), linkWithinMs);
}

export async function isConnected(fleet: Fleet, name: string): Promise<boolean> {
  const answer = await fleet.api<{ isConnected: boolean; stale: boolean }>('GET', `/sessions/${name}/status`).catch(() => null);
  return answer?.body.data?.isConnected === true && !answer.body.data.stale;
}

async function portsOf(count: number): Promise<number[]> {
  const ports: number[] = [];
  for (let index = 0; index < count; index += 1) ports.push(await freePort());
  return ports;
}

function throughProxy(databaseUrl: string, proxyUrl: string): string {
  const url = new URL(databaseUrl);
  url.port = new URL(proxyUrl).port;
  return url.href;
}

/** A TCP balancer: each connection goes to the next port, or to another one if nothing listens there. */
async function openBalancer(ports: readonly number[]): Promise<{ url: string; close: () => void }> {
  const open = new Set<Socket>();
  let turn = 0;
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const server = createServer((caller) => {
    track(caller);
    caller.pause();
    turn += 1;
    const attempt = (tried: number): void => {
      if (tried === ports.length || caller.destroyed) return void caller.destroy();
      const target = connect(ports[(turn + tried) % ports.length]!, '127.0.0.1');
      const refused = (): void => attempt(tried + 1);
      target.once('error', refused);
      target.once('connect', () => {
        target.off('error', refused);
        track(target);
        caller.pipe(target);
        target.pipe(caller);
        caller.on('close', () => target.destroy());
        target.on('close', () => caller.destroy());
      });
    };
    attempt(0);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
