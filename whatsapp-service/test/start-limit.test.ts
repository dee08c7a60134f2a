import { expect, test } from '@jest/globals';
import { createStartLimit, startRank } from '../src/sessions/start-limit.js';

const signal = new AbortController().signal;

test('a connected session that lost its first browser starts first, then first starts, and then those that lost the fewest browsers', async () => {
  const limit = createStartLimit(1);
  const order: string[] = [];
  const start = (name: string, losses: number, wasConnected = false): Promise<void> =>
    limit.enter(signal, startRank(losses, wasConnected)).then((leave) => {
      order.push(name);
      setImmediate(leave);
    });
  await Promise.all([
    start('a', 3),
    start('b', 3),
    start('c', 2),
    start('d', 0),
    start('e', 1),
    start('f', 0),
    start('g', 2, true),
    start('h', 1, true),
  ]);
  expect(order).toEqual(['a', 'h', 'd', 'f', 'e', 'c', 'g', 'b']);
});

test.each([
  [3, 2],
  [2, 1],
  [1, 1],
])('of %i places, sessions whose browsers fail again and again and hang have at most %i', async (places, expected) => {
  const limit = createStartLimit(places);
  const cancelled = new AbortController();
  let failing = 0;
  const starts = Array.from({ length: 49 }, (_, number) =>
    limit.enter(cancelled.signal, startRank(2 + (number % 5), false)).then(() => void (failing += 1)),
  );
  await new Promise(setImmediate);
  expect(failing).toBe(expected);
  // The first start of another session begins beside them.
  const first = limit.enter(cancelled.signal, startRank(0, false)).then(() => 'started');
  if (places > 1) await expect(first).resolves.toBe('started');
  else first.catch(() => undefined);
  cancelled.abort();
  await Promise.allSettled(starts);
});

test('a connected session that lost its first browser starts beside first starts that hang; a second one waits for it', async () => {
  const limit = createStartLimit(3);
  const cancelled = new AbortController();
  let hanging = 0;
  const starts = Array.from({ length: 49 }, () =>
    limit.enter(cancelled.signal, startRank(0, false)).then(() => void (hanging += 1)),
  );
  const leave = await limit.enter(signal, startRank(1, true));
  let isSecondInside = false;
  const second = limit.enter(signal, startRank(1, true)).then(() => void (isSecondInside = true));
  await new Promise(setImmediate);
  expect([hanging, isSecondInside]).toEqual([3, false]);
  leave();
  await second;
  expect(hanging).toBe(3);
  cancelled.abort();
  await Promise.allSettled(starts);
});

test('a start that is cancelled while it waits, or that frees its place twice, leaves the other places as they are', async () => {
  const limit = createStartLimit(1);
  const leave = await limit.enter(signal, 1);
  const cancelled = new AbortController();
  const waiting = limit.enter(cancelled.signal, 1);
  const next = limit.enter(signal, 4);
  cancelled.abort();
  await expect(waiting).rejects.toThrow('cancelled');
  leave();
  leave();
  const leaveNext = await next;
  let isInside = false;
  const last = limit.enter(signal, 1).then(() => void (isInside = true));
  await new Promise(setImmediate);
  expect(isInside).toBe(false);
  leaveNext();
  await last;
});
