import type { MessageReason } from '@chasqui/shared';
import type { Core } from '../../core.js';
import { runStatement } from '../../db/statement.js';
import type { Message } from '../message.entity.js';
import type { MessageState } from '../state.js';
import type { PostponedMessages } from './isolation.js';

/** Ends queued messages that waited too long, and queued and scheduled ones of deleted sessions. */
export interface Expiry {
  /** One pass. A message that cannot be ended is postponed and reported; the others are ended. */
  run(): Promise<void>;
}

const expiredBatchSize = 200;
const deletedBatchSize = 500;
/** Deleted sessions are rare: their messages are looked for on every so many passes. */
const deletedEveryRuns = 10;

const deletedSql = `SELECT s.id FROM sessions s WHERE s."deletedAt" IS NOT NULL AND EXISTS
  (SELECT 1 FROM messages m WHERE m.status IN ('scheduled', 'queued') AND m."sessionId" = s.id)`;

interface Context extends Pick<Core, 'database' | 'clock'> {
  state: MessageState;
  postponed: PostponedMessages;
}

export function createExpiry(context: Context): Expiry {
  let runs = 0;
  return {
    async run() {
      await endExpired(context);
      runs += 1;
      if (runs % deletedEveryRuns === 1) await endOfDeletedSessions(context);
    },
  };
}

async function endExpired(context: Context): Promise<void> {
  const expired = await context.postponed.readOthers(
    `status = 'queued' AND "expiresAt" <= ?`,
    [context.clock.now()],
    `ORDER BY "expiresAt" LIMIT ${expiredBatchSize}`,
  );
  for (const message of expired) await end(context, message, 'EXPIRED');
}

async function endOfDeletedSessions(context: Context): Promise<void> {
  const { rows } = await runStatement<{ id: string }>(context.database.reader, deletedSql, [], { prepare: false });
  for (const { id } of rows) {
    const left = await context.postponed.readOthers(
      `status IN ('scheduled', 'queued') AND "sessionId" = ?`,
      [id],
      `LIMIT ${deletedBatchSize}`,
    );
    for (const message of left) await end(context, message, 'SESSION_DELETED');
  }
}

async function end({ database, state, postponed }: Context, message: Message, reason: MessageReason): Promise<void> {
  try {
    await database.write.run((tx) => state.move(tx, message, 'failed', { from: ['scheduled', 'queued'], reason }));
    postponed.delete(message.id);
  } catch (error) {
    postponed.add(message, error, 'A message could not be ended; it is retried later.');
  }
}
