import { TestEnvironment } from 'jest-environment-node';
import { randomOf, readRuns, readSeed } from '../lib/test-seed.mjs';

/**
 * Makes the random choices of tests repeatable (docs/testing.md): `process.env.PROPERTY_SEED` and `process.env.PROPERTY_RUNS` are always
 * set in a test file, `Math.random` follows the seed, and a failure prints it. fast-check follows through `fast-check.mjs`.
 */
export default class SeededEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    this.seed = readSeed(process.env);
    this.runs = readRuns(process.env);
    Object.assign(this.global.process.env, { PROPERTY_SEED: String(this.seed), PROPERTY_RUNS: String(this.runs) });
    this.global.Math.random = randomOf(this.seed);
  }

  /** More runs take longer, so the time limits of tests and hooks grow with them. */
  handleTestEvent(event, state) {
    if (event.name === 'test_start') event.test.timeout = (event.test.timeout ?? state.testTimeout) * this.runs;
    else if (event.name === 'test_fn_failure' && !this.hasFailed) {
      this.hasFailed = true;
      process.stderr.write(`PROPERTY_SEED=${this.seed} repeats the random choices of this run.\n`);
    }
  }
}
