import { beforeEach, describe, expect, test } from '@jest/globals';
import { sessionMoves, type SessionReason, type SessionStatus } from '@chasqui/shared';
import fc from 'fast-check';
import type { EngineSignal } from '../src/engine/engine.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import { createStartLimit } from '../src/sessions/start-limit.js';
import { instant } from '../src/sessions/lease.js';
import type { Marks } from '../src/sessions/marks.js';
import { EngineError } from '../src/engine/engine.js';
import { createSession, type Session } from '../src/sessions/session.js';
import { createMemoryEngine, createTestClock, createTestLog, createTestProblems, identity, settle } from './memory-engine.js';

function rig(maxReconnectAttempts = 3, recycleAboveMb = 0) {
  const engine = createMemoryEngine();
  const clock = createTestClock();
  const log = createTestLog();
  const events: WorkerEvent[] = [];
  const held = new Set<string>();
  const wiped: string[] = [];
  let watermark: number | null = null;
  const marks: Marks = {
    epoch: () => 1,
    raiseEpoch: () => undefined,
    watermark: () => watermark,
    raiseWatermark: (_, at) => void (watermark = Math.max(watermark ?? 0, at)),
    freeze: () => undefined,
    unfreeze: () => undefined,
    clearWatermark: () => void (watermark = null),
    hasUnwritten: () => false,
    write: () => undefined,
    written: () => undefined,
    onUnwritten: () => undefined,
  };
  const problems = createTestProblems(clock);
  const reconnects = { allowed: true };
  const disk = { isFull: false };
  const session: Session = createSession('s1', {
    engine,
    clock,
    log,
    marks,
    problems,
    maxQrCodes: 6,
    startLimit: createStartLimit(3),
    random: () => 0.5,
    emit: (event) => void events.push(event),
    watched: () => [],
    readopt: () => undefined,
    initTimeoutMs: 60_000,
    probeMs: 5_000,
    maxReconnectAttempts,
    mayReconnect: () => reconnects.allowed,
    recycleAboveMb,
    profiles: {
      async claim(id) {
        if (held.has(id)) throw new EngineError('PROFILE_LOCKED', 'Held.');
        held.add(id);
        return { dir: `/profiles/${id}`, release: async () => void held.delete(id) };
      },
      async wipe(id) {
        if (held.has(id)) throw new EngineError('PROFILE_LOCKED', 'Held.');
        wiped.push(id);
      },
      isFull: () => disk.isFull,
    },
  });
  const statuses = (): SessionStatus[] =>
    events.flatMap((event) => (event.event === 'session.observed' ? [event.payload.status] : []));
  const shown = (): string => `${session.observe().status} ${session.observe().reason?.code ?? ''}`.trim();
  const signal = async (next: EngineSignal): Promise<void> => {
    engine.last().signal(next);
    await settle();
  };
  const connect = async (): Promise<void> => {
    session.start(null);
    await settle();
    await signal({ type: 'authenticated' });
    await signal({ type: 'ready', identity });
  };
  /** Memory is read from the system, which the test's clock does not turn: probes go on until it was. */
  const measured = async (): Promise<void> => {
    for (
      const before = engine.launches, most = { rounds: 200 };
      engine.launches === before && most.rounds > 0;
      most.rounds -= 1
    ) {
      await clock.advance(5_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return {
    engine,
    clock,
    log,
    problems,
    disk,
    events,
    wiped,
    reconnects,
    session,
    statuses,
    shown,
    signal,
    connect,
    measured,
    mark: () => watermark,
  };
}
const code = (clock: { now(): number }): EngineSignal => ({
  type: 'qr',
  text: 'code',
  expiresAt: new Date(clock.now() + 20_000),
});

let it: ReturnType<typeof rig>;
beforeEach(() => {
  it = rig();
});

describe('starting', () => {
  test('a code, a scan and a proof lead to connected', async () => {
    it.session.start(null);
    await settle();
    await it.signal(code(it.clock));
    expect(it.shown()).toBe('qr_pending WAITING_FOR_SCAN');
    expect(it.session.observe().qrText).toBe('code');
    await it.signal({ type: 'authenticated' });
    expect(it.session.observe().qrText).toBeNull();
    await it.signal({ type: 'ready', identity });
    expect(it.statuses()).toEqual(['initializing', 'qr_pending', 'connecting', 'connected']);
    expect(it.session.observe()).toMatchObject({ phoneNumber: '5511988887777', reason: null });
  });

  test('a second start while starting joins the first', async () => {
    it.engine.hold();
    it.session.start(null);
    it.session.start(null);
    await settle();
    it.engine.release();
    await settle();
    expect(it.engine.launches).toBe(1);
  });

  test('without a canary it is not connected', async () => {
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: false });
    await it.connect();
    expect(it.shown()).toBe('initializing EVENT_BRIDGE_BROKEN');
    expect(it.engine.open()).toBe(0);
  });

  test('a code that arrives while the page is proven outdates the proof', async () => {
    let answer = (): void => undefined;
    it.engine.answer.probe = () =>
      new Promise((resolve) => {
        answer = () => resolve({ roundTripMs: 1, canary: true });
      });
    await it.connect();
    await it.signal(code(it.clock));
    answer();
    await settle();
    expect(it.shown()).toBe('qr_pending WAITING_FOR_SCAN');
    expect(it.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
    await it.signal({ type: 'authenticated' });
    await it.signal({ type: 'ready', identity });
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
  });

  test('linked but never ready is reported as READY_TIMEOUT and started again', async () => {
    it.session.start(null);
    await settle();
    await it.signal({ type: 'authenticated' });
    await it.clock.advance(60_000);
    expect(it.shown()).toBe('initializing READY_TIMEOUT');
    await it.clock.advance(300);
    expect(it.engine.launches).toBe(2);
  });

  test('a locked login ends in an error that is not tried again', async () => {
    it.engine.failNext('PROFILE_LOCKED');
    it.session.start(null);
    await it.clock.advance(600_000);
    expect(it.shown()).toBe('error PROFILE_LOCKED');
    expect(it.engine.launches).toBe(1);
  });

  test('a page that froze on its code is started again', async () => {
    it.session.start(null);
    await settle();
    await it.signal(code(it.clock));
    await it.clock.advance(50_300);
    expect(it.engine.launches).toBe(2);
  });
});

describe('stopping', () => {
  test('a stop during the launch leaves no browser, and a start right after it gets a new one', async () => {
    it.engine.hold();
    it.session.start(null);
    await settle();
    const stopped = it.session.stop({ logout: false });
    it.session.start(null);
    it.engine.release();
    await stopped;
    await settle();
    expect(it.engine.most()).toBe(1);
    expect(it.engine.open()).toBe(1);
    expect(it.shown()).toBe('initializing STARTING');
    expect(it.session.isRunning()).toBe(true);
  });

  test('a send that runs is waited for, and a new one is refused', async () => {
    await it.connect();
    let finish = (): void => undefined;
    it.engine.answer.send = () =>
      new Promise((resolve) => {
        finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: '' });
      });
    const sending = it.session.send({} as never, { onTurn: () => undefined, onHandover: async () => Infinity });
    await settle();
    const stopped = it.session.stop({ logout: false });
    await settle();
    expect(it.engine.last().closed).toBe(false);
    finish();
    await stopped;
    expect(await sending).toMatchObject({ outcome: 'sent' });
    expect(it.shown()).toBe('disconnected USER_STOPPED');
    await expect(
      it.session.send({} as never, { onTurn: () => undefined, onHandover: async () => Infinity }),
    ).rejects.toMatchObject({
      code: 'SESSION_NOT_CONNECTED',
    });
  });

  test('a logout unlinks the device, then deletes the login', async () => {
    await it.connect();
    const browser = it.engine.last();
    await it.session.stop({ logout: true });
    expect([browser.loggedOut, browser.closed, it.wiped, it.shown()]).toEqual([
      true,
      true,
      ['s1'],
      'disconnected USER_LOGGED_OUT',
    ]);
  });

  test('a restart keeps the login and the one browser', async () => {
    await it.connect();
    await it.session.restart();
    await settle();
    expect([it.engine.launches, it.engine.open(), it.engine.most(), it.wiped.length]).toEqual([2, 1, 1, 0]);
  });
});

