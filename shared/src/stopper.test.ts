import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createStopper, stopPhases, type StopPhase } from './stopper.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const behaviours = {
  ends: () => undefined,
  'ends later': () => new Promise((resolve) => setTimeout(resolve, 1)),
  throws: () => {
    throw new Error('at once');
  },
  'throws no error': () => {
    throw null as unknown;
  },
  rejects: () => Promise.reject(new Error('later')),
  hangs: () => new Promise(() => undefined),
} satisfies Record<string, () => unknown>;
const fails = new Set(['throws', 'throws no error', 'rejects', 'hangs']);
const names = Object.keys(behaviours) as (keyof typeof behaviours)[];

test('whatever single steps do, every step runs once, in the order of the phases, and the failed ones are named', async () => {
  const plans = fc.array(fc.record({ phase: fc.constantFrom(...stopPhases), kind: fc.constantFrom(...names) }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const stopper = createStopper(silent);
      const ran: StopPhase[] = [];
      for (const [index, { phase, kind }] of plan.entries())
        stopper.add(phase, `${index}`, () => (ran.push(phase), behaviours[kind]()), 15);
      const unfinished = await stopper.stop();
      expect(await stopper.stop()).toBe(unfinished);
      expect(ran).toEqual(stopPhases.flatMap((phase) => plan.filter((step) => step.phase === phase).map(() => phase)));
      const expected = plan.flatMap(({ kind }, index) => (fails.has(kind) ? [`${index}`] : []));
      expect([...unfinished].sort()).toEqual(expected.sort());
    }),
    { numRuns: 60 },
  );
});

test('steps of one phase begin in reverse order: what was opened last is closed first', async () => {
  const stopper = createStopper(silent);
  const ran: string[] = [];
  for (const name of ['store', 'record', 'outlet']) stopper.add('data', name, () => void ran.push(name));
  await stopper.stop();
  expect(ran).toEqual(['outlet', 'record', 'store']);
});
