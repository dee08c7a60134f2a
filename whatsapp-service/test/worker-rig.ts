import { afterEach, beforeEach } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Heartbeat, HeartbeatReply, OutletEvent } from '@chasqui/shared';
import { startWorker, type Worker } from '../src/app/app.js';
import { readConfig } from '../src/config.js';
import { until } from './engine/harness.js';
import { createMemoryEngine, createTestLog, identity, type MemoryEngine } from './memory-engine.js';

/** The real worker over HTTP, its own SQLite file, a small backend; the in-memory engine in place of browsers. */

export const key = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-worker-test';
export const reservedId = '3EB0AAAAAAAAAAAAAAAAAA';
/** What the tests of one file share. Renewed before each test. */
export interface WorkerRig {
  dir: string;
  engine: MemoryEngine;
  worker: Worker;
  backend: Server;
  events: OutletEvent[];
  beats: Heartbeat[];
  /** The backend's answer to a heartbeat. One that throws breaks the connection. */
  reply: (beat: Heartbeat) => HeartbeatReply;
  log: ReturnType<typeof createTestLog>;
}
export const it = {} as WorkerRig;

/** Says of every session that it may go on as it is. */
export const keepAll = ({ sessions }: Heartbeat): HeartbeatReply => ({
  leases: sessions.map(({ sessionId, epoch }) => ({ sessionId, epoch, expiresAt: new Date().toISOString() })),
  desired: [],
  revoke: [],
});

/** Starts the backend that the worker calls. Returns its address. */
export async function startBackend(): Promise<string> {
  it.backend = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { events: OutletEvent[] } & Heartbeat;
      let data: unknown;
      if (req.headers['x-api-key'] !== key) throw new Error('The worker came without its key.');
      if (req.url === '/internal/events') {
        it.events.push(...body.events);
        data = { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [] };
      } else {
        it.beats.push(body);
        try {
          data = it.reply(body);
        } catch {
          return void req.socket.destroy();
        }
      }
      res.setHeader('content-type', 'application/json').end(JSON.stringify({ success: true, data, requestId: 'r' }));
    });
  });
  await new Promise<void>((resolve) => it.backend.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`;
}

/** Starts the worker on the folder of the rig. */
export async function start(backendUrl: string, more: Record<string, string> = {}): Promise<void> {
  const env = {
    SERVICE_API_KEY: key,
    DATA_DIR: it.dir,
    BACKEND_URL: backendUrl,
    HEARTBEAT_SECONDS: '0.2',
    MAX_FILE_SIZE: '2048',
    MAX_SESSIONS: '2',
    ...more,
  };
  it.worker = await startWorker({ ...readConfig(env, it.dir), port: 0 }, { engine: it.engine, log: it.log });
}

/** A worker for each test of the file, with a backend that answers it. Call it once in a test file. */
export function useWorker(): void {
  beforeEach(async () => {
    it.dir = mkdtempSync(join(tmpdir(), 'chasqui-worker-'));
    it.engine = createMemoryEngine();
    it.log = createTestLog();
    it.events = [];
    it.beats = [];
    it.reply = keepAll;
    await start(await startBackend());
  });
  afterEach(async () => {
    await it.worker.close();
    it.backend.closeAllConnections();
    await new Promise((resolve) => it.backend.close(resolve));
    rmSync(it.dir, { recursive: true, force: true });
  });
}

export interface Answer {
  status: number;
  headers: Headers;
  body: {
    success: boolean;
    data: Record<string, unknown>;
    error: { code: string; message: string; details: Record<string, unknown> };
    requestId: string;
  };
}
export async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = { 'X-API-Key': key },
): Promise<Answer> {
  const isForm = body instanceof FormData;
  const json: Record<string, string> = body !== undefined && !isForm ? { 'content-type': 'application/json' } : {};
  const payload = (isForm || typeof body === 'string' ? body : JSON.stringify(body)) as string;
  const response = await fetch(it.worker.url + path, {
    method,
    headers: { ...json, ...headers },
    ...(body === undefined ? {} : { body: payload }),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Answer['body'] };
}
export const command = (more: object = {}) => ({
  epoch: 1,
  reservedId,
  recipient: '5511999990001@c.us',
  content: { type: 'text', message: 'hello' },
  options: {},
  deadlineMs: 5_000,
  ...more,
});
export const put = (id = 'm1', body: unknown = command()) => call('PUT', `/api/session/s1/messages/${id}`, body);
export const status = async (id = 's1'): Promise<Record<string, unknown>> =>
  (await call('GET', `/api/session/status/${id}`)).body.data;

export async function connect(epoch = 1): Promise<void> {
  const before = it.engine.launches;
  await call('POST', '/api/session/init', { sessionId: 's1', epoch });
  await until('a browser', () => it.engine.launches > before && it.engine.last());
  it.engine.last().signal({ type: 'authenticated' });
  it.engine.last().signal({ type: 'ready', identity });
  await until('connected', async () => (await status())['status'] === 'connected');
}
