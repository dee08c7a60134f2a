import { expect, test } from '@jest/globals';
import { createVerificationRoom, type LoginCaller, type VerificationRoom } from './verification-room.js';

const stranger = (number: number): LoginCaller => ({ email: `a${number}@example.com`, ip: `198.51.100.${number}` });
const owner: LoginCaller = { email: 'Owner@example.com', ip: '192.0.2.1' };

/** Verifications that end when the test says so, one after the other. */
function createVerifier() {
  const ends: (() => void)[] = [];
  let running = 0;
  let maxRunning = 0;
  const order: string[] = [];
  const verify = (name: string) => async (): Promise<void> => {
    running += 1;
    maxRunning = Math.max(maxRunning, running);
    order.push(name);
    await new Promise<void>((resolve) => ends.push(resolve));
    running -= 1;
  };
  const endAll = async (): Promise<void> => {
    for (let end = ends.shift(); end; end = ends.shift()) {
      end();
      await new Promise(setImmediate);
    }
  };
  return { verify, endAll, order, maxRunning: () => maxRunning };
}

test('of a flood two are verified at once, a hundred wait, and the others are refused before they are verified', async () => {
  const room = createVerificationRoom({ cores: 4 });
  const { verify, endAll, order, maxRunning } = createVerifier();
  const calls = Array.from({ length: 1_000 }, (_, number) => room.run(stranger(number), verify(`${number}`)));
  const settled = Promise.allSettled(calls);
  await new Promise(setImmediate);
  await endAll();
  const results = await settled;
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused).toHaveLength(1_000 - 102);
  expect(refused.every(({ reason }) => (reason as { code?: string }).code === 'OVERLOADED')).toBe(true);
  expect(order).toHaveLength(102);
  expect(maxRunning()).toBe(2);
});

test.each([
  ['in this process', (room: VerificationRoom) => room.remember({ ...owner, email: owner.email.toLowerCase() }), owner],
  ['before it started', () => undefined, { ...owner, isKnown: true }],
])('a caller that signed in %s is verified next, also when no stranger is let in any more', async (_when, prepare, owner) => {
  const room = createVerificationRoom({ cores: 4 });
  prepare(room);
  const { verify, endAll, order } = createVerifier();
  const flood = Promise.allSettled(Array.from({ length: 300 }, (_, number) => room.run(stranger(number), verify('stranger'))));
  const login = room.run(owner, verify('owner'));
  // From another address it is a stranger's login.
  await expect(room.run({ ...owner, ip: '192.0.2.9', isKnown: false }, verify('elsewhere'))).rejects.toMatchObject({
    code: 'OVERLOADED',
  });
  await new Promise(setImmediate);
  await endAll();
  await Promise.all([flood, login]);
  expect(order.indexOf('owner')).toBe(2);
});

test('a verification that fails gives its place to the next one', async () => {
  const room = createVerificationRoom();
  const failures = Array.from({ length: 5 }, (_, number) => room.run(stranger(number), () => Promise.reject(new Error('down'))));
  expect((await Promise.allSettled(failures)).map(({ status }) => status)).toEqual(Array<string>(5).fill('rejected'));
  await expect(room.run(owner, () => Promise.resolve('verified'))).resolves.toBe('verified');
});

test('on two cores one login of a stranger runs at a time, and one of a known caller beside it at once', async () => {
  const room = createVerificationRoom({ cores: 2 });
  const { verify, endAll, order, maxRunning } = createVerifier();
  const flood = Promise.all(Array.from({ length: 20 }, (_, number) => room.run(stranger(number), verify('stranger'))));
  await new Promise(setImmediate);
  expect(order).toEqual(['stranger']);
  const login = room.run({ ...owner, isKnown: true }, verify('owner'));
  await new Promise(setImmediate);
  expect(order).toEqual(['stranger', 'owner']);
  await endAll();
  await Promise.all([flood, login]);
  expect([order.length, maxRunning()]).toEqual([21, 2]);
});

test('a login that waits too long for its turn is refused, and the others keep their turns', async () => {
  const room = createVerificationRoom({ cores: 2, maxWaitMs: 100 });
  const { verify, endAll, order } = createVerifier();
  const first = room.run(stranger(1), verify('first'));
  const late = Array.from({ length: 5 }, (_, number) => room.run(stranger(number + 2), verify('late')));
  for (const { status, reason } of (await Promise.allSettled(late)) as { status: string; reason?: { code?: string } }[])
    expect([status, reason?.code]).toEqual(['rejected', 'OVERLOADED']);
  const next = room.run(stranger(8), verify('next'));
  await endAll();
  await Promise.all([first, next]);
  expect(order).toEqual(['first', 'next']);
});

test('a flood from one address leaves room for the logins of other addresses', async () => {
  const room = createVerificationRoom({ cores: 2 });
  const { verify, endAll, order } = createVerifier();
  const flood = Promise.allSettled(Array.from({ length: 300 }, () => room.run(stranger(1), verify('flood'))));
  const other = room.run(stranger(2), verify('other'));
  await new Promise(setImmediate);
  await endAll();
  await Promise.all([flood, other]);
  expect([order.length, order.includes('other')]).toEqual([62, true]);
});
