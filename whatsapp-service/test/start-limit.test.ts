import { expect, test } from '@jest/globals';
import { createStartLimit } from '../src/sessions/start-limit.js';

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
