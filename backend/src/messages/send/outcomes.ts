import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../../db/database.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields, type Log } from '../../lib/log.js';

/** What became of a handover, as a write that is not committed yet. */
export interface Outcome {
  messageId: string;
  /** May run more than once: a commit whose answer was lost is made again. Must not change what it closes over. */
  write: (tx: Transaction) => Promise<void>;
  /** It may wait for the transaction that claims the session's next message. */
  joins: boolean;
}

/** After so many failures of one write the database is asked for less: that the outcome is uncertain. */
const failuresUntilUncertain = 10;

export type Outcomes = ReturnType<typeof createOutcomes>;

/**
 * The outcomes of handovers between the moment they are known and their commit; one a session, because one message a session is in flight.
 * An outcome whose commit fails stays here and is committed before anything else of its session happens, however long the database is away.
 * If the process dies first, the message is still `sending` and its claim is taken over: the worker's record gives the same outcome.
 */
export function createOutcomes(parts: {
  database: Database;
  log: Log;
  /** Called when an outcome is committed. */
  settled: (messageId: string) => void;
  /** Records that the outcome is unknown, when the outcome itself cannot be written. */
  uncertain: (tx: Transaction, messageId: string) => Promise<void>;
}) {
  const { database, log, settled, uncertain } = parts;
  const pending = new Map<string, Outcome & { failures: number }>();

  function done(sessionId: string, outcome: Outcome): void {
    if (pending.get(sessionId)?.messageId === outcome.messageId) pending.delete(sessionId);
    settled(outcome.messageId);
    failPoint('outcome.committed');
  }

  return {
    add: (sessionId: string, outcome: Outcome): void => void pending.set(sessionId, { ...outcome, failures: 0 }),
    of: (sessionId: string): Outcome | null => pending.get(sessionId) ?? null,
    sessions: (): string[] => [...pending.keys()],
    /** The outcome was committed in a transaction of the caller's. */
    done,
    /** Commits what is pending of a session. Throws when it cannot; it stays pending then. */
    async settle(sessionId: string): Promise<void> {
      const outcome = pending.get(sessionId);
      if (!outcome) return;
      try {
        await database.write.run(outcome.write);
      } catch (error) {
        outcome.failures += 1;
        if (outcome.failures % failuresUntilUncertain !== 0) throw error;
        // When the database is away this fails as well. When it works, the write itself is at fault, and the session must go on.
        await database.write.run((tx) => uncertain(tx, outcome.messageId));
        log.error('The outcome of a message could not be written; the message is uncertain and is looked up.', {
          messageId: outcome.messageId,
          ...errorFields(error),
        });
      }
      done(sessionId, outcome);
    },
  };
}
