import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, newId, type OutletEvent } from '@chasqui/shared';
import type { BackendCall } from '../src/backend.js';
import { systemClock } from '../src/clock.js';
import { createDelivery, type Delivery } from '../src/events/delivery.js';
import { createOutlet, type Outlet } from '../src/events/outlet.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import { openStore, type Store } from '../src/store.js';
import { until } from './engine/harness.js';
import { createTestLog, createTestProblems } from './memory-engine.js';

let dir: string;
let store: Store;
let outlet: Outlet;
let delivery: Delivery | null;

const open = (): void => {
  store = openStore(join(dir, 'worker.sqlite'));
  outlet = createOutlet({
    store,
    clock: systemClock,
    log: createTestLog(),
    problems: createTestProblems(),
    newId: () => newId(),
    seenDays: 30,
  });
};
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-outlet-'));
  delivery = null;
  open();
});
afterEach(async () => {
  await delivery?.stop(0);
  store.close();
  rmSync(dir, { recursive: true });
});

const heal = (reason: string): WorkerEvent => ({ event: 'session.heal', payload: { step: 'probe', reason, ok: true } });
const message = (key: string): WorkerEvent =>
  ({ event: 'message.observed', payload: { message: { key, content: { type: 'text' } }, origin: 'live' } }) as never;
const reasons = (events: readonly OutletEvent[]): unknown[] => events.map(({ payload }) => payload['reason']);

/** A backend that commits what it is sent, or does what the test sets. */
function backend(
  reply: (events: OutletEvent[]) => Partial<{ ackCursor: number; refused: object[]; resend: object[] }> = () => ({}),
) {
  const got: OutletEvent[] = [];
  const state = { up: true, calls: 0, epoch: 1 };
  const call = (async (_route: unknown, { body }: { body: { events: OutletEvent[] } }) => {
    state.calls += 1;
    if (!state.up) throw new Error('connection refused');
    const answer = { ackCursor: body.events.at(-1)!.cursor, refused: [], resend: [], ...reply(body.events) };
    got.push(...body.events);
    return { status: 200, data: answer };
  }) as unknown as BackendCall;
  delivery = createDelivery({
    outlet,
    call,
    worker: { workerId: 'w', bootId: 'b' },
    epochOf: () => state.epoch,
    clock: systemClock,
    random: () => 0,
    log: createTestLog(),
    problems: createTestProblems(),
  });
  delivery.start();
  return { got, state };
}