describe('a passkey', () => {
  beforeEach(async () => {
    it.session.start(null);
    await settle();
    await it.signal(code(it.clock));
    await it.signal({ type: 'passkey_required' });
    expect(it.shown()).toBe('passkey_required WAITING_FOR_PASSKEY');
  });
  const legal = (): void => expect(it.log.lines.filter(({ level }) => level === 'error')).toEqual([]);

  test('continues when it was confirmed, and returns to a code when it was refused', async () => {
    await it.signal(code(it.clock));
    expect(it.shown()).toBe('qr_pending WAITING_FOR_SCAN');
    await it.signal({ type: 'passkey_required' });
    await it.signal({ type: 'authenticated' });
    expect(it.shown()).toBe('connecting SYNCING');
    legal();
  });

  test('without a confirmation it ends with a timeout', async () => {
    await it.clock.advance(600_000);
    expect([it.shown(), it.engine.open()]).toEqual(['disconnected QR_TIMEOUT', 0]);
    legal();
  });

  test('a restart meanwhile, or a crash, keeps to the table', async () => {
    await it.session.restart();
    await settle();
    expect(it.shown()).toBe('initializing STARTING');
    await it.signal(code(it.clock));
    await it.signal({ type: 'passkey_required' });
    await it.signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: '' });
    expect(it.shown()).toBe('disconnected BROWSER_CRASHED');
    await it.clock.advance(300);
    expect(it.shown()).toBe('initializing STARTING');
    legal();
  });
});

