import { spawn } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { createCpuMeter } from '../src/sessions/cpu.js';

test('processor time is measured between two calls, over all processes, also those that began or ended in between', async () => {
  const used = new Map([
    [1, 1_000],
    [2, 50],
  ]);
  const measure = createCpuMeter((pid) => Promise.resolve(used.get(pid) ?? null));
  expect(await measure([1, 2], 10_000)).toBeNull();
  used.set(1, 1_200).delete(2);
  used.set(3, 100);
  // Three seconds of processor time within two seconds.
  expect(await measure([1, 2, 3], 12_000)).toBe(150);
  expect(await measure([1, 3], 14_000)).toBe(0);
  expect(await measure([], 15_000)).toBeNull();
});

test('a busy process is measured with figures of the system', async () => {
  const busy = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
  try {
    const measure = createCpuMeter();
    expect(await measure([busy.pid!], performance.now())).toBeNull();
    let percent: number | null = 0;
    for (const until = performance.now() + 30_000; !percent && performance.now() < until;) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      percent = await measure([busy.pid!], performance.now());
    }
    expect(percent).toBeGreaterThan(0);
    expect(percent).toBeLessThan(150);
  } finally {
    busy.kill('SIGKILL');
  }
});
