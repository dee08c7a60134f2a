import { beforeEach, describe, expect, test } from '@jest/globals';
import type { EngineSignal } from '../src/engine/engine.js';
import { identity, settle } from './memory-engine.js';
import { code, createSessionRig } from './session-rig.js';

/** How a session starts, stops, asks for a passkey and reads what it missed. */

let it: ReturnType<typeof createSessionRig>;
beforeEach(() => {
  it = createSessionRig();
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

describe('the check of the page', () => {
  const checked = (essential: string[], missing = {}): EngineSignal => ({
    type: 'checked',
    check: {
      checkedAt: '2026-11-20T00:00:00.000Z',
      whatsappWebVersion: '2.3000.1',
      missing,
      unchecked: [],
      essential,
      listeners: [],
    },
  });

  test('is reported with the session, at once and later', async () => {
    await it.connect();
    expect(it.session.observe().selfCheck).toBeNull();
    const missing = { 'chats.archive': ['WAWebCmd.Cmd.archiveChat'] };
    await it.signal(checked([], missing));
    expect(it.shown()).toBe('connected');
    expect(it.events.at(-1)).toMatchObject({ event: 'session.observed', payload: { selfCheck: { missing } } });
    expect(it.session.observe().selfCheck).toMatchObject({ missing });
  });

  test('ends a session that lacks an essential function in an error that is not tried again', async () => {
    await it.connect();
    await it.signal(checked(['WAWebSendMsgChatAction']));
    await it.clock.advance(600_000);
    expect(it.shown()).toBe('error WHATSAPP_WEB_CHANGED');
    expect([it.engine.launches, it.engine.open()]).toEqual([1, 0]);
    expect(it.session.observe().selfCheck?.essential).toEqual(['WAWebSendMsgChatAction']);
    // A command starts it again: the worker may have been updated.
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
    await it.connect();
    await it.signal(checked([]));
    expect(it.shown()).toBe('connected');
  });
});

describe('the copy of the login while the session runs', () => {
  beforeEach(() => {
    it.engine.answer.pids = async () => [process.pid];
  });
  /** Lets probes run: each measures the memory, which is read from the system, and considers a copy. */
  const probed = async (): Promise<void> => {
    const before = it.copies.looks;
    for (let round = 0; round < 400 && it.copies.looks === before; round += 1) {
      await it.clock.advance(5_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(it.copies.looks).toBeGreaterThan(before);
    await settle();
  };

  test('is made at intervals while nothing is sent', async () => {
    await it.connect();
    await probed();
    expect(it.copies.saves).toBe(1);
    await probed();
    expect(it.copies.saves).toBe(1);
    it.copies.at = it.clock.now() - 3_600_000;
    await probed();
    expect([it.copies.saves, it.copies.at! > it.clock.now() - 60_000]).toEqual([2, true]);
  });

  test('waits for a send that runs', async () => {
    await it.connect();
    let finish = (): void => undefined;
    it.engine.answer.send = () =>
      new Promise((resolve) => {
        finish = () => resolve({ outcome: 'sent', whatsappId: 'w', ack: 1, at: '' });
      });
    const hooks = { onTurn: () => undefined, onHandover: async () => Infinity };
    const sending = it.session.send({ deadlineMs: 6_000_000 } as never, hooks);
    for (let round = 0; round < 30; round += 1) {
      await it.clock.advance(5_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect([it.copies.looks, it.copies.saves]).toEqual([0, 0]);
    finish();
    await sending;
    await probed();
    expect(it.copies.saves).toBe(1);
  });
});

describe('a login that the page cannot open', () => {
  const start = async (times: number): Promise<void> => {
    it.engine.failNext('PROFILE_CORRUPT', times);
    it.session.start(null);
    await settle();
    await it.clock.advance(1_000);
  };

  test('is replaced by its copy, and the browser starts again', async () => {
    it.copies.at = 1;
    await start(1);
    expect([it.shown(), it.engine.launches, it.copies.restores]).toEqual(['initializing STARTING', 2, 1]);
    await it.signal({ type: 'authenticated' });
    await it.signal({ type: 'ready', identity });
    expect(it.events).toContainEqual({
      event: 'session.heal',
      payload: { step: 'restore', reason: 'PROFILE_CORRUPT', ok: true },
    });
  });

  test('is an error when the copy does not open either', async () => {
    it.copies.at = 1;
    await start(2);
    expect([it.shown(), it.engine.launches, it.copies.restores]).toEqual(['error PROFILE_CORRUPT', 2, 1]);
  });
});
