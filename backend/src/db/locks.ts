import { setTimeout as sleep } from 'node:timers/promises';
import { runStatement } from './statement.js';
import type { Transaction } from './unit-of-work.js';

/** The first half of the advisory locks of backends on PostgreSQL ("chqb" as a number), so that they do not collide with the locks of other programs. */
export const presenceLockClass = 0x63687162;

/** "chqs" as a number: locks of steps that only one backend may run at a time. */
const stepLockClass = 0x63687173;

export const advisoryLocks = {
  migrations: [stepLockClass, 1],
  firstAdmin: [stepLockClass, 2],
  search: [stepLockClass, 3],
  jobs: [stepLockClass, 4],
  restored: [stepLockClass, 8],
} as const satisfies Record<string, readonly [number, number]>;

const pollIntervalMs = 100;

/**
 * Locks a step until the end of the transaction. Polls instead of waiting in the server, whose lock timeout is shorter than the time after
 * which it ends a frozen owner. Does nothing on SQLite, which has one backend and one transaction at a time.
 */
export async function lockStep(tx: Transaction, lock: readonly [number, number]): Promise<void> {
  if (tx.manager.connection.options.type !== 'postgres') return;
  for (;;) {
    const {
      rows: [row],
    } = await runStatement<{ got: boolean }>(tx.manager, 'SELECT pg_try_advisory_xact_lock(?, ?) AS got', lock);
    if (row?.got) return;
    await sleep(pollIntervalMs);
  }
}

/** Locks a step until the end of the transaction if the lock is free. Returns whether it was. */
export async function tryStep(tx: Transaction, lock: readonly [number, number]): Promise<boolean> {
  if (tx.manager.connection.options.type !== 'postgres') return true;
  const {
    rows: [row],
  } = await runStatement<{ got: boolean }>(tx.manager, 'SELECT pg_try_advisory_xact_lock(?, ?) AS got', lock);
  return row?.got === true;
}
