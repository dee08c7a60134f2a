import type { Core } from '../../core.js';
import type { Database } from '../../db/database.js';
import { isSystemError } from '../../db/database-errors.js';
import { lockRows, notAmong, readRowsApart } from '../../db/rows.js';
import { describeError } from '../../failures/failures.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { errorFields } from '../../lib/log.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';

/** A message that fails by itself must not stop the messages behind it: it is postponed and reported, and the others are processed. */

export type MessageRef = Pick<Message, 'id' | 'accountId' | 'sessionId'>;

export type ItemBackoff = ReturnType<typeof createItemBackoff>;

/** Returns if the message of this session is at fault for the error. Throws if the database is: then every message would fail. */
export async function requireOwnFault(database: Database, sessionId: string, error: unknown): Promise<void> {
  // A lost connection or a lock timeout is not the message's fault, even if the database answers again a moment later.
  if (isSystemError(error)) throw error;
  await database.write.run((tx) => lockRows(tx, Session, [sessionId]));
}

/** Logs a message that is retried in so many milliseconds, and reports it to staff unless the database was at fault. */
export function reportMessage(
  { log, report }: Pick<Core, 'log' | 'report'>,
  sentence: string,
  { id: subject, accountId, sessionId }: MessageRef,
  inMs: number,
  error: unknown,
): void {
  log.error(sentence, { messageId: subject, sessionId, inMs, ...errorFields(error) });
  if (!isSystemError(error)) report({ kind: 'message', subject, accountId, sessionId, ...describeError(error) });
}

/** Messages whose step failed. They are left out of queries for a while. */
export interface PostponedMessages {
  /**
   * Returns the messages that meet a condition, without postponed ones, so that these take no place in the batch. A row that cannot be read
   * is postponed. `suffix` is what follows the condition: the order and the limit.
   */
  readOthers(condition: string, parameters: readonly unknown[], suffix: string): Promise<Message[]>;
  /** Postpones a message whose step failed, and logs and reports it. */
  add(message: MessageRef, error: unknown, sentence: string): void;
  /** Forgets the failures of a message whose step succeeded. */
  delete(messageId: string): void;
}

export function createPostponedMessages(core: Pick<Core, 'database' | 'clock' | 'log' | 'report'>): PostponedMessages {
  const { reader } = core.database;
  const backoff = createItemBackoff(core.clock);
  const add = (message: MessageRef, error: unknown, sentence: string): void =>
    reportMessage(core, sentence, message, backoff.add(message.id), error);
  return {
    add,
    delete: backoff.delete,
    readOthers(condition, parameters, suffix) {
      const others = notAmong(reader, 'id', backoff.list());
      return readRowsApart(
        reader,
        Message,
        `${condition} AND ${others.condition} ${suffix}`,
        [...parameters, others.parameter],
        ({ id, accountId, sessionId }, error) =>
          add(
            { id: String(id), accountId: String(accountId), sessionId: String(sessionId) },
            error,
            'A message could not be read; it is retried later.',
          ),
      );
    },
  };
}
