import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import config from '../../jest.config.mjs';
import { ciSeed, randomOf, readRuns, readSeed } from '../lib/test-seed.mjs';

describe('the seed of a run', () => {
  test('is fixed in CI and new for each run elsewhere', () => {
    expect([readSeed({ CI: 'true' }), readSeed({ CI: '1' })]).toEqual([ciSeed, ciSeed]);
    expect(new Set(Array.from({ length: 20 }, () => readSeed({}))).size).toBeGreaterThan(15);
  });

  test('is PROPERTY_SEED where that is set, in CI too', () => {
    expect(readSeed({ CI: 'true', PROPERTY_SEED: '7' })).toBe(7);
  });

  test.each(['x', '-1', '1.5', '2147483648', ' '])('a PROPERTY_SEED of "%s" is refused with the range', (value) => {
    expect(() => readSeed({ PROPERTY_SEED: value })).toThrow('from 0 to 2147483647');
  });

  test.each(['0', 'many', '-3'])('PROPERTY_RUNS of "%s" is refused', (value) => {
    expect(() => readRuns({ PROPERTY_RUNS: value })).toThrow('from 1 to');
  });
});

test('a test that takes longer than the limit its author chose does not fail on a busy machine', async () => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(true).toBe(true);
}, 1);

describe('random choices in a test file', () => {
  /** What a property is given, in order. */
  const inputsOf = (parameters) => {
    const inputs = [];
    fc.assert(
      fc.property(fc.integer(), (input) => void inputs.push(input)),
      parameters,
    );
    return inputs;
  };

  test('properties follow the seed of the run, and a seed of their own wins', () => {
    const first = inputsOf();
    expect(inputsOf()).toEqual(first);
    expect(inputsOf({ seed: Number(process.env.PROPERTY_SEED) })).toEqual(first);
    expect(inputsOf({ seed: Number(process.env.PROPERTY_SEED) ^ 1 })).not.toEqual(first);
    expect(fc.sample(fc.integer(), 5)).toEqual(fc.sample(fc.integer(), 5));
  });

  test('PROPERTY_RUNS multiplies the runs of each property, whatever it asks for', () => {
    const runs = Number(process.env.PROPERTY_RUNS);
    expect([inputsOf().length, inputsOf({ numRuns: 7 }).length]).toEqual([100 * runs, 7 * runs]);
  });

  test('Math.random follows the seed of the run', async () => {
    const expected = randomOf(Number(process.env.PROPERTY_SEED));
    const numbers = Array.from({ length: 1_000 }, () => expected());
    expect(numbers).toContain(Math.random());
    expect(numbers).toContain(Math.random());
  });

  test('every project runs in the seeded environment, with the seeded fast-check', () => {
    for (const project of config.projects) {
      expect(project.testEnvironment).toMatch(/scripts\/jest\/environment\.mjs$/);
      expect(project.moduleNameMapper['^fast-check$']).toMatch(/scripts\/jest\/fast-check\.mjs$/);
    }
  });
});
