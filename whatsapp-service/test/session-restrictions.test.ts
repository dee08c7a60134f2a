import { beforeEach, expect, test } from '@jest/globals';
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
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, challenged: true });
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
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, challenged: true });
  await it.connect();
  expect(it.shown()).toBe('connecting ACCOUNT_CHALLENGED');
  await it.signal({ type: 'line', up: false });
  it.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true });
  await it.clock.advance(6_000);
  expect(it.shown()).toBe('connecting RECONNECTING');
  await it.signal({ type: 'line', up: true });
  expect(it.shown()).toBe('connected');
});