describe('the outlet', () => {
  test('keeps order and counts without gaps within session and epoch, over a restart too', () => {
    outlet.append('a', 1, heal('1'));
    outlet.append('b', 1, heal('2'));
    outlet.append('a', 1, heal('3'));
    outlet.commit();
    store.close();
    open();
    outlet.append('a', 1, heal('4'));
    outlet.append('a', 2, heal('5'));
    outlet.commit();
    const batch = outlet.batch(500);
    expect(reasons(batch)).toEqual(['1', '2', '3', '4', '5']);
    expect(batch.map(({ sessionId, epoch, sequence }) => `${sessionId}${epoch}:${sequence}`)).toEqual([
      'a1:1',
      'b1:1',
      'a1:2',
      'a1:3',
      'a2:1',
    ]);
    expect(batch.map(({ cursor }) => cursor)).toEqual([1, 2, 3, 4, 5]);
  });

  test('emits a message once, from any source and however often, across a restart too', () => {
    outlet.append('a', 1, message('k'));
    outlet.append('a', 1, message('k'));
    outlet.append('b', 1, message('k'));
    outlet.commit();
    store.close();
    open();
    outlet.append('a', 1, message('k'));
    outlet.commit();
    expect(outlet.batch(500).map(({ sessionId, sequence }) => [sessionId, sequence])).toEqual([
      ['a', 1],
      ['b', 1],
    ]);
  });

  test('returns the same rows again until they are acknowledged, and no cursor twice', () => {
    outlet.append('a', 1, heal('1'));
    outlet.commit();
    expect(outlet.batch(1)).toEqual(outlet.batch(1));
    outlet.acknowledge(1);
    expect([outlet.batch(1), outlet.pending()]).toEqual([[], 0]);
    outlet.saveMark();
    store.close();
    open();
    outlet.append('a', 1, heal('2'));
    outlet.commit();
    expect(outlet.batch(5).map(({ cursor, sequence }) => [cursor, sequence])).toEqual([[2, 2]]);
  });

  test('a worker that was killed before the mark was written sends the same events again, under the same ids', () => {
    outlet.append('a', 1, heal('1'));
    outlet.commit();
    const before = outlet.batch(1);
    outlet.acknowledge(1);
    store.close();
    open();
    expect(outlet.batch(1)).toEqual(before);
  });

  test('a full disk loses nothing: events wait in order, health reports it, and they are written when there is space', () => {
    outlet.append('a', 1, heal('1'));
    outlet.commit();
    const pages = Number(store.pragma('page_count', { simple: true }));
    store.pragma(`max_page_count = ${pages}`);
    for (let number = 2; number < 200; number += 1) outlet.append('a', 1, heal(`${number} ${'x'.repeat(500)}`));
    outlet.commit();
    expect([outlet.healthy(), outlet.batch(500).length, outlet.pending()]).toEqual([false, 1, 199]);
    store.pragma('max_page_count = 1000000');
    outlet.commit();
    expect(outlet.healthy()).toBe(true);
    const events = [...outlet.batch(500)];
    expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 199 }, (_, index) => index + 1));
  });

  test('writes the first event after silence soon, and those of a stream many in one commit', async () => {
    let commits = 0;
    outlet.onCommit(() => (commits += 1));
    const started = performance.now();
    outlet.append('s', 1, heal('first'));
    await until('the first commit', () => commits === 1);
    for (let number = 0; number < 100; number += 1) {
      outlet.append('s', 1, heal(String(number)));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until('all of them', () => outlet.batch(500).length === 101);
    expect(commits).toBeGreaterThan(3);
    expect(commits).toBeLessThanOrEqual((performance.now() - started) / 16 + 2);
  });

  test('is written with synchronous=FULL', () => {
    expect(store.pragma('synchronous', { simple: true })).toBe(2);
    expect(store.pragma('journal_mode', { simple: true })).toBe('wal');
  });

  test('writes 2000 messages in a burst within seconds, not in a commit each', async () => {
    const before = performance.now();
    for (let i = 0; i < 2_000; i += 1) {
      outlet.append('a', 1, message(`k${i}`));
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    outlet.commit();
    expect(outlet.pending()).toBe(2_000);
    expect(performance.now() - before).toBeLessThan(15_000);
  });
});

