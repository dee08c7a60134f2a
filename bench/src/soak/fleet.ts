import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSimulator } from '@chasqui/simulator';
import { ownDatabase } from '../database.js';
import { openFaultProxy, type FaultProxy } from '../fault-proxy.js';
import { freePort } from '../ports.js';
import { findServerPrograms, startPostgresServer, type PostgresServer } from '../postgres-server.js';
import { createProcesses, environment, eventually, type Answer } from '../stack.js';
import { openBalancer, type Balancer } from './balancer.js';

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

/** What all members share. */
interface Site {
  dataDir: string;
  simulator: Fleet['simulator'];
  /** The fleet's PostgreSQL; null on SQLite. */
  postgres: Awaited<ReturnType<typeof openPostgres>> | null;
  lines: FaultProxy[];
  links: FaultProxy[];
  ports: Record<Member['part'], number[]>;
  balancer: Balancer;
  settings: Record<string, string>;
  made: Started[];
}

/** A member with what only the fleet may do to it. */
interface Started {
  member: Member;
  start: () => Promise<void>;
  end: () => Promise<void>;
  /** The service key, which the backends generate. */
  key: () => string;
}

/** Starts `backends` and `workers` as built processes, on one database, behind a balancer. Each process that dies is restarted. */
export async function openFleet(
  database: DatabaseKind,
  backends: number,
  workers: number,
  more: Record<string, string> = {},
): Promise<Fleet> {
  const site = await openSite(database, backends, workers, more);
  const { postgres, simulator, made, lines, links, balancer } = site;
  let watching: Watch | null = null;
  const close = async (): Promise<void> => {
    await watching?.stop();
    await closeSite(site);
  };
  const headers = (): Record<string, string> => ({ authorization: `ApiKey ${made[0]!.key()}` });
  try {
    for (let index = 0; index < backends; index += 1) await addMember(site, 'backend', index);
    for (let index = 0; index < workers; index += 1) await addMember(site, 'worker', index);
    watching = restartDead(made);
    const { restarts } = watching;
    return {
      database,
      databaseUrl: postgres?.url ?? null,
      server: postgres?.server ?? null,
      simulator,
      members: made.map(({ member }) => member),
      lines,
      links,
      url: balancer.url,
      headers,
      restarts,
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

async function openSite(database: DatabaseKind, backends: number, workers: number, more: Record<string, string>): Promise<Site> {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-soak-'));
  const simulator = await startSimulator({});
  const postgres = database === 'postgres' ? await openPostgres() : null;
  const ports = { backend: await portsOf(backends), worker: await portsOf(workers) };
  const balancer = await openBalancer(ports.backend);
  const links: FaultProxy[] = [];
  for (const port of ports.worker) links.push(await openFaultProxy(port));
  const workerUrls = links.map(({ url }) => url).join(',');
  return {
    dataDir,
    simulator,
    postgres,
    lines: [],
    links,
    ports,
    balancer,
    settings: { ...settings, ...more, WORKER_URLS: workerUrls },
    made: [],
  };
}

async function closeSite({ dataDir, simulator, postgres, lines, links, balancer, made }: Site): Promise<void> {
  await Promise.all(made.filter(({ member }) => member.part === 'worker').map(({ end }) => end()));
  await Promise.all(made.map(({ end }) => end()));
  balancer.close();
  await Promise.all([...lines, ...links].map((line) => line.close()));
  await simulator.close();
  await postgres?.close();
  await rm(dataDir, { recursive: true, force: true });
}

/** Starts one process, with its proxies. It is in `made` before it is up, so that a failed start is closed too. */
async function addMember(site: Site, part: Member['part'], index: number): Promise<void> {
  const { dataDir, simulator, postgres, ports, balancer, lines, links, made } = site;
  const port = ports[part][index]!;
  const line = postgres && part === 'backend' ? await openFaultProxy(Number(new URL(postgres.url).port)) : null;
  if (line) lines.push(line);
  const toBackends = part === 'worker' ? await openFaultProxy(Number(new URL(balancer.url).port)) : null;
  if (toBackends) links.push(toBackends);
  const addresses = {
    BACKEND_URL: toBackends?.url ?? balancer.url,
    ...(part === 'worker' ? { WORKER_URL: links[index]!.url } : {}),
  };
  const env = environment({
    // Backends share secrets and files, as replicas do; each worker has its own disk.
    dataDir: part === 'backend' ? dataDir : join(dataDir, `worker-${index}`),
    port: part === 'backend' ? port : ports.backend[0]!,
    workerPort: part === 'worker' ? port : ports.worker[0]!,
    browserArgs: simulator.browserArgs,
    options: {
      settings: { ...site.settings, ...addresses },
      ...(postgres ? { databaseUrl: line ? throughProxy(postgres.url, line.url) : postgres.url } : {}),
    },
  });
  const url = `http://127.0.0.1:${port}`;
  const processes = createProcesses(env, { backend: url, worker: url });
  const member: Member = {
    name: `${part} ${index + 1}`,
    part,
    pid: () => processes.pid(part),
    isUp: () => processes.isUp(part),
    log: () => processes.log(part),
  };
  made.push({ member, start: () => processes.start(part), end: () => processes.end(part, 'SIGTERM'), key: processes.key });
  await processes.start(part);
}

interface Watch {
  restarts: () => number;
  /** Resolves when no member will be restarted any more. */
  stop: () => Promise<void>;
}

function restartDead(made: readonly Started[]): Watch {
  let isStopped = false;
  let restarts = 0;
  const watching = (async () => {
    for (; !isStopped; await sleep(50))
      for (const { member, start } of made)
        if (!isStopped && !member.isUp()) {
          restarts += 1;
          await start().catch(() => undefined); // Killed during its start: the next round restarts it.
        }
  })();
  return {
    restarts: () => restarts,
    stop: () => {
      isStopped = true;
      return watching;
    },
  };
}

const databaseName = 'soak';

async function openPostgres(): Promise<{ url: string; server: PostgresServer | null; close: () => Promise<void> }> {
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
