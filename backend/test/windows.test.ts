import { describe, expect, test } from '@jest/globals';
import { createClient } from '@redis/client';
import { randomUUID } from 'node:crypto';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { systemClock } from '../src/lib/clock.js';
import type { Log } from '../src/lib/log.js';
import { createSharedWindows } from '../src/lib/shared-windows.js';
import { createLocalWindows, slotsOf } from '../src/lib/windows.js';
import { hasRedis, redisUrl } from './support/backend.js';
import { eventually } from './support/eventually.js';

const quiet = (): void => undefined;
const silent: Log = { error: quiet, warn: quiet, info: quiet, debug: quiet, isDebug: false };

describe('a window in memory', () => {
  test('whatever comes when: never more than the limit within the window, and a slot later there is room again', async () => {
    const gaps = fc.array(fc.nat({ max: 400 }), { minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(
        gaps,
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 50, max: 3_000 }),
        async (steps, limit, windowMs) => {
          let now = 1_700_000_000_000;
          const windows = createLocalWindows({ now: () => new Date(now) });
          const { slotMs } = slotsOf(windowMs);
          const passed: number[] = [];
          for (const step of steps) {
            now += step;
            const within = (ms: number): number => passed.filter((at) => at > now - ms).length;
            const { isAllowed, remaining, resetMs } = await windows.take('x', limit, windowMs);
            // Exact to one slot: not one too many within the window, and no refusal for what is older than window and slot.
            if (isAllowed) expect(within(windowMs)).toBeLessThan(limit);
            else expect(within(windowMs + 2 * slotMs)).toBeGreaterThanOrEqual(limit);
            if (isAllowed) passed.push(now);
            else {
              expect(remaining).toBe(0);
              now += resetMs;
              expect((await windows.peek('x', limit, windowMs)).isAllowed).toBe(true);
            }
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('a flood of names does not fill the memory, and pushes out the ones that were idle longest', async () => {
    let now = 0;
    const windows = createLocalWindows({ now: () => new Date(now) }, 1_000);
    const left = async (name: string): Promise<number> => (await windows.peek(name, 5, 60_000)).remaining;
    for (let i = 0; i < 900; i += 1) await windows.take(`old ${i}`, 5, 60_000);
    await windows.take('old 0', 5, 60_000);
    now = 10;
    for (let i = 0; i < 150; i += 1) await windows.take(`new ${i}`, 5, 60_000);
    expect([await left('old 1'), await left('old 0'), await left('new 149')]).toEqual([5, 3, 4]);
  });
});

const isThere = await hasRedis();
if (!isThere) process.stderr.write('SKIPPED: the tests of shared windows, because nothing answers on 127.0.0.1:6379.\n');

(isThere ? describe : describe.skip)('windows shared through Redis', () => {
  const open = async (url = redisUrl) => {
    const windows = createSharedWindows({ url, clock: systemClock, log: silent });
    await eventually('Redis to answer', () => Promise.resolve(windows.isShared()));
    return windows;
  };
  const clear = async (name: string): Promise<void> => {
    const client = await createClient({ url: redisUrl }).connect();
    await client.del(`chasqui:window:${name}`);
    client.destroy();
  };

  test('of fifty at once over two backends exactly as many pass as there is room for', async () => {
    const name = `test-${randomUUID()}`;
    const [one, other] = [await open(), await open()];
    const taken = await Promise.all(Array.from({ length: 50 }, (_, n) => (n % 2 ? one : other).take(name, 20, 60_000)));
    expect(taken.filter(({ isAllowed }) => isAllowed)).toHaveLength(20);
    const refused = await one.take(name, 20, 60_000);
    expect(refused).toMatchObject({ isAllowed: false, remaining: 0 });
    expect(refused.resetMs).toBeGreaterThan(55_000);
    expect(refused.resetMs).toBeLessThanOrEqual(62_000);
    await Promise.all([one.close(), other.close(), clear(name)]);
  });

  test('there is room again after the window, by the time of Redis', async () => {
    const name = `test-${randomUUID()}`;
    const windows = await open();
    await windows.take(name, 1, 300);
    const { isAllowed, resetMs } = await windows.take(name, 1, 300);
    expect([isAllowed, resetMs <= 315]).toEqual([false, true]);
    await eventually('room', async () => (await windows.take(name, 1, 300)).isAllowed, 2_000);
    await Promise.all([windows.close(), clear(name)]);
  });

  test('lost, each counts for itself at once and what it counted before still holds; back, they share again', async () => {
    const name = `test-${randomUUID()}`;
    const lines = new Set<Socket>();
    let isCut = false;
    const proxy = createServer((socket) => {
      if (isCut) return void socket.destroy();
      const inner = connect(6379, '127.0.0.1');
      for (const line of [socket, inner]) lines.add(line.on('error', () => undefined));
      socket.pipe(inner).pipe(socket);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => proxy.once('listening', resolve));
    const windows = await open(`redis://127.0.0.1:${(proxy.address() as AddressInfo).port}/9`);
    const other = await open();
    const allowed = async (): Promise<boolean> => (await windows.take(name, 4, 60_000)).isAllowed;
    expect([await allowed(), await allowed()]).toEqual([true, true]);
    expect((await other.take(name, 4, 60_000)).isAllowed).toBe(true);
    isCut = true;
    for (const line of lines) line.destroy();
    await eventually('the loss', () => Promise.resolve(!windows.isShared()));
    expect([await allowed(), await allowed(), await allowed()]).toEqual([true, true, false]);
    isCut = false;
    await eventually('Redis to be back', () => Promise.resolve(windows.isShared()));
    expect((await windows.peek(name, 4, 60_000)).remaining).toBe(1);
    await Promise.all([windows.close(), other.close(), clear(name)]);
    proxy.close();
  });
});