describe('losing the browser', () => {
  const gone = (reason: Extract<EngineSignal, { type: 'gone' }>['reason']): EngineSignal => ({
    type: 'gone',
    reason,
    detail: '',
  });

  test('a crash is repaired at once and reported', async () => {
    await it.connect();
    await it.signal(gone('BROWSER_CRASHED'));
    expect(it.shown()).toBe('initializing BROWSER_CRASHED');
    await it.clock.advance(300);
    await it.signal({ type: 'authenticated' });
    await it.signal({ type: 'ready', identity });
    expect(it.shown()).toBe('connected');
    expect(it.events).toContainEqual({
      event: 'session.heal',
      payload: { step: 'restart', reason: 'BROWSER_CRASHED', ok: true },
    });
  });

  test('attempts are counted with growing delays, and the last one is an error', async () => {
    it.session.start(null);
    await settle();
    const times: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      const before = it.engine.launches;
      await it.signal(gone('BROWSER_CRASHED'));
      for (let waited = 0; waited < 60_000 && it.engine.launches === before; waited += 100) {
        await it.clock.advance(100);
        if (it.engine.launches > before) times.push(waited + 100);
      }
    }
    expect(times).toEqual([200, 5_000, 10_000]);
    expect(it.shown()).toBe('error RECONNECT_EXHAUSTED');
  });

  test('with autoReconnect off a lost browser is not restarted, and a user who starts the session gets a new one', async () => {
    it.reconnects.allowed = false;
    await it.connect();
    const { launches } = it.engine;
    await it.signal(gone('BROWSER_CRASHED'));
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.launches]).toEqual(['disconnected RECONNECT_OFF', launches]);
    await it.connect();
    expect([it.shown(), it.engine.launches]).toEqual(['connected', launches + 1]);
  });

  test('a browser that crashes each time right after it connected is not restarted for ever', async () => {
    await it.connect();
    for (let i = 0; i < 4; i += 1) {
      await it.signal(gone('PAGE_CRASHED'));
      await it.clock.advance(21_000);
      await it.signal({ type: 'ready', identity });
      await it.clock.advance(1_000);
    }
    expect(it.shown()).toBe('error RECONNECT_EXHAUSTED');
    expect(it.events.at(-2)).toEqual({ event: 'session.heal', payload: { step: 'restart', reason: 'PAGE_CRASHED', ok: false } });
  });

  test.each<SessionReason>(['PAGE_LOAD_TIMEOUT', 'BROWSER_CRASHED', 'PAGE_CRASHED'])(
    'while the disk is full %s is not counted; once there is room the session comes back by itself',
    async (reason) => {
      it.disk.isFull = true;
      it.engine.failNext(reason, 1_000);
      it.session.start(null);
      await settle();
      await it.clock.advance(3_600_000);
      expect([it.shown(), it.engine.launches > 30]).toEqual(['disconnected DISK_FULL', true]);
      it.disk.isFull = false;
      it.engine.failNext(reason, 0);
      await it.clock.advance(75_000);
      await it.signal({ type: 'authenticated' });
      await it.signal({ type: 'ready', identity });
      expect(it.shown()).toBe('connected');
    },
  );

  test('without a network attempts are not counted, and still grow apart', async () => {
    await it.connect();
    await it.signal({ type: 'line', up: false });
    expect(it.shown()).toBe('connecting RECONNECTING');
    it.engine.failNext('NETWORK_UNREACHABLE', 1_000);
    await it.clock.advance(3_600_000);
    expect(it.shown()).toBe('disconnected NETWORK_UNREACHABLE');
    expect(it.engine.launches).toBeGreaterThan(10);
    expect(it.engine.launches).toBeLessThan(30);
  });

  test.each([
    ['LOGGED_OUT_BY_PHONE', 'disconnected', ['s1']],
    ['CONFLICT', 'disconnected', []],
    ['AUTH_FAILURE', 'error', []],
  ] as const)('%s is not tried again', async (reason, status, wiped) => {
    await it.connect();
    await it.signal(gone(reason));
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.launches, it.wiped]).toEqual([`${status} ${reason}`, 1, [...wiped]]);
  });

  test('codes without a scan end it', async () => {
    it.session.start(null);
    await settle();
    await it.signal(code(it.clock));
    await it.signal({ type: 'qr_exhausted' });
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.open(), it.engine.launches]).toEqual(['disconnected QR_TIMEOUT', 0, 1]);
  });

  test('a page that does not answer is noticed within 15 s and its browser restarted', async () => {
    await it.connect();
    it.engine.answer.probe = () => Promise.reject(new Error('no answer'));
    await it.clock.advance(5_000);
    expect(it.shown()).toBe('initializing PAGE_UNRESPONSIVE');
    expect(it.events).toContainEqual({
      event: 'session.heal',
      payload: { step: 'probe', reason: 'PAGE_UNRESPONSIVE', ok: false },
    });
  });

  const heals = (): unknown[] => it.events.flatMap((event) => (event.event === 'session.heal' ? [event.payload] : []));

  test('a page whose browser accepts commands is reloaded first, which may be enough', async () => {
    await it.connect();
    it.engine.answer.probe = () => Promise.reject(new Error('no answer'));
    it.engine.answer.reload = async () => undefined;
    await it.clock.advance(5_000);
    expect([it.shown(), it.engine.reloads]).toEqual(['connecting PAGE_UNRESPONSIVE', 1]);
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
    await it.signal({ type: 'ready', identity });
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
    expect(heals()).toEqual([
      { step: 'probe', reason: 'PAGE_UNRESPONSIVE', ok: false },
      { step: 'reload', reason: 'PAGE_UNRESPONSIVE', ok: true },
    ]);
    // The next trouble has its own first step, once the page has held for a while.
    await it.clock.advance(31_000);
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: false });
    await it.clock.advance(5_000);
    expect([it.shown(), it.engine.reloads]).toEqual(['connecting EVENT_BRIDGE_BROKEN', 2]);
  });

  test('if a reload does not help within 15 s the browser is replaced, and each step is reported', async () => {
    await it.connect();
    it.engine.answer.probe = () => Promise.reject(new Error('no answer'));
    it.engine.answer.reload = async () => undefined;
    await it.clock.advance(5_000 + 15_000 + 500);
    expect([it.shown(), it.engine.launches]).toEqual(['initializing STARTING', 2]);
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
    await it.signal({ type: 'ready', identity });
    expect(it.shown()).toBe('connected');
    expect(heals()).toEqual([
      { step: 'probe', reason: 'PAGE_UNRESPONSIVE', ok: false },
      { step: 'reload', reason: 'PAGE_UNRESPONSIVE', ok: false },
      { step: 'restart', reason: 'PAGE_UNRESPONSIVE', ok: true },
    ]);
  });

  test('a stop while the page is reloaded still ends it', async () => {
    await it.connect();
    it.engine.answer.probe = () => Promise.reject(new Error('no answer'));
    it.engine.answer.reload = () => new Promise(() => undefined);
    await it.clock.advance(5_000);
    await it.session.stop({ logout: false });
    await it.clock.advance(60_000);
    expect([it.shown(), it.engine.open(), it.engine.launches]).toEqual(['disconnected USER_STOPPED', 0, 1]);
  });

  test('a browser above the memory mark is replaced, but not while something is being sent', async () => {
    it = rig(3, 1);
    await it.connect();
    it.engine.answer.pids = async () => [process.pid];
    let finish = (): void => undefined;
    it.engine.answer.send = () =>
      new Promise((resolve) => {
        finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: '' });
      });
    const sending = it.session.send({} as never, { onTurn: () => undefined, onHandover: async () => Infinity });
    await it.clock.advance(40_000);
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
    finish();
    await sending;
    await it.measured();
    expect([it.shown(), it.engine.launches, it.engine.most()]).toEqual(['initializing STARTING', 2, 1]);
    expect(it.events).toContainEqual({
      event: 'session.recycled',
      payload: { reason: 'MEMORY_RECYCLED', memoryMb: expect.any(Number) },
    });
    await it.signal({ type: 'ready', identity });
    expect(it.shown()).toBe('connected');
  });

  test('without a living lease nothing may be handed over; a later word of the backend is a living one', async () => {
    await it.connect();
    const { lease } = it.session;
    expect([lease.isValid(), lease.wasGranted()]).toEqual([true, false]);
    lease.grant(instant(it.clock), 20_000);
    await it.clock.advance(19_000);
    expect(lease.isValid()).toBe(true);
    await it.clock.advance(2_000);
    expect(lease.isValid()).toBe(false);
    lease.grant(instant(it.clock), 20_000);
    expect(lease.isValid()).toBe(true);
  });

  test('a send that hangs stops its lane no longer than its deadline, and can hand nothing over afterwards', async () => {
    await it.connect();
    const late: unknown[] = [];
    let wake = (): void => undefined;
    it.engine.answer.send = async (_send, onHandover) => {
      await new Promise<void>((resolve) => (wake = resolve));
      await onHandover().catch((error: unknown) => late.push((error as { code: string }).code));
      return { outcome: 'sent', whatsappId: 'w', ack: 1, at: new Date(0).toISOString() };
    };
    let handed = 0;
    const hooks = { onTurn: () => undefined, onHandover: async () => (handed += 1) };
    const hanging = it.session.send({ deadlineMs: 5_000 } as never, hooks);
    const failed = hanging.catch((error: Error) => error.message);
    await settle();
    it.engine.answer.send = async (_send, onHandover) => {
      await onHandover();
      return { outcome: 'sent', whatsappId: 'next', ack: 1, at: new Date(0).toISOString() };
    };
    const next = it.session.send({ deadlineMs: 5_000 } as never, hooks);
    await it.clock.advance(16_000);
    expect(await failed).toMatch('did not end');
    expect([await next, handed]).toMatchObject([{ whatsappId: 'next' }, 1]);
    wake();
    await settle();
    expect([late, handed]).toEqual([['OPERATION_TIMEOUT'], 1]);
  });

  test('a full disk ends a browser, not the session: it is retried without a limit', async () => {
    it.engine.failNext('DISK_FULL', 30);
    it.session.start(null);
    for (let n = 0; n < 1_000 && it.engine.open() === 0; n += 1) await it.clock.advance(20_000);
    expect([it.engine.open(), it.engine.launches]).toEqual([1, 31]);
    await it.signal({ type: 'ready', identity });
    expect(it.shown()).toBe('connected');
  });

  test.each(['BROWSER_NOT_FOUND', 'SANDBOX_UNAVAILABLE'] as const)(
    '%s is reported, and is not retried on this machine',
    async (reason) => {
      it.engine.failNext(reason, 100);
      it.session.start(null);
      await it.clock.advance(3_600_000);
      expect([it.shown(), it.engine.launches]).toEqual([`error ${reason}`, 1]);
    },
  );

  test('a browser that dies while it starts is started again', async () => {
    it.engine.failNext('BROWSER_CRASHED');
    it.session.start(null);
    await it.clock.advance(1_000);
    expect([it.engine.launches, it.engine.open()]).toEqual([2, 1]);
  });

  test('after QR_MAX_RETRIES codes without a scan it stops; a pairing code restarts the count', async () => {
    it.session.start(null);
    await settle();
    const show = (n: number) => it.signal({ type: 'qr', text: `code ${n}`, expiresAt: new Date(it.clock.now() + 20_000) });
    for (let n = 0; n < 6; n += 1) await show(n);
    // The same code again is no other one.
    await show(5);
    expect(it.shown()).toBe('qr_pending WAITING_FOR_SCAN');
    await it.session.run('session.pairingCode', { phoneNumber: '5511988887777' }, 1_000);
    for (let n = 6; n < 12; n += 1) await show(n);
    expect(it.shown()).toBe('qr_pending WAITING_FOR_SCAN');
    await show(12);
    expect(it.shown()).toBe('disconnected QR_TIMEOUT');
  });

  test('an event that could not be read is reported with its session', async () => {
    await it.connect();
    await it.signal({ type: 'unreadable', what: 'message_create', detail: 'TypeError' });
    expect(it.problems.unreported()).toMatchObject([
      { code: 'EVENT_UNREADABLE', sessionId: 's1', detail: 'message_create: TypeError' },
    ]);
    expect(it.shown()).toBe('connected');
  });

  test('one failed probe alone changes nothing', async () => {
    await it.connect();
    let calls = 0;
    it.engine.answer.probe = async () => (calls++ === 0 ? Promise.reject(new Error('slow')) : { roundTripMs: 1, canary: true });
    await it.clock.advance(12_000);
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
  });
});

