import { expect, test } from '@jest/globals';
import { sendCommand, sendDeadline } from '../src/worker-api.js';

test('the deadline of a send grows with its file, up to what a command may ask for', () => {
  expect(sendDeadline(45_000, 0)).toBe(45_000);
  expect(sendDeadline(45_000, 1)).toBe(45_001);
  expect(sendDeadline(45_000, 100_000_000)).toBe(445_000);
  const longest = sendDeadline(300_000, 2 ** 40);
  expect(longest).toBe(600_000);
  expect(sendCommand.shape.deadlineMs.safeParse(longest).success).toBe(true);
  expect(sendCommand.shape.deadlineMs.safeParse(longest + 1).success).toBe(false);
});
