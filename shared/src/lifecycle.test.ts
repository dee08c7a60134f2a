import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createLifecycle, startPhases, stopPhases, type Phase } from './lifecycle.js';

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

test('whatever single stops do, every part is stopped once, in the order of the phases, and the failed ones are named', async () => {
  const plans = fc.array(fc.record({ phase: fc.constantFrom(...stopPhases), kind: fc.constantFrom(...names) }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const lifecycle = createLifecycle(silent);
      const ran: Phase[] = [];
      for (const [index, { phase, kind }] of plan.entries())
        lifecycle.add(`${index}`, { phase, stop: () => (ran.push(phase), behaviours[kind]()), withinMs: 15 });
      const unfinished = await lifecycle.stop();
      expect(await lifecycle.stop()).toBe(unfinished);
      expect(ran).toEqual(stopPhases.flatMap((phase) => plan.filter((step) => step.phase === phase).map(() => phase)));
      const expected = plan.flatMap(({ kind }, index) => (fails.has(kind) ? [`${index}`] : []));
      expect([...unfinished].sort()).toEqual(expected.sort());
    }),
    { numRuns: 60 },
  );
});

test('stops of one phase begin in reverse order: what was opened last is closed first', async () => {
  const lifecycle = createLifecycle(silent);
  const ran: string[] = [];
  for (const name of ['store', 'record', 'outlet']) lifecycle.add(name, { phase: 'data', stop: () => void ran.push(name) });
  await lifecycle.stop();
  expect(ran).toEqual(['outlet', 'record', 'store']);
});

test('parts start phase by phase in the order of registration, intake before work', async () => {
  const parts = fc.array(fc.constantFrom(...stopPhases), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(parts, async (phases) => {
      const lifecycle = createLifecycle(silent);
      const ran: string[] = [];
      for (const [index, phase] of phases.entries())
        lifecycle.add(`${index}`, { phase, start: async () => void ran.push(`${phase} ${index}`) });
      await lifecycle.start();
      await lifecycle.start();
      const expected = startPhases.flatMap((phase) =>
        phases.flatMap((one, index) => (one === phase ? [`${phase} ${index}`] : [])),
      );
      expect(ran).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

test('a start that fails starts nothing behind it, and the stop closes only what runs', async () => {
  const lifecycle = createLifecycle(silent);
  const ran: string[] = [];
  const part = (name: string, start?: () => void): void =>
    lifecycle.add(name, { phase: 'work', ...(start && { start }), stop: () => void ran.push(name) });
  part('constructed');
  part('started', () => undefined);
  part('failed', () => {
    throw new Error('port in use');
  });
  part('behind', () => undefined);
  await expect(lifecycle.start()).rejects.toThrow('port in use');
  expect(await lifecycle.stop()).toEqual([]);
  expect(ran).toEqual(['started', 'constructed']);
});