describe('reading missed messages', () => {
  const observed = (at: number): EngineSignal =>
    ({
      type: 'event',
      event: 'message.observed',
      payload: { message: { key: 'k', timestamp: new Date(at).toISOString() } },
    }) as never;

  test('the first time nothing is scanned; after a restart messages newer than the mark are', async () => {
    const asked: Date[] = [];
    it.engine.answer.backfill = async (since) => {
      asked.push(since);
      return { chats: 1, messages: 2, truncated: false };
    };
    await it.connect();
    expect(asked).toEqual([]);
    await it.clock.advance(100_000);
    await it.signal(observed(it.clock.now()));
    const mark = it.clock.now();
    await it.session.restart();
    await settle();
    await it.signal({ type: 'ready', identity });
    expect(asked).toEqual([new Date(mark - 600_000)]);
    expect(it.events.slice(-2)).toMatchObject([
      { event: 'session.backfill', payload: { messages: 2 } },
      { event: 'session.caught_up', payload: { phoneNumber: identity.phoneNumber, at: new Date(mark).toISOString() } },
    ]);
  });

  test('a login without a past on this worker begins where the backend has its messages, if it is the same number', async () => {
    const asked: Date[] = [];
    it.engine.answer.backfill = async (since) => {
      asked.push(since);
      return { chats: 0, messages: 0, truncated: false };
    };
    const at = new Date(it.clock.now() - 7_200_000).toISOString();
    it.session.inherit({ phoneNumber: '5511900000000', at });
    await it.connect();
    expect(asked).toEqual([]);
    await it.session.stop({ logout: true });
    it.session.inherit({ phoneNumber: `+${identity.phoneNumber}`, at });
    await it.connect();
    expect(asked).toEqual([new Date(Date.parse(at) - 600_000)]);
  });

  test('a message that comes while the past is still missing does not move the mark', async () => {
    await it.connect();
    const before = it.mark();
    it.engine.answer.backfill = () => new Promise(() => undefined);
    await it.session.restart();
    await settle();
    await it.signal({ type: 'ready', identity });
    await it.clock.advance(50_000);
    await it.signal(observed(it.clock.now()));
    expect(it.mark()).toBe(before);
  });
});

