import { failPoint } from '@chasqui/shared/fail-point';
import type { Core } from '../../core.js';
import { readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { PublishedEvent } from '../../events/events.js';
import { steadyTime } from '../../lib/clock.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { errorFields } from '../../lib/log.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import { claim } from './claim.js';
import { canSend, type DispatcherParts, type SendContext } from './context.js';
import { correctRetryTimes, nextDue, pauseChat, pausedChatOf, wakeDueSessions, wakeOverdueSessions } from './due.js';
import { createExpiry, type Expiry } from './expiry.js';
import { handOver } from './handover.js';
import { createHeldMessages } from './held.js';
import { createPostponedMessages, requireOwnFault } from './isolation.js';
import { createLanes } from './lanes.js';
import { isForAnotherAccount } from './linked-account.js';
import { createOutcomes } from './outcomes.js';
import { releaseQuiet } from './quiet.js';
import { createScheduledMessages, dueSql } from './scheduled.js';
import { takeOverClaims } from './takeovers.js';
import { createUncertainMessages } from './uncertain.js';

/**
 * Drains the outbox: hands over the oldest due message of each connected session, one in flight for each session.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the claim | `queued` | claims it |
 * | after the claim, before the call | `sending`, its lease | takes the lease over and repeats the call: the worker has no record and sends |
 * | during the call | `sending` | repeats the call: the worker's record answers, or the worker looks the message up under its reserved id |
 * | after the reply, before its commit | `sending` | repeats the call: the record returns the same outcome |
 *
 * | two compete for one message | what decides |
 * | --- | --- |
 * | two claims | one conditional update; the affected count decides |
 * | a claim and a cancel, a claim and an expiry | the same: both move it from `queued` |
 * | an ack and the reply of the call | both raise it from `sending`; the second one finds it moved |
 * | a reply that comes after the lease expired | its condition names the owner of the lease: only proof of success is written without it |
 * | two backends, one session | a claim locks the session's row and is made only if the session has nothing in flight |
 * | a claim and the beginning of quiet hours | the claim looks at them under the same lock; see quiet.ts |
 * | a claim and a session that is linked to another WhatsApp account | the claim compares the two under the lock of the session's row; see held.ts |
 *
 * | the database fails | what happens |
 * | --- | --- |
 * | a claim commits and its reply is lost | the message is `sending` under this backend's name and not in `inFlight`: the next poll takes it over |
 * | the outcome cannot be committed | it stays in memory and is committed before anything else of its session; see outcomes.ts |
 * | one message cannot be claimed while the database works | its chat is paused for a while; the session's other chats continue |
 *
 * A call is repeated only to the worker that received it (same epoch), because that worker's record is the proof. Another worker has no
 * record of it: then the message becomes uncertain (see uncertain.ts). Durations in memory are monotonic; stored times that are too far
 * ahead, because a clock was set back, are corrected.
 */
export interface Dispatcher {
  /** Starts the periodic scan of the outbox. `wake` and events work without it. */
  start(): void;
  /** Sends what is due of a session now. */
  wake(sessionId: string): void;
  /** For the jobs: queues scheduled messages that have been due for a minute. Returns their number. */
  checkScheduled(): Promise<{ queued: number }>;
  /** For the jobs: corrects the times of retries, and wakes connected sessions with messages that have been due for a minute. */
  checkRetries(): Promise<{ corrected: number; woken: number }>;
  /** Starts nothing any more. Resolves when running hand-overs have ended and their outcomes are committed. */
  stop(): Promise<void>;
}

/** The periodic scan. */
interface Polling {
  timer: NodeJS.Timeout | undefined;
  running: Promise<void>;
  /** The lookups of uncertain messages, which may take longer than one scan. */
  lookups: Promise<void> | null;
  count: number;
}

/** What has been due for longer was missed by the scans, which come every half second. */
const overdueMs = 60_000;
/** Retry times are compared with the clock on every so many scans. */
const correctEveryPolls = 10;

export function createDispatcher(core: Core, parts: DispatcherParts): Dispatcher {
  const { state, options, transport } = parts;
  const postponed = createPostponedMessages(core);
  const expiry = createExpiry({ ...core, state, postponed });
  const context = createContext(core, {
    ...parts,
    scheduled: createScheduledMessages({ ...core, state, postponed, graceMs: options.scheduleGraceMs }),
    uncertain: createUncertainMessages(core, {
      state,
      options,
      postponed,
      lookup: (session, message) => transport.lookup(session, message),
      ...(parts.absenceProvenFrom ? { absenceProvenFrom: parts.absenceProvenFrom } : {}),
    }),
  });
  const polling: Polling = { timer: undefined, running: Promise.resolve(), lookups: null, count: 0 };
  const unsubscribe = core.events.subscribe((event) => onEvent(context, event));
  return {
    start: () => schedule(context, polling, expiry),
    wake: context.lanes.wake,
    checkScheduled: () => checkScheduled(context),
    async checkRetries() {
      return { corrected: await correctRetryTimes(context), woken: await wakeOverdueSessions(context, overdueMs) };
    },
    async stop() {
      context.isStopped = true;
      unsubscribe();
      clearTimeout(polling.timer);
      await polling.running;
      await polling.lookups;
      await context.lanes.stop();
    },
  };
}

function createContext(core: Core, parts: DispatcherParts & Pick<SendContext, 'uncertain' | 'scheduled'>): SendContext {
  const { database, clock, log, report } = core;
  const { state, presence, uncertain, scheduled } = parts;
  const inFlight = new Set<string>();
  const context: SendContext = {
    database,
    clock,
    log,
    report,
    ...parts,
    steadyMs: steadyTime(clock),
    held: createHeldMessages(core, { state }),
    scheduled,
    outcomes: createOutcomes({
      database,
      log,
      onCommitted: (messageId) => void inFlight.delete(messageId),
      async markUncertain(tx, messageId) {
        const [message] = await readRows(tx.manager, Message, 'id = ?', [messageId]);
        if (message) await uncertain.mark(tx, message, 'CRASHED_DURING_SEND', { leaseOwner: presence.owner });
      },
    }),
    lanes: createLanes({ drain: (sessionId) => drain(context, sessionId), log }),
    inFlight,
    refusals: new Map(),
    pausedChats: createItemBackoff(clock),
    takeovers: { askAgainAt: new Map(), neverCalled: new Set(), postponed: createItemBackoff(clock), chats: new Map() },
    isStopped: false,
  };
  return context;
}

/** Does nothing unless the scans have missed something: what they are about to queue is not counted. */
async function checkScheduled(context: SendContext): Promise<{ queued: number }> {
  const { database, clock, scheduled } = context;
  const before = clock.now().getTime() - overdueMs;
  const count = async (): Promise<number> => {
    const sql = `SELECT COUNT(*) AS n FROM messages WHERE ${dueSql}`;
    return Number((await runStatement<{ n: number | string }>(database.reader, sql, [before])).rows[0]!.n);
  };
  const missed = await count();
  if (missed === 0) return { queued: 0 };
  await scheduled.run(() => context.isStopped);
  return { queued: Math.max(0, missed - (await count())) };
}

/** Sends the due messages of a session one by one. Each outcome commits in the transaction that claims the next message. */
async function drain(context: SendContext, sessionId: string): Promise<void> {
  const { database, outcomes, refusals, clock, lanes } = context;
  await outcomes.commit(sessionId);
  try {
    while (!context.isStopped) {
      const [session = null] = await readRows(database.reader, Session, 'id = ?', [sessionId]);
      if (!canSend(session)) return;
      const pauseMs = (refusals.get(sessionId)?.until ?? 0) - clock.monotonic();
      if (pauseMs > 0) return lanes.wakeIn(sessionId, pauseMs);
      const message = await nextDue(context, session);
      if (!message) return;
      if ((await dispatch(context, session, message)) === 'busy') return;
    }
  } finally {
    // Also after a failed claim: the outcome of the previous message is known, and it must be recorded.
    await outcomes.commit(sessionId);
  }
}

/** Hands one due message over, or ends it or holds it back. Returns `busy` if the session can send nothing more now. */
async function dispatch(context: SendContext, session: Session, message: Message): Promise<'busy' | 'next'> {
  const { database, state, held, outcomes, clock } = context;
  if (isForAnotherAccount(message, session)) {
    await isolated(context, message, () => held.markHeld(message));
    failPoint('identity.held');
    return 'next';
  }
  if (message.expiresAt && message.expiresAt.getTime() <= clock.now().getTime()) {
    const expire = { from: ['queued'], reason: 'EXPIRED' } as const;
    await isolated(context, message, () => database.write.run((tx) => state.move(tx, message, 'failed', expire)));
    return 'next';
  }
  const claimed = await isolated(context, message, () => claim(context, message));
  if (claimed === 'busy') return 'busy';
  if (typeof claimed === 'string') return 'next';
  failPoint('claim.committed');
  const outcome = await handOver(context, claimed, message, { isRepeat: false });
  outcomes.add(session.id, outcome);
  if (!outcome.joinsNextClaim) await outcomes.commit(session.id);
  return 'next';
}

/** Runs one step on one message. If it fails although the database works, the message is at fault: its chat is paused. */
async function isolated<T>(context: SendContext, message: Message, step: () => Promise<T>): Promise<T | 'failed'> {
  try {
    const result = await step();
    context.pausedChats.delete(pausedChatOf(message));
    return result;
  } catch (error) {
    await requireOwnFault(context.database, message.sessionId, error);
    pauseChat(context, message, error);
    return 'failed';
  }
}

function onEvent({ refusals, uncertain, lanes, log }: SendContext, { type, sessionId, data }: PublishedEvent): void {
  if (!sessionId || (type !== 'message.queued' && type !== 'session.status')) return;
  if (type === 'session.status') refusals.delete(sessionId);
  if (data?.['status'] === 'connected')
    uncertain
      .lookUpHeld(sessionId)
      .catch((error: unknown) => log.error('Uncertain messages could not be looked up again.', errorFields(error)));
  lanes.wake(sessionId);
}

function schedule(context: SendContext, polling: Polling, expiry: Expiry): void {
  polling.timer = setTimeout(() => {
    polling.running = poll(context, polling, expiry).finally(() => {
      if (!context.isStopped) schedule(context, polling, expiry);
    });
  }, context.options.pollMs);
}

/** One scan of the outbox. A step that fails does not prevent the others. */
async function poll(context: SendContext, polling: Polling, expiry: Expiry): Promise<void> {
  const { log, uncertain, outcomes, lanes } = context;
  polling.count += 1;
  await attempt(log, 'Scheduled messages could not be scanned; the scan is retried.', () =>
    context.scheduled.run(() => context.isStopped),
  );
  await attempt(log, 'Claims could not be scanned; the scan is retried.', () => takeOverClaims(context));
  await attempt(log, 'Messages that ended could not be scanned; the scan is retried.', expiry.run);
  if (polling.count % correctEveryPolls === 1)
    await attempt(log, 'Retry times could not be compared with the clock; it is retried.', () => correctRetryTimes(context));
  // Lookups wait for pages; nothing else of the outbox waits for lookups.
  polling.lookups ??= attempt(log, 'Uncertain messages could not be looked up; it is retried.', () =>
    uncertain.lookUpDue(() => context.isStopped),
  ).finally(() => (polling.lookups = null));
  for (const sessionId of outcomes.sessions()) lanes.wake(sessionId);
  await attempt(log, 'Messages that wait for quiet hours could not be scanned; the scan is retried.', () =>
    releaseQuiet(context),
  );
  await attempt(log, 'The outbox could not be scanned; the scan is retried.', () => wakeDueSessions(context));
}

async function attempt(log: Core['log'], failure: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    log.error(failure, errorFields(error));
  }
}
