import { failPoint } from '@chasqui/shared/fail-point';
import type { Core } from '../../core.js';
import { attemptInHalves } from '../../db/isolate.js';
import { lockRows } from '../../db/rows.js';
import { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';
import type { MessageState } from '../state.js';
import type { PostponedMessages } from './isolation.js';

/**
 * Scheduled messages. At its time a message becomes `queued`, in the order of the times, with the quota of that day.
 *
 * | case | then |
 * | --- | --- |
 * | two backends find the same message | one conditional update with its event and its quota decides; the second finds no row |
 * | the process dies before the commit | the message is still `scheduled`, and the next scan finds it |
 * | the process dies after the commit | the message is `queued`, like every other message of the outbox |
 * | it was due while nothing ran | within the grace time it is queued late; after that it is `failed` with `MISSED` |
 * | no quota is left | it waits with `QUOTA_WAIT` for the same grace time, and then it is `failed` with `MISSED` |
 * | its session is not connected, or its account is not active | it is queued and waits there until it expires, like every other message |
 * | its session was deleted | it is `failed` with `SESSION_DELETED`; see expiry.ts |
 */
export interface ScheduledMessages {
  /** Queues all messages whose time has come. A message that cannot be queued is postponed and reported; the others are queued. */
  run(isStopped: () => boolean): Promise<void>;
}

interface Context extends Pick<Core, 'database' | 'clock'> {
  state: MessageState;
  postponed: PostponedMessages;
  graceMs: number;
}

/** What is due, in the order of the partial index of scheduled messages. */
export const dueSql = `status = 'scheduled' AND "nextAttemptAt" <= ?`;

/** Messages of one commit: a send that waits for the database waits for one batch at most. */
const batchSize = 50;

export const createScheduledMessages = (context: Context): ScheduledMessages => ({
  run: (isStopped) => run(context, isStopped),
});

async function run(context: Context, isStopped: () => boolean): Promise<void> {
  const { clock, postponed, graceMs } = context;
  while (!isStopped()) {
    const now = clock.now().getTime();
    const due = await postponed.readOthers(dueSql, [now], `ORDER BY "nextAttemptAt", id LIMIT ${batchSize}`);
    if (due.length === 0) return;
    const isMissed = ({ scheduledAt }: Message): boolean => scheduledAt !== null && now - scheduledAt.getTime() > graceMs;
    const onTime = due.filter((message) => !isMissed(message));
    await inHalves(context, onTime, queueAll);
    await inHalves(context, due.filter(isMissed), failAll);
    if (onTime.length > 0) failPoint('due.committed');
    if (due.length < batchSize) return;
  }
}

type Step = (context: Context, messages: readonly Message[]) => Promise<void>;

const inHalves = ({ postponed, ...context }: Context, messages: readonly Message[], step: Step): Promise<void> =>
  attemptInHalves(
    messages,
    async (some) => {
      await step({ postponed, ...context }, some);
      for (const { id } of some) postponed.delete(id);
    },
    (some, error) => {
      for (const message of some) postponed.add(message, error, 'A scheduled message could not be queued; it is retried later.');
    },
  );

const queueAll: Step = ({ database, state, graceMs }, messages) =>
  database.write.run(async (tx) => {
    await state.queueDue(tx, messages, graceMs);
    failPoint('due.written');
  });

const failAll: Step = ({ database, state }, messages) =>
  database.write.run(async (tx) => {
    // Closes: a deadlock with a claim of the second session. The first message locks the event log, and sessions are locked before that.
    await lockRows(tx, Session, [...new Set(messages.map(({ sessionId }) => sessionId))]);
    for (const message of messages) {
      const { reasonCode, reasonText, scheduledAt } = message;
      const detail = reasonCode === 'QUOTA_WAIT' ? `No quota was left within the grace time. ${reasonText ?? ''}`.trim() : null;
      // A message that was moved to another time after it was read is not missed.
      const how = { from: ['scheduled'], reason: 'MISSED', detail, where: { scheduledAt: scheduledAt! } } as const;
      await state.move(tx, { ...message }, 'failed', how);
    }
  });
