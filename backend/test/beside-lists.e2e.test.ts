import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { percentile } from '../../bench/src/load.js';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';

/**
 * A session with 2,000 chats and 5,000 contacts is listed without a pause, and another session of the same worker sends meanwhile: both share the two
 * processes, and each has its own browser.
 */

const ana = '5511999990001';
const phones = { large: '5511988887701', small: '5511988887702' };
const names = ['large', 'small'] as const;
const sends = 30;
/** How much later the slowest tenth of the sends may be: the lists use the same cores. */
const allowedMs = 250;
/** On a busy machine everything takes longer. A send that waits for lists takes as long as the slowest of them, which waits for the others. */
const allowedShare = 2 / 3;

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ settings: { SEND_RATE_PER_MINUTE: '0', HEARTBEAT_SECONDS: '1' } });
  const { client } = stack.simulator;
  await client.createAccount({ phone: ana, name: 'Ana' });
  for (const name of names) {
    const phone = phones[name];
    await client.createAccount({ phone, name });
    if (name === 'large') await client.crowd({ phone, first: '5521900000001', contacts: 5_000, chats: 2_000 });
    await stack.api('POST', '/sessions', { name });
    await stack.api('POST', `/sessions/${name}/connect`);
    const qr = await eventually('a code', async () => {
      const { body } = await stack.api<{ qrText: string | null }>('GET', `/sessions/${name}/qr`);
      return body.data?.qrText;
    });
    await client.scan({ qr, phone });
    const isConnected = async () => (await stack.api('GET', `/sessions/${name}`)).body.data?.['isConnected'] === true;
    await eventually(`${name} to be connected`, isConnected, 60_000);
  }
}, 180_000);
afterAll(async () => {
  await stack?.close();
}, 60_000);

/** Sends one message after the other through the small session. Returns how long each call took, in milliseconds. */
async function sendAll(words: string): Promise<number[]> {
  const times: number[] = [];
  for (let number = 0; number < sends; number += 1) {
    const began = performance.now();
    const body = { sessionId: 'small', recipient: ana, message: `${words} ${number}` };
    const { status, body: reply } = await stack.api('POST', '/messages/send-text', body);
    expect([status, reply.error]).toEqual([200, undefined]);
    times.push(performance.now() - began);
  }
  return times;
}

test('the sends of one session are as fast beside the lists of a session with 2,000 chats and 5,000 contacts as without', async () => {
  await sendAll('warm');
  const alone = await sendAll('alone');
  let isOver = false;
  const lists: number[] = [];
  const listing = (path: string) => async (): Promise<void> => {
    while (!isOver) {
      const began = performance.now();
      const { status, body } = await stack.api('GET', `/sessions/large/${path}`);
      expect([status, body.error]).toEqual([200, undefined]);
      lists.push(performance.now() - began);
    }
  };
  // The page answers one list after the other, so a send behind these four would wait for all of them.
  const paths = ['chats?limit=200', 'contacts?limit=200', 'chats?limit=200&offset=1800', 'contacts?search=person&limit=200'];
  const running = Promise.all(paths.map((path) => listing(path)()));
  running.catch(() => (isOver = true)); // Reported by the wait at the end.
  await eventually('the first lists', async () => lists.length >= 2);
  const beside = await sendAll('beside').finally(() => (isOver = true));
  await running;
  const [before, after] = [percentile(alone, 0.9), percentile(beside, 0.9)];
  const slowest = Math.max(...lists);
  process.stderr.write(
    `90 % of ${sends} sends: within ${before.toFixed(0)} ms alone, ${after.toFixed(0)} ms beside ${lists.length} lists (the slowest took ${slowest.toFixed(0)} ms)\n`,
  );
  expect(lists.length).toBeGreaterThan(4);
  expect(after).toBeLessThan(before + Math.max(allowedMs, slowest * allowedShare));
  const received = await stack.simulator.client.received({ phone: ana });
  expect(received.filter(({ text }) => text?.startsWith('beside '))).toHaveLength(sends);
}, 180_000);
