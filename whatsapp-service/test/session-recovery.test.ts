import { beforeEach, describe, expect, test } from '@jest/globals';
import type { SessionReason } from '@chasqui/shared';
import type { EngineSignal } from '../src/engine/engine.js';
import { instant } from '../src/sessions/lease.js';
import { identity, settle } from './memory-engine.js';
import { code, createSessionRig } from './session-rig.js';

/** What a session does when its browser or page fails. */

let it: ReturnType<typeof createSessionRig>;
beforeEach(() => {
  it = createSessionRig();
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
    it = createSessionRig(3, 1);
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

  test('a browser above the memory mark is replaced in the first idle moment, and not again while its page needs that much', async () => {
    it = createSessionRig(3, 1);
    await it.connect();
    it.engine.answer.pids = async () => [process.pid];
    let finish = (): void => undefined;
    it.engine.answer.send = () =>
      new Promise((resolve) => (finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: '' })));
    const hooks = { onTurn: () => undefined, onHandover: async () => Infinity };
    const sending = it.session.send({ deadlineMs: 6_000_000 } as never, hooks);
    await it.measured();
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
    const recycled = () => it.events.filter(({ event }) => event === 'session.recycled').length;
    expect(recycled()).toBe(0);
    finish();
    await sending;
    await settle();
    expect([it.engine.launches, recycled()]).toEqual([2, 1]);
    await it.signal({ type: 'ready', identity });
    await it.clock.advance(600_000);
    expect([it.engine.launches, recycled()]).toEqual([2, 1]);
  });

  test('an operation that runs in the page delays the replacement of its browser', async () => {
    it = createSessionRig(3, 0);
    await it.connect();
    it.engine.answer.pids = async () => [process.pid];
    let finish = (): void => undefined;
    it.engine.answer.lookup = () => new Promise((resolve) => (finish = () => resolve({ found: false, proven: false })));
    const running = it.session.run('session.lookup', {}, 600_000);
    it.recycle.aboveMb = 1;
    await it.measured();
    expect(it.engine.launches).toBe(1);
    finish();
    await running;
    await settle();
    expect(it.engine.launches).toBe(2);
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

describe('the copy of the login', () => {
  const gone: EngineSignal = { type: 'gone', reason: 'BROWSER_CRASHED', detail: '' };

  test('is made when a session that worked is stopped, unless there is a recent one', async () => {
    await it.connect();
    await it.session.stop({ logout: false });
    await it.connect();
    await it.session.stop({ logout: false });
    expect(it.copies.saves).toBe(1);
    await it.clock.advance(601_000);
    await it.connect();
    await it.session.stop({ logout: false });
    expect(it.copies.saves).toBe(2);
  });

  test('is not made from a browser that was lost, or that never worked', async () => {
    await it.connect();
    await it.signal(gone);
    await it.session.stop({ logout: false });
    expect(it.copies.saves).toBe(0);
  });

  test('is used once when a page that had a login shows a code at its start', async () => {
    it.copies.at = 1;
    it.session.start(null);
    await settle();
    await it.signal(code(it.clock));
    await it.clock.advance(10);
    expect([it.copies.restores, it.session.observe().qrText]).toEqual([1, null]);
    await it.signal(code(it.clock));
    expect([it.copies.restores, it.copies.at, it.session.observe().qrText]).toEqual([1, null, 'code']);
    expect(it.events).toContainEqual({
      event: 'session.heal',
      payload: { step: 'restore', reason: 'PROFILE_CORRUPT', ok: false },
    });
  });

  test('is used when a browser crashes again before it ever worked, and not for a lost network', async () => {
    it.copies.at = 1;
    it.session.start(null);
    await settle();
    await it.signal(gone);
    await it.clock.advance(300);
    expect(it.copies.restores).toBe(0);
    await it.signal(gone);
    await it.clock.advance(6_000);
    expect(it.copies.restores).toBe(1);
    await it.signal({ type: 'authenticated' });
    await it.signal({ type: 'ready', identity });
    expect(it.shown()).toBe('connected');
    expect(it.events).toContainEqual({
      event: 'session.heal',
      payload: { step: 'restore', reason: 'PROFILE_CORRUPT', ok: true },
    });
  });
});
