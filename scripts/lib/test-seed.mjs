import { randomInt } from 'node:crypto';
import { Problem } from './terminal.mjs';

/** The seed of every run in CI. Only a change to the code may turn CI red, never another choice of random inputs. */
export const ciSeed = 20_260_101;

/**
 * Returns the seed of all random choices that tests make: `PROPERTY_SEED`, in CI (`CI` set) a fixed one, otherwise a new one for each run.
 * `npm test` prints it. Throws a Problem for a value that is no integer from 0 to 2147483647.
 */
export function readSeed(env) {
  if (env.PROPERTY_SEED) return integer(env, 'PROPERTY_SEED', 0);
  return env.CI && env.CI !== 'false' ? ciSeed : randomInt(2 ** 31 - 1);
}

/** Returns `PROPERTY_RUNS`: the factor by which property tests and fuzzers run more often than usual. The default is 1. */
export const readRuns = (env) => (env.PROPERTY_RUNS ? integer(env, 'PROPERTY_RUNS', 1) : 1);

function integer(env, name, least) {
  const value = Number(env[name]);
  if (/^\d+$/.test(env[name]) && value >= least && value < 2 ** 31) return value;
  throw new Problem(
    `${name} is "${env[name]}", which is not an integer from ${least} to ${2 ** 31 - 1}.`,
    `Set ${name} to such a number, or remove it.`,
  );
}

/** Returns a generator of numbers from 0 to 1 (mulberry32). The same seed gives the same numbers everywhere. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
