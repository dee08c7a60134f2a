import { expect, test } from '@jest/globals';
import { tmpdir } from 'node:os';
import { createDisk } from '../src/disk.js';
import { createTestLog } from './memory-engine.js';

test('with less room than the mark the worker is degraded and says so, once', async () => {
  const log = createTestLog();
  const disk = createDisk({ dir: tmpdir(), warnBelowMb: 1_000_000_000, pending: () => 7, log });
  expect(disk.hasRoom()).toBe(true);
  await disk.check();
  await disk.check();
  expect([disk.hasRoom(), disk.freeMb()]).toEqual([false, expect.any(Number)]);
  expect(log.lines).toEqual([expect.objectContaining({ level: 'warn', fields: { freeMb: disk.freeMb(), waitingEvents: 7 } })]);
});

test('with room nothing is said', async () => {
  const log = createTestLog();
  const disk = createDisk({ dir: tmpdir(), warnBelowMb: 1, pending: () => 0, log });
  await disk.check();
  expect([disk.hasRoom(), log.lines]).toEqual([true, []]);
});
