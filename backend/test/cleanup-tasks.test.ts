import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { FailureReport } from '../src/failures/failures.js';
import { startSweep } from '../src/jobs/sweep.js';
import { eventually } from './support/eventually.js';
import { silentLog } from './support/silent-log.js';

/** The hourly cleanup: one task that fails or never ends stops only itself. */

describe('cleanup tasks', () => {
  const kinds = ['works', 'throws', 'rejects', 'rejects oddly', 'hangs'] as const;
  /** What anything could throw: it has no text, and its properties throw. */
  const codes: Partial<Record<string, string>> = {
    throws: 'Error',
    rejects: 'Error',
    'rejects oddly': 'UNKNOWN',
    hangs: 'TASK_OVERDUE',
  };
  const oddity = (): object =>
    new Proxy(Object.create(null) as object, {
      has: () => {
        throw new Error('odd');
      },
    });

  test('a task that throws, rejects or never ends, at any position, keeps no other from running repeatedly', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 5 }), async (chosen) => {
        const reports: FailureReport[] = [];
        const runs = chosen.map(() => 0);
        const open = chosen.map(() => 0);
        let overlaps = 0;
        const core = { log: silentLog, report: (report: FailureReport) => void reports.push(report) };
        const sweep = startSweep(core, {
          tasks: chosen.map((kind, index) => ({
            name: `${index} ${kind}`,
            run: () => {
              runs[index]! += 1;
              if (kind === 'throws') throw new Error('bad');
              if (kind === 'rejects oddly') return Promise.reject(oddity() as Error);
              if (kind === 'rejects') return Promise.reject(new Error('bad'));
              if ((open[index]! += 1) > 1) overlaps += 1;
              return kind === 'hangs' ? new Promise(() => undefined) : Promise.resolve().then(() => (open[index]! -= 1));
            },
          })),
          times: { firstMs: 0, everyMs: 2, retryMs: 1, overdueMs: 5 },
        });
        const reported = (index: number, kind: (typeof kinds)[number]): boolean =>
          reports.some(({ subject, code }) => subject === `${index} ${kind}` && code === codes[kind]);
        await eventually('all tasks to be where they should be', async () =>
          chosen.every((kind, index) => (kind === 'hangs' ? reported(index, kind) : runs[index]! >= 3)),
        );
        sweep.stop();
        expect(overlaps).toBe(0);
        for (const [index, kind] of chosen.entries()) {
          if (kind === 'hangs') expect(runs[index]).toBe(1);
          expect(reported(index, kind)).toBe(kind !== 'works');
        }
      }),
      { numRuns: 25 },
    );
  });
});
