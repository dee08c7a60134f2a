import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { FailOrder } from '@chasqui/shared/fail-point';
import { Client } from 'pg';
import { freePort } from '../../bench/src/ports.js';
import { databases, ownDatabase, password, serviceKey, type OwnDatabase } from './support/backend.js';
import { eventually } from './support/eventually.js';

/** A built backend that is killed after the effect of a call with an `Idempotency-Key` and before its reply is stored. */

const program = resolve(import.meta.dirname, '../dist/main.js');

interface Reply {
  status: number;
  replayed: string | null;
  body: { data?: unknown; error?: { code: string; details: unknown } };
}

describe.each(await databases())(
  'a backend that is killed before the reply to an Idempotency-Key is stored, on %s',
  (database) => {
    let child: ChildProcess | null = null;
    let own: OwnDatabase | null = null;
    let dataDir = '';
    let url = '';
    let key = '';
    const orders = () => join(dataDir, 'order.json');

    async function start(): Promise<void> {
      const port = url ? new URL(url).port : String(await freePort());
      url = `http://127.0.0.1:${port}`;
      const env = {
        PATH: process.env['PATH'],
        DATA_DIR: dataDir,
        PORT: port,
        SERVICE_API_KEY: serviceKey,
        ADMIN_PASSWORD: password,
        WORKER_URLS: 'http://127.0.0.1:9',
        PANEL_ENABLED: 'false',
        LOG_LEVEL: 'warn',
        CHASQUI_FAIL_POINTS: orders(),
        ...(own ? { DATABASE_URL: own.url } : {}),
      };
      child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        key = /"apiKey":"([^"]+)"/.exec(text)?.[1] ?? key;
      });
      await eventually('the backend to be ready', async () => (await fetch(`${url}/health/ready`).catch(() => null))?.ok, 60_000);
    }

    async function call(method: string, path: string, idempotencyKey?: string, body?: object): Promise<Reply> {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          authorization: `ApiKey ${key}`,
          ...(body ? { 'content-type': 'application/json' } : {}),
          ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const replayed = response.headers.get('idempotency-replayed');
      return { status: response.status, replayed, body: (await response.json()) as Reply['body'] };
    }

    afterEach(async () => {
      if (child && child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      await own?.drop();
      await rm(dataDir, { recursive: true, force: true });
    });

    test('a repeat gets an error that the effect is unknown and never repeats it; a new key is a new call', async () => {
      dataDir = await mkdtemp(join(tmpdir(), 'chasqui-calls-'));
      own = database === 'postgres' ? await ownDatabase() : null;
      await start();
      const names = async () => ((await call('GET', '/sessions')).body.data as { name: string }[]).map(({ name }) => name).sort();
      const calm = await call('POST', '/sessions', 'calm', { name: 'calm' });
      const order: FailOrder = { id: 'call', point: 'call.done', pass: 1, victims: ['self'] };
      writeFileSync(orders(), JSON.stringify(order));
      const killed = once(child!, 'exit');
      await expect(call('POST', '/sessions', 'cut', { name: 'cut' })).rejects.toThrow();
      expect([(await killed)[1], existsSync(`${orders()}.hit`)]).toEqual(['SIGKILL', true]);

      await start();
      expect(await names()).toEqual(['calm', 'cut']);
      // What was stored before is still replayed.
      const replayed = await call('POST', '/sessions', 'calm', { name: 'calm' });
      expect(replayed).toEqual({ ...calm, replayed: 'true' });
      if (own) {
        // Another backend might still run the call; the record is made older instead of waiting until none can.
        const early = await call('POST', '/sessions', 'cut', { name: 'cut' });
        expect([early.status, early.body.error?.code]).toEqual([409, 'IDEMPOTENCY_IN_PROGRESS']);
        const client = new Client({ connectionString: own.url });
        await client.connect();
        const sql = `UPDATE idempotency_records SET "createdAt" = "createdAt" - 180000 WHERE key = 'cut'`;
        const aged = await client.query(sql).finally(() => client.end());
        expect(aged.rowCount).toBe(1);
      }
      for (let repeat = 0; repeat < 2; repeat += 1) {
        const { status, body } = await call('POST', '/sessions', 'cut', { name: 'cut' });
        expect([status, body.error?.code, body.error?.details]).toEqual([504, 'OPERATION_TIMEOUT', { effect: 'unknown' }]);
      }
      expect((await call('POST', '/sessions', 'cut', { name: 'another' })).body.error?.code).toBe('IDEMPOTENCY_KEY_REUSED');
      expect((await call('POST', '/sessions', 'new', { name: 'another' })).status).toBe(201);
      expect(await names()).toEqual(['another', 'calm', 'cut']);
    }, 120_000);
  },
);
