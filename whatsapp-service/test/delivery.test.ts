import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { AppError, type OutletEvent } from '@chasqui/shared';
import type { BackendCall } from '../src/backend.js';
import { systemClock } from '../src/clock.js';
import { createDelivery, type Delivery } from '../src/events/delivery.js';
import { createOutlet, type Outlet } from '../src/events/outlet.js';
import { openStore, type Store } from '../src/store.js';
import { until } from './engine/harness.js';
import { createTestLog, createTestProblems } from './memory-engine.js';

/** The delivery to a backend that fails in every way. Waits are short here; their order is as in production. */

interface Answer {
  ackCursor: number;
  refused: { id: string; code: string }[];
  resend: { sessionId: string; fromSequence: number }[];
}
let dir: string;
let store: Store;
let outlet: Outlet;
let delivery: Delivery;
let taken: string[];
let calls: number;
let answer: (events: OutletEvent[]) => Answer;

jest.setTimeout(30_000);

const nameOf = ({ payload }: OutletEvent): string => String((payload['message'] as { key: string }).key);
/** A backend that accepts every event once. */
const take = (events: OutletEvent[]): Answer => {
  for (const event of events) if (!taken.includes(nameOf(event))) taken.push(nameOf(event));
  return { ackCursor: events.at(-1)!.cursor, refused: [], resend: [] };
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-delivery-'));
  store = openStore(join(dir, 'worker.sqlite'));
  const clock = { ...systemClock, after: (ms: number, what: () => void) => systemClock.after(Math.min(ms, 5), what) };
  const log = createTestLog();
  const problems = createTestProblems();
  let id = 0;
  outlet = createOutlet({ store, clock, log, problems, newId: () => `e${(id += 1)}`, seenDays: 30 });
  taken = [];
  calls = 0;
  answer = take;
  delivery = createDelivery({
    outlet,
    call: (async (_route: unknown, { body }: { body: { events: OutletEvent[] } }) => {
      calls += 1;
      return { status: 200, data: answer(body.events) };
    }) as unknown as BackendCall,
    worker: { workerId: 'w', bootId: 'b' },
    epochOf: () => 1,
    clock,
    random: () => 0.5,
    log,
    problems,
  });
});
afterEach(async () => {
  await delivery.stop(1_000);
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `m${n}`);
function fill(count: number, sessionOf: (n: number) => string = () => 's1'): void {
  for (const [n, key] of names(count).entries())
    outlet.append(sessionOf(n), 1, {
      event: 'message.observed',
      payload: { message: { key, content: { type: 'text' } }, origin: 'live' },
    } as never);
  outlet.commit();
}
const parked = (): string[] =>
  store
    .prepare<[], { code: string }>('SELECT code FROM parked')
    .all()
    .map(({ code }) => code);
const failure = (status?: number): AppError => new AppError('INTERNAL_ERROR', status === undefined ? {} : { status });
const poison = (bad: (name: string) => boolean, error: () => Error) => (events: OutletEvent[]) => {
  if (events.some((event) => bad(nameOf(event)))) throw error();
  return take(events);
};

describe.each<[string, () => Error]>([
  ['500', () => failure()],
  ['500 of something in between', () => failure(500)],
  ['413 of something in between', () => failure(413)],
  ['413', () => new AppError('BODY_TOO_LARGE')],
  ['422', () => new AppError('VALIDATION_FAILED')],
])('a backend that answers %s to every batch with a certain event', (_name, error) => {
  test.each([0, 37, 98])('gets all others, wherever it is (%i); it is parked', async (at) => {
    fill(100, (n) => `s${n % 3}`);
    answer = poison((name) => name === `m${at}`, error);
    delivery.start();
    await until('all others', () => outlet.pending() === 0);
    expect(taken.toSorted()).toEqual(
      names(100)
        .filter((name) => name !== `m${at}`)
        .toSorted(),
    );
    expect(parked()).toHaveLength(1);
  });

  test('with every tenth of them, in one session: the others keep their order', async () => {
    fill(60);
    answer = poison((name) => name.endsWith('5') && name !== 'm55', error);
    delivery.start();
    await until('all others', () => outlet.pending() === 0);
    expect(parked()).toHaveLength(5);
    expect(taken).toHaveLength(55);
    // What was tried as a witness goes first; the rest is in order.
    const order = taken.map((name) => Number(name.slice(1))).filter((n) => n < 50);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });
});

test.each<[string, () => Error]>([
  ['fails at everything', () => failure()],
  ['has no database', () => new AppError('DATABASE_UNAVAILABLE')],
  ['is behind a proxy that answers 502', () => failure(502)],
  ['does not know our key', () => failure(401)],
  ['does not answer', () => new Error('socket hang up')],
])('a backend that %s for long loses and parks nothing, and gets everything afterwards, in order', async (_name, error) => {
  fill(40, (n) => `s${n % 2}`);
  answer = () => {
    throw error();
  };
  delivery.start();
  await until('many tries', () => calls > 60);
  expect([parked(), outlet.pending()]).toEqual([[], 40]);
  answer = take;
  await until('the end', () => outlet.pending() === 0);
  expect(taken).toEqual(names(40));
});

test('an event that fails at the end of the queue waits; once another one is accepted it is parked', async () => {
  fill(1);
  answer = poison((name) => name === 'm0', failure);
  delivery.start();
  await until('many tries', () => calls > 10);
  expect(parked()).toEqual([]);
  outlet.append('s2', 1, {
    event: 'message.observed',
    payload: { message: { key: 'm1', content: { type: 'text' } }, origin: 'live' },
  } as never);
  await until('the next one', () => outlet.pending() === 0);
  expect([taken, parked()]).toEqual([['m1'], ['INTERNAL_ERROR']]);
});

test('a backend that acknowledges more than it was sent loses nothing', async () => {
  fill(1_200);
  answer = (events) => ({ ...take(events), ackCursor: 1e9 });
  delivery.start();
  await until('the end', () => outlet.pending() === 0);
  expect(taken).toEqual(names(1_200));
});

test('a backend that asks for the same events without end gets all others as well', async () => {
  fill(1_200);
  answer = (events) => ({ ...take(events), resend: [{ sessionId: 's1', fromSequence: 1 }] });
  delivery.start();
  await until('the end', () => outlet.pending() === 0);
  await until('quiet', async () => {
    const before = calls;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return calls === before;
  });
  expect(taken).toEqual(names(1_200));
  fill(0);
  outlet.append('s1', 1, {
    event: 'message.observed',
    payload: { message: { key: 'last', content: { type: 'text' } }, origin: 'live' },
  } as never);
  await until('the last one', () => taken.includes('last'));
});

test('a backend that asks for parked events does not get them again', async () => {
  fill(4);
  let gaps = 0;
  answer = (events) => {
    if (events.some((event) => nameOf(event) === 'm1')) throw new AppError('VALIDATION_FAILED');
    const after = events.find((event) => nameOf(event) === 'm2');
    if (!after || gaps === 2) return take(events);
    gaps += 1;
    const before = events.filter(({ cursor }) => cursor < after.cursor);
    if (before.length > 0) take(before);
    return { ackCursor: after.cursor - 1, refused: [], resend: [{ sessionId: 's1', fromSequence: 2 }] };
  };
  delivery.start();
  await until('the end', () => outlet.pending() === 0);
  expect([taken, parked()]).toEqual([['m0', 'm2', 'm3'], ['VALIDATION_FAILED']]);
});