describe('the delivery', () => {
  test('a backend that is down and comes back gets everything once, in order', async () => {
    const { got, state } = backend();
    state.up = false;
    for (let i = 0; i < 1_200; i += 1) outlet.append('a', 1, heal(String(i)));
    await until('a call in vain', () => state.calls > 0);
    expect(got).toEqual([]);
    state.up = true;
    await until('an empty outlet', () => outlet.pending() === 0);
    expect(reasons(got)).toEqual(Array.from({ length: 1_200 }, (_, i) => String(i)));
  });

  test('rows that are appended while a batch is in flight are in the next one', async () => {
    const { got } = backend();
    outlet.append('a', 1, heal('1'));
    await until('the first', () => got.length === 1);
    outlet.append('a', 1, heal('2'));
    await until('the second', () => got.length === 2, 500);
  });

  test('only committed events are deleted', async () => {
    let first = true;
    const { got } = backend((events) => {
      if (!first) return {};
      first = false;
      return { ackCursor: events[0]!.cursor };
    });
    for (const name of ['1', '2', '3']) outlet.append('a', 1, heal(name));
    await until('an empty outlet', () => outlet.pending() === 0);
    expect(reasons(got)).toEqual(['1', '2', '3', '2', '3']);
  });

  test('events that the backend asks for are sent again', async () => {
    let asked = false;
    const { got } = backend((events) => {
      if (asked || events.at(-1)!.payload['reason'] !== '3') return {};
      asked = true;
      return { ackCursor: events[0]!.cursor - 1, resend: [{ sessionId: 'a', fromSequence: 2 }] };
    });
    for (const name of ['1', '2']) outlet.append('a', 1, heal(name));
    await until('the first two', () => outlet.pending() === 0);
    outlet.append('a', 1, heal('3'));
    await until('an empty outlet', () => asked && outlet.pending() === 0);
    expect(reasons(got)).toEqual(['1', '2', '3', '2', '3']);
  });

  test('a message refused for its stale epoch is sent again under the new one', async () => {
    const { got, state } = backend((events) => ({
      refused: events.filter(({ epoch }) => epoch < state.epoch).map(({ id }) => ({ id, code: 'STALE_EPOCH' })),
    }));
    state.epoch = 2;
    outlet.append('a', 1, message('k'));
    await until('both', () => got.length === 2);
    expect(got.map(({ epoch, sequence, type }) => [epoch, sequence, type])).toEqual([
      [1, 1, 'message.observed'],
      [2, 1, 'message.observed'],
    ]);
    expect(outlet.pending()).toBe(0);
  });

  test('a refused event is not sent again after a kill before its acknowledgement is written', async () => {
    const { got, state } = backend((events) => ({
      refused: events.filter(({ epoch }) => epoch < state.epoch).map(({ id }) => ({ id, code: 'STALE_EPOCH' })),
    }));
    state.epoch = 2;
    outlet.append('a', 1, message('k'));
    outlet.append('b', 2, heal('taken'));
    await until('all', () => got.length === 3 && outlet.pending() === 0);
    // What a kill leaves: nothing of the memory of this outlet.
    store.close();
    open();
    expect(outlet.batch(500).map(({ epoch, type }) => [epoch, type])).toEqual([
      [2, 'session.heal'],
      [2, 'message.observed'],
    ]);
    await delivery!.stop(0);
    delivery = null;
  });

  test('one event that cannot be read does not delay the others', async () => {
    const { got } = backend((events) => {
      if (events.some(({ payload }) => payload['reason'] === 'bad')) throw new AppError('VALIDATION_FAILED');
      return {};
    });
    for (const name of ['1', '2', 'bad', '3', '4']) outlet.append('a', 1, heal(name));
    await until('an empty outlet', () => outlet.pending() === 0);
    expect(reasons(got)).toEqual(['1', '2', '3', '4']);
  });
});

test('a long backlog loses its content part by part, parked events too, and events that arrive meanwhile are stored', () => {
  const content = { type: 'text', message: 'secret words' };
  const secret = (key: string): WorkerEvent =>
    ({ event: 'message.observed', payload: { message: { key, content, chat: { name: null } }, origin: 'live' } }) as never;
  for (let n = 0; n < 2_000; n += 1) outlet.append(n % 2 ? 's1' : 's2', 1, secret(`m${n}`));
  outlet.commit();
  outlet.refuse(outlet.batch(500), 'STALE_EPOCH');
  let parts = 1;
  while (!outlet.strip('s1')) {
    if (parts === 1) outlet.append('s1', 1, heal('meanwhile'));
    parts += 1;
  }
  expect(parts).toBeGreaterThan(1);
  const left = (table: string): unknown =>
    store.prepare(`SELECT session_id AS id, count(*) AS n FROM ${table} WHERE payload LIKE '%secret words%' GROUP BY 1`).all();
  expect([left('outlet'), left('parked')]).toEqual([[{ id: 's2', n: 750 }], [{ id: 's2', n: 250 }]]);
  expect(outlet.pending()).toBe(1_501);
});
