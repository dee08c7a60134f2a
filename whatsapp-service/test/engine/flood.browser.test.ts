import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { ana, eventOf, link, me, online, startRig, type Rig } from './harness.js';

/** A page that prints, throws and rejects without end: the session continues to work, and neither the worker nor the page keeps what was printed. */

interface Started {
  pupPage: { evaluate: (script: string) => Promise<unknown> };
}
const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { initialize(this: Started): Promise<void> } };
};
let newest: Started | null = null;
const { initialize } = Client.prototype;
Client.prototype.initialize = function () {
  newest = this;
  return initialize.call(this);
};

let rig: Rig;
let session: EngineSession;
let signals: EngineSignal[];
beforeAll(async () => {
  rig = await startRig('2026-09');
  ({ session, signals } = await link(rig));
  await online(rig);
}, 60_000);
afterAll(() => rig?.close());

const memoryMb = (): number => {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().rss / 1_048_576;
};

/** Every turn of the page's loop prints `each` times what `what` says, until `total` were printed. */
const flood = (what: string, total: number, each: number): string => `new Promise((resolve) => {
  let left = ${total};
  const turn = () => {
    for (let count = 0; count < ${each} && left > 0; count += 1, left -= 1) { ${what} }
    if (left > 0) setTimeout(turn, 0); else setTimeout(resolve, 100);
  };
  turn();
})`;

test('the return values of a page’s console still work', async () => {
  const made = await newest!.pupPage.evaluate(`typeof console.createTask('x').run + ' ' + typeof console.log('x')`);
  expect(made).toBe('function undefined');
}, 20_000);

test.each<[string, string, number, number]>([
  ['100,000 short lines', 'console.log("x", left);', 100_000, 1_000],
  ['20,000 lines of 10 KB', 'console.warn("x".repeat(10_000));', 20_000, 500],
  ['60 lines of 20 MB', 'console.log("x".repeat(20_000_000));', 60, 3],
  [
    '20,000 objects with all that they hold',
    'console.log({ a: new Array(100).fill({ b: left }) }, window, document);',
    20_000,
    500,
  ],
  ['20,000 exceptions', 'setTimeout(() => { throw new Error("x".repeat(1_000)); }, 0);', 20_000, 500],
  ['20,000 rejections', 'Promise.reject(new Error("x".repeat(1_000)));', 20_000, 500],
  ['20 exceptions of 20 MB', 'setTimeout(() => { throw new Error("x".repeat(20_000_000)); }, 0);', 20, 2],
  ['20 rejections with 20 MB', 'Promise.reject("x".repeat(20_000_000));', 20, 2],
  ['20 numbers of 3 MB', 'console.log(1n << 24_000_000n);', 20, 2],
  ['20,000 rejections with objects', 'Promise.reject({ big: new Array(1_000).fill(left) });', 20_000, 500],
])(
  '%s: probes and messages pass meanwhile, and memory is as before',
  async (_name, what, total, each) => {
    const before = memoryMb();
    let done = false;
    const flooding = newest!.pupPage.evaluate(flood(what, total, each)).finally(() => (done = true));
    const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'during it' });
    const probes: { canary: boolean }[] = [];
    while (!done) probes.push(await session.probe(4_000));
    await flooding;
    await eventOf(signals, 'message.observed', ({ message }) => message.key === key);
    expect(probes.length).toBeGreaterThan(0);
    expect(probes.filter(({ canary }) => !canary)).toEqual([]);
    expect(memoryMb() - before).toBeLessThan(100);
  },
  120_000,
);
