import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../../db/database.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields, type Log } from '../../lib/log.js';

/** The result of a hand-over, as a write that is not committed yet. */
export interface Outcome {
  messageId: string;
  /** May run more than once, because a commit whose reply was lost is repeated. Must not change what it closes over. */
  write: (tx: Transaction) => Promise<void>;
  /** Whether it may wait for the transaction that claims the session's next message. */
  joinsNextClaim: boolean;
}

/**
 * The outcomes of hand-overs from the moment they are known until their commit. There is at most one for each session, because a session has
 * one message in flight. An outcome whose commit fails stays here and is committed before anything else of its session, however long the
 * database is down. If the process dies first, the message is still `sending` and its claim is taken over: the worker's send record returns
 * the same outcome.
 */
export interface Outcomes {
  add(sessionId: string, outcome: Outcome): void;
  /** Returns the pending outcome of a session. */
  pendingOf(sessionId: string): Outcome | null;
  /** Returns the sessions that have a pending outcome. */
  sessions(): string[];
  /** Removes an outcome that the caller committed in a transaction of its own. */
  committed(sessionId: string, outcome: Outcome): void;
  /** Commits the pending outcome of a session. If it throws, the outcome stays pending. */
  commit(sessionId: string): Promise<void>;
}

interface Parts {
  database: Database;
  log: Log;
  /** Called when an outcome is committed. */
  onCommitted: (messageId: string) => void;
  /** Records that the outcome is unknown. Called if the outcome itself cannot be written. */
  markUncertain: (tx: Transaction, messageId: string) => Promise<void>;
}

type Pending = Map<string, Outcome & { failures: number }>;

/** After this many failures, the write is replaced by a simpler one: the outcome is unknown. */
const failuresUntilUncertain = 10;

export function createOutcomes(parts: Parts): Outcomes {
  const pending: Pending = new Map();
  return {
    add: (sessionId, outcome) => void pending.set(sessionId, { ...outcome, failures: 0 }),
    pendingOf: (sessionId) => pending.get(sessionId) ?? null,
    sessions: () => [...pending.keys()],
    committed: (sessionId, outcome) => committed(parts, pending, sessionId, outcome),
    commit: (sessionId) => commit(parts, pending, sessionId),
  };
}

function committed(parts: Parts, pending: Pending, sessionId: string, { messageId }: Outcome): void {
  if (pending.get(sessionId)?.messageId === messageId) pending.delete(sessionId);
  parts.onCommitted(messageId);
  failPoint('outcome.committed');
}

async function commit(parts: Parts, pending: Pending, sessionId: string): Promise<void> {
  const { database, log } = parts;
  const outcome = pending.get(sessionId);
  if (!outcome) return;
  try {
    await database.write.run(outcome.write);
  } catch (error) {
    outcome.failures += 1;
    if (outcome.failures % failuresUntilUncertain !== 0) throw error;
    // If the database is down, this fails as well. If it works, the write itself is at fault, and the session must continue.
    await database.write.run((tx) => parts.markUncertain(tx, outcome.messageId));
    log.error('The outcome of a message could not be written; the message is uncertain and is looked up.', {
      messageId: outcome.messageId,
      ...errorFields(error),
    });
  }
  committed(parts, pending, sessionId, outcome);
}
