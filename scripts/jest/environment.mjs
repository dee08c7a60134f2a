import { createRequire } from 'node:module';
import { join } from 'node:path';
import { TestEnvironment } from 'jest-environment-node';
import { randomOf, readRuns, readSeed } from '../lib/test-seed.mjs';
import { root } from '../lib/paths.mjs';

/** The package that draws the picture of a QR code. */
const loadPngjs = () => {
  const backend = createRequire(join(root, 'backend/package.json'));
  return createRequire(backend.resolve('qrcode'))('pngjs');
};

/** A time limit only ends a test that hangs. On a busy machine a test takes many times as long, whatever limit its author chose. */
const leastTimeoutMs = 180_000;

/**
 * Makes the random choices of tests repeatable (docs/testing.md): `process.env.PROPERTY_SEED` and `process.env.PROPERTY_RUNS` are always
 * set in a test file, `Math.random` follows the seed, and a failure prints it. fast-check follows through `fast-check.mjs`.
 */
export default class SeededEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    this.seed = readSeed(process.env);
    this.runs = readRuns(process.env);
    this.raised = new WeakSet();
    Object.assign(this.global.process.env, { PROPERTY_SEED: String(this.seed), PROPERTY_RUNS: String(this.runs) });
    this.global.Math.random = randomOf(this.seed);
    // In jest's sandbox each use of a global such as Math is a slow look-up: a QR code, which most tests of the backend draw, took a
    // second of CPU time instead of 30 ms.
    Object.defineProperty(this.global, Symbol.for('chasqui.pngjs'), { get: loadPngjs });
  }

  /** More runs take longer, so the time limits of tests and hooks grow with them. */
  handleTestEvent(event, state) {
    const limited = event.name === 'test_start' ? event.test : event.name === 'hook_start' ? event.hook : null;
    if (limited && !this.raised.has(limited)) {
      this.raised.add(limited);
      limited.timeout = Math.max(limited.timeout ?? state.testTimeout, leastTimeoutMs) * this.runs;
    } else if (event.name === 'test_fn_failure' && !this.hasFailed) {
      this.hasFailed = true;
      process.stderr.write(`PROPERTY_SEED=${this.seed} repeats the random choices of this run.\n`);
    }
  }
}
