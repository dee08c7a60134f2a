import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { Failure, type FailureKind } from '../../src/failures/failure.entity.js';
import { systemClock } from '../../src/lib/clock.js';
import { Session } from '../../src/sessions/session.entity.js';
import { startCore, type Core } from './core.js';
import { refuseRows } from './faults.js';

/** One backend for a group of tests, whose database refuses the rows that a test names. */
export interface FaultyCore {
  core: Core;
  /** How far the monotonic clock is ahead, in milliseconds. */
  aheadMs: number;
  /** Lets the database store everything again. Runs after each test too. */
  heal: (() => Promise<void>) | null;
  refuse(...what: Parameters<typeof refuseRows> extends [unknown, ...infer Rest] ? Rest : never): Promise<void>;
  /** The subjects of the recorded failures of one kind, sorted. */
  failures(kind: FailureKind): Promise<string[]>;
  /** Deletes the recorded failures. */
  forget(): Promise<unknown>;
  row(sessionId: string): Promise<Session>;
}

/** Call it inside `describe`. The backend starts before the first test of the group. */
export function useFaultyCore(database: 'sqlite' | 'postgres'): FaultyCore {
  const it: FaultyCore = {
    core: undefined as unknown as Core,
    aheadMs: 0,
    heal: null,
    refuse: async (...what) => {
      it.heal = await refuseRows(it.core.rig.database, ...what);
    },
    failures: async (kind) => {
      await it.core.rig.failures.flush();
      return (await it.core.rig.database.reader.getRepository(Failure).findBy({ kind })).map(({ subject }) => subject).sort();
    },
    forget: () => it.core.rig.database.write.run((tx) => tx.manager.query('DELETE FROM failures')),
    row: (id) => it.core.rig.database.reader.getRepository(Session).findOneByOrFail({ id }),
  };
  const clock = { now: systemClock.now, monotonic: () => systemClock.monotonic() + it.aheadMs };
  beforeAll(async () => {
    it.core = await startCore({ database, clock, settings: { EVENT_RETENTION_DAYS: '30', EGRESS_ALLOW: '127.0.0.1/32' } });
  });
  afterAll(() => it.core?.close());
  beforeEach(() => it.forget());
  afterEach(async () => {
    await it.heal?.();
    it.heal = null;
  });
  return it;
}
