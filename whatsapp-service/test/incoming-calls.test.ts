import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AppError, type WorkerEventPayload } from '@chasqui/shared';
import type { EngineSession } from '../src/engine/engine.js';
import { createCallRecord } from '../src/events/calls.js';
import { createOutlet } from '../src/events/outlet.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import { createIncomingCalls } from '../src/sessions/incoming-calls.js';
import { openStore, type Store } from '../src/store.js';
import { createTestClock, createTestLog, createTestProblems } from './memory-engine.js';

/** What a worker does with a call, and what is left of it when the process dies at each step. */

type Call = WorkerEventPayload<'call.received'>;
const contact = { id: '5511999990001@c.us', phone: '+5511999990001', lid: null, name: 'Ana' };
const call = (callId: string): Call => ({ callId, contact, isVideo: false, isGroup: false, at: '2026-11-20T10:00:00.000Z' });

let dir: string;
let store: Store;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-calls-'));
  store = openStore(join(dir, 'worker.sqlite'));
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A worker process on the store: its record, its outlet, and one session that rejects calls. */
function process(options: { rejects?: boolean; isBare?: boolean; run?: EngineSession['run'] } = {}) {
  const { rejects = true, isBare = false, run = async () => ({ rejected: true, confirmed: true }) } = options;
  const clock = createTestClock();
  const problems = createTestProblems(clock);
  const record = createCallRecord(store, clock);
  let ids = 0;
  const newId = () => `${Date.now()}-${(ids += 1)}-${Math.random()}`.slice(0, 36);
  const outlet = createOutlet({ store, clock, log: createTestLog(), problems, calls: record, newId, seenDays: 30 });
  const rejected: unknown[] = [];
  const session = {
    run: async (...args: Parameters<EngineSession['run']>) => {
      rejected.push(args[1]['callId']);
      return run(...args);
    },
  } as unknown as EngineSession;
  const emit = (event: WorkerEvent): void => outlet.append('s1', 1, event);
  const calls = createIncomingCalls({ sessionId: 's1', record, rejects: () => rejects, isBare: () => isBare, emit, problems });
  return {
    record,
    rejected,
    clock,
    rings: (callId: string, inPage: EngineSession | null = session) => calls.received(call(callId), inPage),
    /** As the start of a worker does it. */
    restart(): void {
      for (const left of record.unreported()) outlet.append(left.sessionId, 1, { event: 'call.received', payload: left.call });
    },
    reported(): Call[] {
      outlet.commit();
      return outlet.batch(100).map(({ payload }) => payload as Call);
    },
  };
}

test('a call is left to ring unless the session rejects calls', async () => {
  const it = process({ rejects: false });
  await it.rings('one');
  expect([it.rejected, it.reported().map(({ callId, autoReject }) => [callId, autoReject])]).toEqual([[], [['one', undefined]]]);
});

test('a call is rejected before it is reported, and the report says whether the page confirmed it', async () => {
  const it = process();
  await it.rings('one');
  expect(it.rejected).toEqual(['one']);
  expect(it.reported()).toMatchObject([{ callId: 'one', autoReject: { attempted: true, confirmed: true } }]);
});

test.each([
  ['no longer rings', new AppError('CALL_NOT_FOUND'), { attempted: false, confirmed: false }],
  [
    'could not be rejected because the page was not asked',
    new AppError('OPERATION_TIMEOUT', { effect: 'none' }),
    { attempted: false, confirmed: false },
  ],
  ['was perhaps rejected', new AppError('OPERATION_TIMEOUT', { effect: 'unknown' }), { attempted: true, confirmed: false }],
  ['was perhaps rejected by a page that crashed', new Error('Target closed'), { attempted: true, confirmed: false }],
])('a call that %s is reported as such', async (_what, error, autoReject) => {
  const it = process({ run: async () => Promise.reject(error) });
  await it.rings('one');
  expect(it.reported()).toMatchObject([{ autoReject }]);
});

test('a call that ended in another way while it was being rejected was not rejected, so it is not answered', async () => {
  const it = process({ run: async () => ({ rejected: false, confirmed: false }) });
  await it.rings('one');
  expect(it.reported()).toMatchObject([{ autoReject: { attempted: false, confirmed: false } }]);
});

test('a call that the page reports twice is one', async () => {
  const it = process();
  await Promise.all([it.rings('one'), it.rings('one')]);
  expect(it.reported()).toHaveLength(1);
  await it.rings('one');
  expect(it.reported()).toHaveLength(1);
});

describe('a process that dies', () => {
  test('before the call is rejected leaves it to the next one, which reports it once and rejects it if it still rings', async () => {
    const first = process({ run: () => new Promise(() => undefined) });
    void first.rings('one');
    const next = process();
    next.restart();
    expect(next.reported()).toMatchObject([{ callId: 'one', autoReject: { attempted: true, confirmed: false } }]);
    await next.rings('one');
    expect([next.rejected, next.reported().length]).toEqual([['one'], 1]);
  });

  test('after the rejection and before the commit of the event leaves it to the next one', async () => {
    await process().rings('one');
    const next = process();
    next.restart();
    expect(next.reported()).toMatchObject([{ callId: 'one', autoReject: { attempted: true } }]);
  });

  test('after that commit leaves nothing to do', async () => {
    const first = process();
    await first.rings('one');
    first.reported();
    const next = process();
    next.restart();
    await next.rings('one');
    expect([next.record.unreported(), next.reported().length]).toEqual([[], 1]);
  });
});

test('in the storage mode metadata no name is on disk while the call is rejected', async () => {
  const it = process({ isBare: true, run: () => new Promise(() => undefined) });
  void it.rings('one');
  expect(it.record.unreported()).toMatchObject([{ call: { contact: { name: null, phone: contact.phone } } }]);
});

test('calls of the day before are forgotten', async () => {
  const it = process();
  await it.rings('one');
  it.reported();
  await it.clock.advance(90_000_000);
  it.record.prune();
  expect(store.prepare('SELECT COUNT(*) AS n FROM calls').get()).toEqual({ n: 0 });
});
