import { beforeEach, expect, test } from '@jest/globals';
import { settle } from './memory-engine.js';
import { createSessionRig } from './session-rig.js';

/** When the limits and devices of an account are read, and what is reported. */

let it: ReturnType<typeof createSessionRig>;
let reads = 0;
let state = { reachOutLocked: false, reachOutUntil: null as string | null, linkedDevices: 1 as number | null };
beforeEach(() => {
  it = createSessionRig();
  reads = 0;
  state = { reachOutLocked: false, reachOutUntil: null, linkedDevices: 1 };
  it.engine.answer.account = async () => {
    reads += 1;
    return { ...state };
  };
});
const reported = () => it.events.flatMap((event) => (event.event === 'session.account' ? [event.payload] : []));

test('it is read when the session connects and every 15 minutes, and reported when it has changed', async () => {
  await it.connect();
  expect([reads, reported()]).toEqual([1, [state]]);
  await it.clock.advance(900_000);
  expect([reads, reported().length]).toEqual([2, 1]);
  state.linkedDevices = 2;
  await it.clock.advance(900_000);
  expect(reported().at(-1)).toMatchObject({ reachOutLocked: false, linkedDevices: 2 });
});

test('a message that is refused because the account may not start new chats is followed by a read', async () => {
  await it.connect();
  state.reachOutLocked = true;
  it.engine.answer.send = async (_send, onHandover) => {
    await onHandover();
    return { outcome: 'failed', reason: 'REACH_OUT_LOCKED', message: 'No.', retryable: false };
  };
  await it.session.send({ deadlineMs: 1_000 } as never, { onTurn: () => undefined, onHandover: async () => Infinity });
  await settle();
  expect(reported().at(-1)).toMatchObject({ reachOutLocked: true });
});

test('a read that fails is repeated at the next interval, and the session stays connected', async () => {
  it.engine.answer.account = async () => Promise.reject(new Error('The page hangs.'));
  await it.connect();
  expect([it.shown(), reported()]).toEqual(['connected', []]);
  it.engine.answer.account = async () => ({ ...state });
  await it.clock.advance(900_000);
  expect(reported()).toEqual([state]);
});

test('nothing is read or reported after the browser has ended', async () => {
  await it.connect();
  const before = reads;
  await it.session.stop({ logout: false });
  await it.clock.advance(3_600_000);
  expect(reads).toBe(before);
});