describe('whatever happens', () => {
  type Step =
    { do: 'start' | 'stop' | 'logout' | 'restart' | 'wait' | 'long' } | { fail: SessionReason } | { signal: EngineSignal };
  const step = fc.oneof(
    fc.constantFrom<Step>({ do: 'start' }, { do: 'stop' }, { do: 'logout' }, { do: 'restart' }, { do: 'wait' }, { do: 'long' }),
    fc
      .constantFrom<SessionReason>('BROWSER_CRASHED', 'PAGE_LOAD_TIMEOUT', 'NETWORK_UNREACHABLE', 'PROFILE_LOCKED')
      .map((fail): Step => ({ fail })),
    fc
      .constantFrom<EngineSignal>(
        { type: 'qr', text: 'q', expiresAt: new Date(Date.UTC(2026, 10, 20, 1)) },
        { type: 'qr_exhausted' },
        { type: 'passkey_required' },
        { type: 'authenticated' },
        { type: 'ready', identity },
        { type: 'line', up: false },
        { type: 'line', up: true },
        { type: 'gone', reason: 'BROWSER_CRASHED', detail: '' },
        { type: 'gone', reason: 'LOGGED_OUT_BY_PHONE', detail: '' },
        { type: 'gone', reason: 'CONFLICT', detail: '' },
      )
      .map((signal): Step => ({ signal })),
  );

  test('no move is made that the table does not have, one browser at most is open, and a stop ends it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.boolean(), async (steps, waits) => {
        const model = rig();
        for (const next of steps) {
          if ('fail' in next) model.engine.failNext(next.fail);
          else if ('signal' in next) {
            model.engine.last()?.signal(next.signal);
          } else if (next.do === 'start') model.session.start(null);
          else if (next.do === 'wait') await model.clock.advance(1_000);
          else if (next.do === 'long') await model.clock.advance(120_000);
          else if (next.do === 'restart') void model.session.restart();
          else void model.session.stop({ logout: next.do === 'logout' });
          if (waits) await settle();
        }
        const stopped = model.session.stop({ logout: false });
        await model.clock.advance(60_000);
        await stopped;
        await model.clock.advance(3_600_000);
        let from: SessionStatus = 'disconnected';
        for (const to of model.statuses()) {
          if (to !== from) expect(sessionMoves[from]).toContain(to);
          from = to;
        }
        expect(model.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
        expect(model.engine.most()).toBeLessThanOrEqual(1);
        expect([model.engine.open(), model.session.observe().status]).toEqual([0, 'disconnected']);
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});

test('first starts take precedence over those of sessions whose browsers fail repeatedly', async () => {
  const gate = createStartLimit(1);
  const signal = new AbortController().signal;
  const order: string[] = [];
  const start = (name: string, isRepeat: boolean): Promise<void> =>
    gate.enter(signal, isRepeat).then((leave) => {
      order.push(name);
      setImmediate(leave);
    });
  await Promise.all([start('a', true), start('b', true), start('c', true), start('d', false), start('e', false)]);
  expect(order).toEqual(['a', 'd', 'e', 'b', 'c']);
});
