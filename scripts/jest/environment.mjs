import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';
import { randomOf, readRuns, readSeed } from '../lib/test-seed.mjs';

/** A time limit only ends a test that hangs. On a busy machine a test takes many times as long, whatever limit its author chose. */
const leastTimeoutMs = 300_000;

/**
 * Makes the random choices of tests repeatable (docs/testing.md): `process.env.PROPERTY_SEED` and `process.env.PROPERTY_RUNS` are always
 * set in a test file, `Math.random` follows the seed, and a failure prints it. fast-check follows through `fast-check.mjs`.
 */
export default class SeededEnvironment extends TestEnvironment {
  /**
   * Gives the test file a context whose globals are ordinary properties. Jest asks for one that intercepts each use of a global, such as Math,
   * which takes ninety times as long.
   */
  constructor(...args) {
    const { createContext } = vm;
    vm.createContext = () => createContext(vm.constants.DONT_CONTEXTIFY);
    try {
      super(...args);
    } finally {
      vm.createContext = createContext;
    }
  }

  async setup() {
    await super.setup();
    this.seed = readSeed(process.env);
    this.runs = readRuns(process.env);
    this.raised = new WeakSet();
    Object.assign(this.global.process.env, { PROPERTY_SEED: String(this.seed), PROPERTY_RUNS: String(this.runs) });
    this.global.Math.random = randomOf(this.seed);
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
