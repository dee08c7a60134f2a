import { beforeEach, describe, expect, test } from '@jest/globals';
import { identity, settle } from './memory-engine.js';
import { createSessionRig } from './session-rig.js';

/** What a session does when WhatsApp restricts its account. */

let it: ReturnType<typeof createSessionRig>;
beforeEach(() => {
  it = createSessionRig();
});

test('a temporary ban ends the session in an error with its end; a start that works clears it', async () => {
  await it.connect();
  const until = new Date(it.clock.now() + 3_600_000);
  await it.signal({ type: 'gone', reason: 'ACCOUNT_TEMPORARILY_BANNED', detail: 'Banned.', until });
  expect(it.shown()).toBe('error ACCOUNT_TEMPORARILY_BANNED');
  expect(it.session.observe().until).toBe(until.toISOString());
  expect(it.events.at(-1)).toMatchObject({ payload: { status: 'error', until: until.toISOString() } });
  await it.clock.advance(600_000);
  expect(it.engine.launches).toBe(1);
  await it.connect();
  expect([it.shown(), it.session.observe().until]).toEqual(['connected', null]);
});

test('a page whose account WhatsApp wants to check is not connected until that is over, and is not restarted', async () => {
  await it.connect();
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, challenge: 'other' });
  await it.clock.advance(6_000);
  expect(it.shown()).toBe('connecting ACCOUNT_CHALLENGED');
  await it.clock.advance(600_000);
  expect([it.shown(), it.engine.launches]).toEqual(['connecting ACCOUNT_CHALLENGED', 1]);
  await expect(
    it.session.send({ deadlineMs: 1_000 } as never, { onTurn: () => undefined, onHandover: async () => Infinity }),
  ).rejects.toMatchObject({ code: 'SESSION_NOT_CONNECTED' });
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
  await it.clock.advance(6_000);
  expect(it.shown()).toBe('connected');
});

test('a check that WhatsApp wants right after the start keeps the session from being connected, also while the line is down', async () => {
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, challenge: 'other' });
  await it.connect();
  expect(it.shown()).toBe('connecting ACCOUNT_CHALLENGED');
  await it.signal({ type: 'line', up: false });
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
  await it.clock.advance(6_000);
  expect(it.shown()).toBe('connecting RECONNECTING');
  await it.signal({ type: 'line', up: true });
  expect(it.shown()).toBe('connected');
});

describe('a check that wants the passkey of the account', () => {
  const asks = async () => ({ roundTripMs: 1, canary: true, challenge: 'passkey' as const });
  const content = async () => ({ roundTripMs: 1, canary: true });
  const send = () =>
    it.session.send({ deadlineMs: 1_000 } as never, { onTurn: () => undefined, onHandover: async () => Infinity });
  const blocked = 'passkey_required ACCOUNT_PASSKEY_REQUIRED';
  const block = async () => {
    await it.connect();
    it.engine.answer.probe = asks;
    await it.clock.advance(6_000);
    expect(it.shown()).toBe(blocked);
  };

  test('is a status of its own: nothing is sent, and the browser stays until it is answered', async () => {
    await block();
    expect(it.events.at(-1)).toMatchObject({ payload: { status: 'passkey_required', phoneNumber: identity.phoneNumber } });
    await expect(send()).rejects.toMatchObject({ code: 'SESSION_NOT_CONNECTED' });
    await it.clock.advance(3_600_000);
    expect([it.shown(), it.engine.launches, it.engine.sent]).toEqual([blocked, 1, []]);
    it.engine.answer.probe = content;
    await it.clock.advance(6_000);
    expect(it.shown()).toBe('connected');
  });

  test('is seen before the session counts as connected', async () => {
    it.engine.answer.probe = asks;
    await it.connect();
    expect([it.shown(), it.statuses().includes('connected')]).toEqual([blocked, false]);
  });

  test('is over at once when its answer was accepted', async () => {
    await block();
    it.engine.answer.probe = content;
    await it.session.run('session.answerPasskey', {}, 1_000);
    await settle();
    expect(it.shown()).toBe('connected');
  });

  test('and a lost connection to WhatsApp do not hide each other', async () => {
    await block();
    await it.signal({ type: 'line', up: false });
    await it.clock.advance(6_000);
    expect(it.shown()).toBe('connecting RECONNECTING');
    await it.signal({ type: 'line', up: true });
    expect(it.shown()).toBe(blocked);
  });

  test('that turns into another kind of check is shown as that, and back', async () => {
    await block();
    it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, challenge: 'other' });
    await it.clock.advance(6_000);
    expect(it.shown()).toBe('connecting ACCOUNT_CHALLENGED');
    it.engine.answer.probe = asks;
    await it.clock.advance(6_000);
    expect(it.shown()).toBe(blocked);
  });

  test('comes again with the next browser after a crash and after a restart', async () => {
    await block();
    await it.signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: '' });
    await it.clock.advance(1_000);
    await it.signal({ type: 'ready', identity });
    expect([it.shown(), it.engine.launches]).toEqual([blocked, 2]);
    await it.session.restart();
    await settle();
    await it.signal({ type: 'ready', identity });
    expect([it.shown(), it.engine.launches]).toEqual([blocked, 3]);
  });

  test('does not keep a logout from unlinking the device', async () => {
    await block();
    const browser = it.engine.last();
    await it.session.stop({ logout: true });
    expect([browser.loggedOut, it.shown()]).toEqual([true, 'disconnected USER_LOGGED_OUT']);
  });
});
