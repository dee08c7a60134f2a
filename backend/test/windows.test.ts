import { describe, expect, test } from '@jest/globals';
import { createClient } from '@redis/client';
import { randomUUID } from 'node:crypto';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { systemClock } from '../src/lib/clock.js';
import type { Log } from '../src/lib/log.js';
import { createSharedWindows } from '../src/lib/shared-windows.js';
import { bucketMs, pruneWindow, totalOf } from '../src/lib/window-state.js';
import { createLocalWindows, type Windows } from '../src/lib/windows.js';
import { hasRedis, redisUrl } from './support/backend.js';
import { eventually } from './support/eventually.js';

/** A proxy before Redis whose connections can be cut, refused and frozen. */
async function startProxy() {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((socket) => {
    if (isCut) return void socket.destroy();
    const inner = connect(6379, '127.0.0.1');
    for (const one of [socket, inner]) sockets.add(one.on('error', () => undefined));
    socket.pipe(inner).pipe(socket);
    socket.once('close', () => inner.destroy());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const destroyAll = (): void => sockets.forEach((one) => one.destroy());
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}/9`,
    cut(): void {
      isCut = true;
      destroyAll();
    },
    restore: (): void => void (isCut = false),
    freeze: (): void => sockets.forEach((one) => void one.pause()),
    thaw: (): void => sockets.forEach((one) => void one.resume()),
    close(): void {
      server.close();
      destroyAll();
    },
  };
}

const quiet = (): void => undefined;
const silent: Log = { error: quiet, warn: quiet, info: quiet, debug: quiet, isDebug: false };

type Step = { afterMs: number; limit: number; windowMs: number; counts: boolean };
const steps = fc.array(
  fc.record({
    afterMs: fc.oneof({ weight: 6, arbitrary: fc.nat({ max: 400 }) }, fc.nat({ max: 90_000 })),
    limit: fc.integer({ min: 1, max: 8 }),
    windowMs: fc.constantFrom(50, 300, 1_000, 3_000, 60_000, 3_600_000),
    counts: fc.boolean(),
  }),
  { minLength: 1, maxLength: 120 },
);
/** Most sequences keep a setting for a while and then change it, as people do. */
const changing = steps.map((list): Step[] => {
  let kept = list[0]!;
  return list.map((step, index) => {
    if (index % 7 === 0) kept = step;
    return { ...step, limit: kept.limit, windowMs: kept.windowMs };
  });
});

/**
 * Runs a sequence of requests and changes of the limit, and checks after each: what passed within the window is not more than the limit, as
 * far back as the window knew at the last change; no refusal is for requests that are older than window and bucket; no wait is longer
 * than the window, and after it there is room.
 */
async function checkSequence(
  list: readonly Step[],
  windows: Windows,
  clock: { now: () => number; advance: (ms: number) => Promise<void> },
): Promise<void> {
  const passed: number[] = [];
  /** Requests before this moment were forgotten under an earlier, shorter window. */
  let knownSince = -Infinity;
  /** The longest bucket so far: what was counted in it under a longer window may count that much longer. */
  let bucket = 0;
  const within = (ms: number): number => passed.filter((at) => at > clock.now() - ms && at > knownSince).length;
  for (const step of list) {
    await clock.advance(step.afterMs);
    const { windowMs } = step;
    bucket = Math.max(bucket, bucketMs(windowMs));
    const counted = await (step.counts ? windows.count('x', step.limit, windowMs) : windows.peek('x', step.limit, windowMs));
    expect(counted.resetMs).toBeGreaterThan(0);
    expect(counted.resetMs).toBeLessThanOrEqual(windowMs + 1);
    if (counted.isAllowed) {
      expect(within(windowMs)).toBeLessThan(step.limit);
      if (step.counts) passed.push(clock.now());
    } else {
      expect(passed.filter((at) => at > clock.now() - windowMs - bucket).length).toBeGreaterThanOrEqual(step.limit);
      expect(counted.remaining).toBe(0);
      await clock.advance(counted.resetMs);
      expect((await windows.peek('x', step.limit, windowMs)).isAllowed).toBe(true);
    }
    knownSince = Math.max(knownSince, clock.now() - windowMs);
  }
}

describe('a window in memory', () => {
  test('whatever comes when, and however limit and window are changed: never too many, and never a wait longer than the window', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(changing, steps), async (list) => {
        let now = 5_000_000;
        const windows = createLocalWindows({ monotonic: () => now });
        await checkSequence(list, windows, { now: () => now, advance: async (ms) => void (now += ms) });
      }),
      { numRuns: 300 },
    );
  });

  test('a window that is made longer or shorter applies from the next request on, and keeps its counts', async () => {
    let now = 0;
    const windows = createLocalWindows({ monotonic: () => now });
    for (let i = 0; i < 5; i += 1) await windows.count('x', 5, 1_000);
    const longer = await windows.count('x', 5, 60_000);
    expect([longer.isAllowed, longer.resetMs]).toEqual([false, 60_000]);
    now += 1_500;
    const shorter = await windows.count('x', 5, 1_000);
    expect(shorter).toMatchObject({ isAllowed: true, remaining: 4 });
  });

  test('a flood of names does not fill the memory, and pushes out the ones that were idle longest', async () => {
    let now = 0;
    const windows = createLocalWindows({ monotonic: () => now }, 1_000);
    const left = async (name: string): Promise<number> => (await windows.peek(name, 5, 60_000)).remaining;
    for (let i = 0; i < 900; i += 1) await windows.count(`old ${i}`, 5, 60_000);
    await windows.count('old 0', 5, 60_000);
    now = 10;
    for (let i = 0; i < 150; i += 1) await windows.count(`new ${i}`, 5, 60_000);
    expect([await left('old 1'), await left('old 0'), await left('new 149')]).toEqual([5, 3, 4]);
  });
});

test('buckets from the future, left by a clock that was set back, count for one window more and not longer', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 10_000_000 }), { maxLength: 30 }),
      fc.integer({ min: 60, max: 60_000 }),
      (ahead, windowMs) => {
        let now = 10_000_000;
        const stored = ahead.sort((a, b) => a - b).map((ms) => ({ at: now + ms, count: 1 }));
        const state = pruneWindow(stored, windowMs, now);
        expect(totalOf(state)).toBe(ahead.length);
        now += windowMs;
        expect(totalOf(pruneWindow(state, windowMs, now))).toBe(0);
      },
    ),
  );
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
    const counted = await Promise.all(Array.from({ length: 50 }, (_, n) => (n % 2 ? one : other).count(name, 20, 60_000)));
    expect(counted.filter(({ isAllowed }) => isAllowed)).toHaveLength(20);
    const refused = await one.count(name, 20, 60_000);
    expect(refused).toMatchObject({ isAllowed: false, remaining: 0 });
    expect(refused.resetMs).toBeGreaterThan(55_000);
    expect(refused.resetMs).toBeLessThanOrEqual(62_000);
    await Promise.all([one.close(), other.close(), clear(name)]);
  });

  test('a window that is made longer or shorter applies from the next request on, across both backends', async () => {
    const name = `test-${randomUUID()}`;
    const [one, other] = [await open(), await open()];
    for (let i = 0; i < 3; i += 1) expect((await one.count(name, 3, 300)).isAllowed).toBe(true);
    const longer = await other.count(name, 3, 60_000);
    expect([longer.isAllowed, longer.resetMs > 50_000, longer.resetMs <= 60_000]).toEqual([false, true, true]);
    // Both agree however often it changes, and what was counted under a long window leaves a short one in time.
    for (const windowMs of [3_600_000, 1_000, 60_000, 200]) {
      const { resetMs } = await one.peek(name, 3, windowMs);
      expect(resetMs).toBeLessThanOrEqual(windowMs);
    }
    await eventually('room', async () => (await other.count(name, 3, 200)).isAllowed);
    await Promise.all([one.close(), other.close(), clear(name)]);
  });

  test('a request that does not count after all is subtracted, on either backend', async () => {
    const name = `test-${randomUUID()}`;
    const [one, other] = [await open(), await open()];
    for (let i = 0; i < 2; i += 1) await one.count(name, 2, 60_000);
    expect((await other.count(name, 2, 60_000)).isAllowed).toBe(false);
    await one.refund(name);
    expect((await other.count(name, 2, 60_000)).isAllowed).toBe(true);
    await one.forget(name, 60_000);
    expect((await one.peek(name, 2, 60_000)).remaining).toBe(2);
    await Promise.all([one.close(), other.close(), clear(name)]);
  });

  test('a count that one backend resets counts on no backend, however full its own window was; data lost in Redis resets nothing', async () => {
    const name = `test-${randomUUID()}`;
    const [one, other] = [await open(), await open()];
    for (const before of [1, 4, 5]) {
      for (let n = 0; n < before; n += 1) await other.count(name, 5, 60_000);
      await one.forget(name, 60_000);
      // Both windows of the other backend, its own one included, have room for five again: Redis without data shows the own one.
      const counted = await Promise.all(Array.from({ length: 8 }, () => other.count(name, 5, 60_000)));
      expect([before, counted.filter(({ isAllowed }) => isAllowed).length]).toEqual([before, 5]);
      await clear(name);
      expect((await other.count(name, 5, 60_000)).isAllowed).toBe(false);
      await other.forget(name, 60_000);
    }
    await Promise.all([one.close(), other.close(), clear(name)]);
  });

  test('a count that is reset while Redis is lost is reset in Redis when it is back', async () => {
    const name = `test-${randomUUID()}`;
    const proxy = await startProxy();
    const windows = await open(proxy.url);
    for (let n = 0; n < 3; n += 1) await windows.count(name, 3, 60_000);
    proxy.cut();
    await eventually('the loss', () => Promise.resolve(!windows.isShared()));
    await windows.forget(name, 60_000);
    proxy.restore();
    const client = await createClient({ url: redisUrl }).connect();
    await eventually('the window to be deleted', async () => (await client.exists(`chasqui:window:${name}`)) === 0, 15_000);
    client.destroy();
    await Promise.all([windows.close(), clear(name)]);
    proxy.close();
  }, 20_000);

  test('there is room again after the window, by the time of Redis', async () => {
    const name = `test-${randomUUID()}`;
    const windows = await open();
    await windows.count(name, 1, 300);
    const { isAllowed, resetMs } = await windows.count(name, 1, 300);
    expect([isAllowed, resetMs <= 315]).toEqual([false, true]);
    await eventually('room', async () => (await windows.count(name, 1, 300)).isAllowed);
    await Promise.all([windows.close(), clear(name)]);
  });

  test('without Redis each counts for itself at once and keeps its earlier counts; when Redis is back, they share again', async () => {
    const name = `test-${randomUUID()}`;
    const proxy = await startProxy();
    const windows = await open(proxy.url);
    const other = await open();
    const allowed = async (): Promise<boolean> => (await windows.count(name, 4, 60_000)).isAllowed;
    expect([await allowed(), await allowed()]).toEqual([true, true]);
    expect((await other.count(name, 4, 60_000)).isAllowed).toBe(true);
    proxy.cut();
    await eventually('the loss', () => Promise.resolve(!windows.isShared()));
    expect([await allowed(), await allowed(), await allowed()]).toEqual([true, true, false]);
    proxy.restore();
    await eventually('Redis to be back', () => Promise.resolve(windows.isShared()));
    expect((await windows.peek(name, 4, 60_000)).remaining).toBe(1);
    await Promise.all([windows.close(), other.close(), clear(name)]);
    proxy.close();
  });

  test('a frozen Redis is detected and logged once, and only a few requests wait for it; it is used again after it thaws', async () => {
    const name = `test-${randomUUID()}`;
    const proxy = await startProxy();
    const said: string[] = [];
    const note = (sentence: string): void => void said.push(sentence);
    const windows = createSharedWindows({ url: proxy.url, clock: systemClock, log: { ...silent, warn: note, info: note } });
    await eventually('Redis to answer', () => Promise.resolve(windows.isShared()));
    proxy.freeze();
    const waits: number[] = [];
    for (let i = 0; i < 40; i += 1) {
      const before = performance.now();
      expect((await windows.count(name, 100, 60_000)).isAllowed).toBe(true);
      waits.push(performance.now() - before);
    }
    expect(windows.isShared()).toBe(false);
    expect(waits.filter((ms) => ms > 200).length).toBeLessThanOrEqual(3);
    expect(said).toEqual([expect.stringMatching(/^Redis answers/), expect.stringMatching(/^Redis does not answer/)]);
    proxy.thaw();
    await eventually('Redis to be found again', () => Promise.resolve(windows.isShared()));
    expect(said).toHaveLength(3);
    await Promise.all([windows.close(), clear(name)]);
    proxy.close();
  }, 20_000);

  describe('a Redis that is slow', () => {
    /** Speaks just enough of the protocol; each script is answered after so many milliseconds. */
    async function slowRedis(delayOf: (script: number) => number) {
      let scripts = 0;
      const lines = new Set<Socket>();
      const server = createServer((socket) => {
        lines.add(socket.on('error', () => undefined));
        socket.on('data', (bytes: Buffer) => {
          const commands = bytes.toString('latin1').match(/\*\d+\r\n\$\d+\r\n(\w+)/g) ?? [];
          for (const command of commands)
            if (/EVAL/i.test(command))
              setTimeout(() => socket.write('*4\r\n:1\r\n:1\r\n:1000\r\n:0\r\n'), delayOf((scripts += 1)));
            else socket.write('+OK\r\n');
        });
      }).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const said: string[] = [];
      const note = (sentence: string): void => void said.push(sentence);
      const url = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const windows = createSharedWindows({ url, clock: systemClock, log: { ...silent, warn: note, info: note } });
      return {
        windows,
        said,
        scripts: () => scripts,
        async close() {
          await windows.close();
          for (const line of lines) line.destroy();
          server.close();
        },
      };
    }

    test('always slower than a request may wait: it is never counted as shared, and that is said once', async () => {
      const redis = await slowRedis(() => 600);
      await eventually('four probes', () => Promise.resolve(redis.scripts() >= 4));
      expect(redis.windows.isShared()).toBe(false);
      expect(redis.said).toEqual([expect.stringMatching(/^Redis does not answer/)]);
      await redis.close();
    }, 30_000);

    test('every third time: a few requests wait, not every third one, and the state does not flap', async () => {
      const redis = await slowRedis((script) => (script % 3 === 0 ? 600 : 0));
      await eventually('Redis to answer', () => Promise.resolve(redis.windows.isShared()));
      let slow = 0;
      for (let n = 0; n < 40; n += 1) {
        const before = performance.now();
        await redis.windows.count('x', 1_000, 60_000);
        if (performance.now() - before > 200) slow += 1;
      }
      expect(slow).toBeLessThanOrEqual(6);
      for (const until = performance.now() + 6_000; performance.now() < until;) {
        await redis.windows.count('x', 1_000_000, 60_000);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(redis.said.length).toBeLessThanOrEqual(5);
      await redis.close();
    }, 30_000);
  });

  test('a Redis that answers with errors only, such as a replica, is not counted as shared', async () => {
    // Speaks just enough of the protocol: every script gets an error, as on a replica; all else works.
    let scripts = 0;
    const lines = new Set<Socket>();
    const server = createServer((socket) => {
      lines.add(socket.on('error', () => undefined));
      socket.on('data', (bytes: Buffer) => {
        const commands = bytes.toString('latin1').match(/\*\d+\r\n\$\d+\r\n(\w+)/g) ?? [];
        for (const command of commands) {
          const isScript = /EVAL/i.test(command);
          scripts += Number(isScript);
          socket.write(isScript ? '-READONLY You cannot write against a read only replica.\r\n' : '+OK\r\n');
        }
      });
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const url = `redis://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const windows = createSharedWindows({ url, clock: systemClock, log: silent });
    for (let i = 0; i < 5; i += 1) expect((await windows.count('x', 2, 60_000)).isAllowed).toBe(i < 2);
    const before = scripts;
    await eventually('two more probes', () => Promise.resolve(scripts >= before + 2));
    expect(windows.isShared()).toBe(false);
    await windows.close();
    for (const line of lines) line.destroy();
    server.close();
  });
});
