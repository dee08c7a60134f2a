/**
 * Stands for `fast-check` in every test (jest.config.mjs): the same library with the seed and the number of runs from one place.
 * A seed that a test passes itself wins, for replaying a reported failure; so do its `path` and `endOnFailure`.
 */
import * as library from '../../node_modules/fast-check/lib/fast-check.js';

const usualRuns = 100;

const planned = (parameters = {}) => ({
  seed: Number(process.env.PROPERTY_SEED),
  ...parameters,
  numRuns: (parameters.numRuns ?? usualRuns) * Number(process.env.PROPERTY_RUNS),
});

export const assert = (property, parameters) => library.assert(property, planned(parameters));
export const check = (property, parameters) => library.check(property, planned(parameters));
export const sample = (generator, parameters) =>
  library.sample(generator, {
    seed: Number(process.env.PROPERTY_SEED),
    ...(typeof parameters === 'number' ? { numRuns: parameters } : parameters),
  });
export * from '../../node_modules/fast-check/lib/fast-check.js';
export default { ...library.default, assert, check, sample };
