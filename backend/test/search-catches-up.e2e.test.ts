import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { freePort } from '../../bench/src/ports.js';
import { openDatabase } from '../src/db/database.js';
import { insertRows, readRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { createMessage, Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, ownDatabase, password, serviceKey } from './support/backend.js';
import { eventually } from './support/eventually.js';

/** Messages that were written while no backend ran are indexed afterwards, also by a backend that is killed again and again while it does so. */

const program = resolve(import.meta.dirname, '../dist/main.js');
const total = 3_000;
const kills = 5;
const filler = 'a text of the length that a message often has, with Größe, привет, 你好 and a number of its own: ';

describe.each(await databases())('on %s', (database) => {
  test('the search is complete at every start, and the index at the end', async () => {
    const own = database === 'postgres' ? await ownDatabase() : null;
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-search-'));
    const port = await freePort();
    let child: ChildProcess | null = null;
    let key = '';
    const start = async (): Promise<void> => {
      const env = {
        PATH: process.env['PATH'],
        DATA_DIR: dataDir,
        PORT: String(port),
        SERVICE_API_KEY: serviceKey,
        ADMIN_PASSWORD: password,
        WORKER_URLS: 'http://127.0.0.1:9',
        LOG_LEVEL: 'warn',
        PANEL_ENABLED: 'false',
        API_KEY_RATE_LIMIT: '0',
        IP_RATE_LIMIT: '0',
        ...(own ? { DATABASE_URL: own.url } : {}),
      };
      child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        key = /"apiKey":"([^"]+)"/.exec(text)?.[1] ?? key;
      });
      const ready = `http://127.0.0.1:${port}/health/ready`;
      await eventually('the backend to be ready', async () => (await fetch(ready).catch(() => null))?.ok);
    };
    const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
      if (!child || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    };
    const call = (path: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${port}/api/v1${path}`, {
        ...init,
        headers: { authorization: `ApiKey ${key}`, 'content-type': 'application/json' },
      });
    const find = async (term: string): Promise<{ texts: string[]; isComplete: unknown }> => {
      const { data, meta } = (await (await call(`/messages/list?search=${encodeURIComponent(term)}`)).json()) as {
        data: { text: string }[];
        meta: { searchComplete: boolean };
      };
      return { texts: data.map(({ text }) => text), isComplete: meta.searchComplete };
    };
    const open = () => openDatabase(own ? { url: own.url } : { file: join(dataDir, 'chasqui.sqlite') });
    const count = async (table: string): Promise<number> => {
      const opened = await open();
      const { rows } = await runStatement<{ n: number | string }>(opened.reader, `SELECT COUNT(*) AS n FROM ${table}`);
      await opened.close();
      return Number(rows[0]!.n);
    };
    try {
      await start();
      await call('/sessions', { method: 'POST', body: JSON.stringify({ name: 'default' }) });
      await end('SIGTERM');
      const opened = await open();
      const [session] = await readRows(opened.reader, Session, '1 = 1', []);
      const begin = Date.now() - 3_600_000;
      const messages = Array.from({ length: total }, (_, number): Message => {
        const at = new Date(begin + number * 10);
        return createMessage({
          id: newId(at.getTime()),
          accountId: session!.accountId,
          sessionId: session!.id,
          whatsappKey: `KEY${number}`,
          direction: 'inbound',
          origin: 'live',
          type: 'text',
          status: 'delivered',
          chatId: '5511999990001@c.us',
          chatType: 'private',
          contact: null,
          fromId: '5511999990001@c.us',
          toId: null,
          mentions: [],
          linkedAccountNumber: 1,
          deliveredAt: at,
          content: { type: 'text', message: `${filler}no${number}.` },
          text: `${filler}no${number}.`,
          createdAt: at,
          timestamp: at,
        });
      });
      await opened.write.run((tx) => insertRows(tx, Message, messages));
      await opened.close();
      expect(await count('search_queue')).toBe(total);

      let left = total;
      let killedInTheMiddle = 0;
      for (let kill = 0; kill < kills; kill += 1) {
        await start();
        await sleep(Math.random() * 150);
        for (const number of [0, 1, 777, total - 1]) {
          const { texts, isComplete } = await find(`ПРИВЕТ, 你好 and a number of its own: no${number}.`);
          expect([number, texts, isComplete]).toEqual([number, [`${filler}no${number}.`], true]);
        }
        await end('SIGKILL');
        const now = await count('search_queue');
        expect(now).toBeLessThanOrEqual(left);
        if (now < left && now > 0) killedInTheMiddle += 1;
        left = now;
      }
      // It would prove nothing if every kill had come before or after the indexing.
      expect(killedInTheMiddle).toBeGreaterThan(0);
      for (; left > 0; left = await count('search_queue')) {
        await start();
        await sleep(3_000);
        await end('SIGTERM');
      }
      await start();
      for (const number of [0, 5, 1_500, total - 1])
        expect((await find(`NO${number}.`)).texts).toEqual([`${filler}no${number}.`]);
      await end('SIGTERM');
      expect(await count('message_grams')).toBe(total);
    } finally {
      await end('SIGKILL');
      await own?.drop();
      await rm(dataDir, { recursive: true, force: true });
    }
  }, 240_000);
});
