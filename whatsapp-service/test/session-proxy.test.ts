import { beforeEach, describe, expect, test } from '@jest/globals';
import { EngineError } from '../src/engine/engine.js';
import { sessionProxy } from '../src/proxy/session-proxy.js';
import { identity, settle } from './memory-engine.js';
import { createSessionRig } from './session-rig.js';

/** What a session does with its proxy: it waits for one that fails, and never starts a browser without it. */

let it: ReturnType<typeof createSessionRig>;
const first = sessionProxy({ url: 'socks5://one.example:1080', username: 'shop', password: 'first' });
const second = sessionProxy({ url: 'socks5://two.example:1080', username: 'shop', password: 'second' });
beforeEach(() => {
  it = createSessionRig();
  it.proxy.current = first;
});
const start = async (): Promise<void> => {
  it.session.start(null);
  await settle();
};
/** Turns the clock until another browser is launched, for at most this time. */
const launchesWithin = async (ms: number): Promise<void> => {
  const before = it.engine.launches;
  for (let waited = 0; waited < ms && it.engine.launches === before; waited += 1_000) await it.clock.advance(1_000);
};
const becomeReady = async (): Promise<void> => {
  await it.signal({ type: 'authenticated' });
  await it.signal({ type: 'ready', identity });
};

describe('a proxy that fails', () => {
  test.each(['PROXY_UNREACHABLE', 'PROXY_AUTH_FAILED'] as const)(
    'before the start: %s, no browser, and the session starts by itself when the proxy works',
    async (reason) => {
      it.proxy.failure = reason;
      await start();
      expect([it.shown(), it.engine.launches]).toEqual([`error ${reason}`, 0]);
      const reported = it.statuses().length;
      await it.clock.advance(3_600_000);
      expect([it.shown(), it.engine.launches]).toEqual([`error ${reason}`, 0]);
      expect(it.statuses()).toHaveLength(reported);
      expect(it.proxy.checks).toBeGreaterThan(5);
      it.proxy.failure = null;
      await launchesWithin(reason === 'PROXY_AUTH_FAILED' ? 600_000 : 60_000);
      await becomeReady();
      expect([it.shown(), it.engine.launches, it.proxy.open]).toEqual(['connected', 1, 1]);
      expect(it.engine.last().options.proxyPort).toBe(9_999);
    },
  );

  test('while the session is connected: an error at once, and connected again by itself', async () => {
    await it.connect();
    it.proxy.failure = 'PROXY_UNREACHABLE';
    it.proxy.die(new EngineError('PROXY_UNREACHABLE', 'The proxy is gone.'));
    await settle();
    expect([it.shown(), it.engine.open(), it.proxy.open]).toEqual(['error PROXY_UNREACHABLE', 0, 0]);
    await it.clock.advance(60_000);
    expect(it.engine.launches).toBe(1);
    it.proxy.failure = null;
    await launchesWithin(60_000);
    await becomeReady();
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 2]);
  });

  test('another failure than before is shown', async () => {
    it.proxy.failure = 'PROXY_UNREACHABLE';
    await start();
    it.proxy.failure = 'PROXY_AUTH_FAILED';
    await it.clock.advance(6_500);
    expect(it.shown()).toBe('error PROXY_AUTH_FAILED');
  });

  test('a start by a person does not wait for the next check, and one by a heartbeat does', async () => {
    it.proxy.failure = 'PROXY_AUTH_FAILED';
    await start();
    it.proxy.failure = null;
    await start();
    expect([it.shown(), it.engine.launches]).toEqual(['error PROXY_AUTH_FAILED', 0]);
    it.session.retry();
    await settle();
    expect([it.shown(), it.engine.launches]).toEqual(['initializing STARTING', 1]);
  });

  test('a stop ends the wait', async () => {
    it.proxy.failure = 'PROXY_UNREACHABLE';
    await start();
    await it.session.stop({ logout: false });
    it.proxy.failure = null;
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.launches]).toEqual(['disconnected USER_STOPPED', 0]);
  });

  test('with autoReconnect off the session stays in the error until a person starts it', async () => {
    it.reconnects.allowed = false;
    it.proxy.failure = 'PROXY_UNREACHABLE';
    await start();
    it.proxy.failure = null;
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.launches, it.session.isRunning()]).toEqual(['error PROXY_UNREACHABLE', 0, false]);
    await start();
    expect(it.engine.launches).toBe(1);
  });
});

describe('another proxy', () => {
  const apply = async (proxy: typeof it.proxy.current): Promise<void> => {
    it.proxy.current = proxy;
    it.session.applyProxy();
    await settle();
  };

  test.each<[string, () => typeof it.proxy.current, () => typeof it.proxy.current]>([
    ['another address', () => first, () => second],
    [
      'another password',
      () => first,
      () => sessionProxy({ url: 'socks5://one.example:1080', username: 'shop', password: 'new' }),
    ],
    ['a proxy where there was none', () => null, () => first],
    ['no proxy any more', () => first, () => null],
  ])('%s replaces the browser once', async (_which, before, after) => {
    it.proxy.current = before();
    await it.connect();
    await apply(after());
    await apply(after());
    await becomeReady();
    expect([it.shown(), it.engine.launches, it.engine.open()]).toEqual(['connected', 2, 1]);
    expect(it.engine.last().options.proxyPort).toBe(after() ? 9_999 : undefined);
    await apply(after());
    expect(it.engine.launches).toBe(2);
  });

  test('the same proxy in a new heartbeat changes nothing', async () => {
    await it.connect();
    await apply(sessionProxy({ url: 'socks5://one.example:1080', username: 'shop', password: 'first' }));
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 1]);
  });

  test('a session that waits for its proxy starts at once with another one, and not with the same one', async () => {
    it.proxy.failure = 'PROXY_AUTH_FAILED';
    await start();
    it.proxy.failure = null;
    await apply(first);
    expect(it.engine.launches).toBe(0);
    await apply(second);
    expect([it.shown(), it.engine.launches]).toEqual(['initializing STARTING', 1]);
  });

  /** Begins a send that ends when `finish` is called. */
  async function startSend() {
    let finish = (): void => undefined;
    const sent = { outcome: 'sent' as const, whatsappId: 'x', ack: 1, at: new Date(0).toISOString() };
    it.engine.answer.send = () => new Promise((resolve) => (finish = () => resolve(sent)));
    const hooks = { onTurn: () => undefined, onHandover: async () => Infinity };
    const sending = it.session.send({ deadlineMs: 8_000 } as never, hooks);
    await settle();
    return { sending, finish: () => finish() };
  }

  test('a running send ends before its browser is replaced', async () => {
    await it.connect();
    const { sending, finish } = await startSend();
    await apply(second);
    expect(it.engine.launches).toBe(1);
    finish();
    expect(await sending).toMatchObject({ outcome: 'sent' });
    await settle();
    expect(it.engine.launches).toBe(2);
  });

  test('a browser that is lost while a send still runs is replaced once', async () => {
    await it.connect();
    const { sending, finish } = await startSend();
    await apply(second);
    await it.signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: '' });
    await it.clock.advance(300);
    expect(it.engine.launches).toBe(2);
    finish();
    await sending;
    await settle();
    await becomeReady();
    expect([it.shown(), it.engine.launches]).toEqual(['connected', 2]);
  });

  test('a session that was stopped meanwhile is not started', async () => {
    await it.connect();
    const stopping = it.session.stop({ logout: false });
    await apply(second);
    await stopping;
    await settle();
    expect([it.shown(), it.engine.launches]).toEqual(['disconnected USER_STOPPED', 1]);
  });
});
