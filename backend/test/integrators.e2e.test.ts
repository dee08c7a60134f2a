import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../../bench/src/stack.js';

/** The example with which an integrator tests a program of their own, against both real processes and the simulator. */

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ settings: { UNCERTAIN_GRACE_MS: '1000', PROBE_SECONDS: '1' } });
}, 120_000);
afterAll(async () => {
  await stack?.close();
}, 60_000);

test('runs as it is printed', async () => {
  const example = resolve(import.meta.dirname, '../../examples/javascript/simulator.test.mjs');
  const env = {
    ...process.env,
    CHASQUI: `${stack.urls.backend}/api/v1`,
    KEY: stack.key(),
    SIMULATOR: stack.simulator.controlUrl,
  };
  // NODE_OPTIONS and NODE_TEST_CONTEXT of this run are not for the example's.
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...own } = env as Record<string, string>;
  // Not synchronously: the simulator answers from this process.
  const failure = await new Promise<string | null>((done) => {
    execFile(process.execPath, ['--test', example], { env: own, timeout: 120_000 }, (error, stdout, stderr) =>
      done(error ? stdout + stderr : null),
    );
  });
  expect(failure).toBeNull();
}, 150_000);
