import { describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { databases, ownDatabase, password, serviceKey } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { readers, type Reader } from './support/readers.js';
import { freePort } from '../../bench/src/ports.js';

/** A built backend as a process that can be killed, with no worker: messages that wait for one are events enough. */

const program = resolve(import.meta.dirname, '../dist/main.js');
const cuts = 100;
const kills = 3;

interface Events {
  success: boolean;
  data: { cursor: string }[];
  meta: { nextCursor: string };
}

async function createProcess(databaseUrl: string | null) {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-streams-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    PATH: process.env['PATH'],
    DATA_DIR: dataDir,
    PORT: String(port),
    SERVICE_API_KEY: serviceKey,
    ADMIN_PASSWORD: password,
    WORKER_URLS: 'http://127.0.0.1:9',
    LOG_LEVEL: 'warn',
    MAX_QUEUED_PER_SESSION: '1000000',
    ...(databaseUrl ? { DATABASE_URL: databaseUrl } : {}),
  };
  let child: ChildProcess | null = null;
  let key = '';

  async function start(): Promise<void> {
    child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      key = /"apiKey":"([^"]+)"/.exec(text)?.[1] ?? key;
    });
    await eventually('the backend to be ready', async () => (await fetch(`${url}/health/ready`).catch(() => null))?.ok);
  }
  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
  const headers = () => ({ authorization: `ApiKey ${key}`, 'content-type': 'application/json' });
  return {
    url,
    headers,
    start,
    kill: () => end('SIGKILL'),
    post: (path: string, body: unknown) =>
      fetch(`${url}/api/v1${path}`, { method: 'POST', headers: headers(), body: JSON.stringify(body) }),
    events: async (after: string) =>
      (await (await fetch(`${url}/api/v1/events?limit=200&after=${after}`, { headers: headers() })).json()) as Events,
    async close() {
      await end('SIGTERM');
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function firstEvent({ events }: Reader): Promise<void> {
  for (const end = Date.now() + 400; events.length === 0 && Date.now() < end;) await sleep(5);
}

/** Reads through as many torn lines as told; gives every cursor it was told, in the order in which it was told them. */
async function readInPieces(
  read: (after: string) => Promise<Reader>,
  begin: string,
  isDone: () => boolean,
  isOver: () => boolean,
) {
  const seen: string[] = [];
  let cursor = begin;
  const count = { cut: 0, fruitful: 0 };
  while ((count.cut < cuts || !isDone()) && !isOver()) {
    const reader = await read(cursor).catch(() => null);
    if (!reader) {
      await sleep(20);
      continue;
    }
    // On a busy machine the first event comes late: half of the readers wait for it, so that lines are torn behind events too.
    if (Math.random() < 0.5) await Promise.race([firstEvent(reader), sleep(400), reader.ended]);
    await Promise.race([sleep(Math.random() * 80), reader.ended]);
    reader.cut();
    seen.push(...reader.events.map((event) => event.cursor));
    if (reader.events.length > 0) count.fruitful += 1;
    cursor = reader.cursor || cursor;
    count.cut += 1;
  }
  const last = await read(cursor);
  return { seen, count, last };
}

describe.each(await databases())('on %s', (database) => {
  test('streams that are cut a hundred times, by kills of the backend too, resume without a gap or a repeat', async () => {
    const own = database === 'postgres' ? await ownDatabase() : null;
    const backend = await createProcess(own?.url ?? null);
    let isOver = false;
    try {
      await backend.start();
      await backend.post('/sessions', { name: 'default' });
      const begin = (await backend.events('')).meta.nextCursor;
      let killed = 0;
      let written = 0;
      const done = (): boolean => killed === kills;
      const reading = Promise.all(
        Object.values(readers).map((read) =>
          readInPieces(
            (after) => read({ url: backend.url, headers: backend.headers(), after }),
            begin,
            done,
            () => isOver,
          ),
        ),
      );
      reading.catch(() => undefined);
      const writing = (async () => {
        const message = { recipient: '5511999990001', message: 'x', async: true, queueIfOffline: true };
        while (!isOver) {
          const answer = await backend.post('/messages/send-text', message).catch(() => null);
          if (answer?.status === 202) written += 1;
          await sleep(answer ? 2 : 20);
        }
      })();
      for (; killed < kills; killed += 1) {
        await sleep(500 + Math.random() * 700);
        await backend.kill();
        await backend.start();
      }
      const read = await reading;
      isOver = true;
      await writing;

      const wanted: string[] = [];
      for (let after = begin; ;) {
        const page = await backend.events(after);
        if (page.data.length === 0) break;
        wanted.push(...page.data.map(({ cursor }) => cursor));
        after = page.meta.nextCursor;
      }
      for (const { seen, count, last } of read) {
        await eventually('the last event', async () => (last.events.at(-1)?.cursor ?? seen.at(-1)) === wanted.at(-1));
        last.cut();
        expect([...seen, ...last.events.map(({ cursor }) => cursor)]).toEqual(wanted);
        // It would prove nothing if the lines had been torn before anything was told.
        expect([count.cut >= cuts, count.fruitful > cuts / 5]).toEqual([true, true]);
      }
      expect(wanted.length).toBeGreaterThanOrEqual(written);
      expect(written).toBeGreaterThan(50);
    } finally {
      // After a failure too: readers and writer would go on for ever.
      isOver = true;
      await backend.close();
      await own?.drop();
    }
  }, 240_000);
});
