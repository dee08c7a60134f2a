import { z } from 'zod';
import { builds, type BuildName, type PageOptions, type Push } from '../wire.js';
import type { World } from '../world.js';
import { nothing, operation, phone } from './operation.js';

export interface FaultParts {
  world: World;
  page: PageOptions;
  missing: Set<string>;
  /** The hollow functions that pages have called since `hollow` was last requested. */
  reached: Set<string>;
  /** Sends a push to every open page. Resolves when all have received it. */
  tellPages: (push: Push) => Promise<void>;
}

/** Faults, and how pages behave. */
export function faultOperations({ world, page, missing, reached, tellPages }: FaultParts) {
  return {
    fault: operation(
      'The next requests of an operation are refused, not answered, answered with nothing, or delayed',
      z.object({
        op: z.string(),
        mode: z.enum(['fail', 'drop', 'dropReply', 'emptyReply', 'delay']),
        count: z.number().int().positive().default(1),
        delayMs: z.number().optional(),
        status: z.number().optional(),
        phone: phone.optional(),
      }),
      (d) => world.faults.order(d),
    ),
    waitingFaults: operation('The faults that still wait for a request', nothing, () => world.faults.waiting()),
    clearFaults: operation('Remove all faults', nothing, () => world.faults.clear()),
    setAcks: operation('Let acks of one message overtake each other', z.object({ chained: z.boolean() }), (d) => {
      world.settings.chainAcks = d.chained;
    }),
    setPage: operation(
      'For pages that load from now on: build, memory use, races, whether refused operations work, and a dialog that must be answered',
      z.object({
        build: z.enum(Object.keys(builds) as [BuildName, ...BuildName[]]).optional(),
        ballastMb: z.number().min(0).optional(),
        syncRace: z.boolean().optional(),
        offlineRace: z.boolean().optional(),
        groupsWork: z.boolean().optional(),
        newsMs: z.number().min(0).optional(),
      }),
      ({ build, ...rest }) => {
        Object.assign(page, Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)));
        if (build) Object.assign(page, { build, version: builds[build] });
        return page;
      },
    ),
    withoutModules: operation(
      'Take modules away from all open pages and from those that load from now on; an empty list gives them back',
      z.object({ names: z.array(z.string()) }),
      async ({ names }) => {
        page.without = names;
        await tellPages({ ev: 'modules', d: { without: names } });
      },
    ),
    hollow: operation(
      'Functions of modules resolve and do nothing; an empty object gives them back. Returns those called since the last request',
      z.object({ functions: z.record(z.string(), z.array(z.string())) }),
      async ({ functions }) => {
        page.hollow = functions;
        await tellPages({ ev: 'hollow', d: { functions } });
        const called = [...reached].sort();
        reached.clear();
        return called;
      },
    ),
    dropListeners: operation('All open pages forget who listens to their messages', nothing, () =>
      tellPages({ ev: 'drop_listeners', d: {} }),
    ),
    clock: operation(
      'Move the server’s clock',
      z.object({ moveMs: z.number().optional(), reset: z.boolean().optional() }),
      (d) => {
        if (d.reset) world.clock.reset();
        if (d.moveMs !== undefined) world.clock.move(d.moveMs);
        return { now: world.clock.now().toISOString() };
      },
    ),
    missing: operation('Modules that a page required and the simulator does not have', nothing, () => [...missing]),
  };
}
