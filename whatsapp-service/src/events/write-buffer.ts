import { failPoint } from '@chasqui/shared/fail-point';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Problems } from '../problems.js';
import type { Marks } from '../sessions/marks.js';
import { isStoreUnavailable, type Store } from '../store.js';
import { callIn, type CallRecord } from './calls.js';
import { insertEvent, type NewEvent, type OutletStatements } from './outlet-rows.js';
import { serialize } from './payload.js';
import { seenIn, type SeenMessage, type SeenMessages } from './seen.js';
import type { WorkerEvent } from './worker-event.js';

/**
 * Buffers events in memory, writes them in groups, and retries while the disk accepts no writes. The tables in `outlet.ts` say at which moment
 * they are on disk.
 */
export interface WriteBuffer {
  /** Queues an event. Never throws: an event that cannot be stored is reported as a problem. */
  append(sessionId: string, epoch: number, event: WorkerEvent): void;
  /** Writes the waiting events and marks. Never throws. */
  commit(): void;
  /** The number of waiting events. */
  size(): number;
  /** False while commits fail. */
  isHealthy(): boolean;
}

export interface WriteBufferOptions {
  store: Store;
  sql: OutletStatements;
  seenMessages: SeenMessages;
  /** Watermarks, which are written in the same commits. */
  marks: Marks | undefined;
  /** Marks calls as reported in the same commits. */
  calls: Pick<CallRecord, 'report'> | undefined;
  clock: Clock;
  log: Log;
  problems: Problems;
  newId: () => string;
  /** The maximum number of characters of events that wait while the disk accepts no writes. */
  memoryLimit: number;
  /** Called by a commit with the number of rows that it added. */
  onAdded: (count: number) => void;
  /** Called after each commit. */
  onCommit: () => void;
  /** Called after the disk accepts writes again, with the sessions whose messages were dropped meanwhile. */
  onMissed: (sessionIds: readonly string[]) => void;
}

interface WaitingEvent extends NewEvent {
  /** The message that the event is about. */
  seen: SeenMessage | null;
  /** The call that the event is about. */
  callId: string | null;
}

interface Context extends WriteBufferOptions {
  waiting: WaitingEvent[];
  /** The characters of their payloads. */
  waitingSize: number;
  /** Sessions whose messages were dropped. */
  readonly missed: Set<string>;
  /** Whether a commit is scheduled. */
  isArmed: boolean;
  /** When the last commit was tried, on the monotonic clock. */
  committedAt: number;
  isHealthy: boolean;
  /** Writes all events, or none, and the marks if `withMarks`. Returns the number of rows. */
  readonly insertAll: (events: readonly WaitingEvent[], withMarks: boolean) => number;
}

/** The delay before a commit: short for the first event after a quiet time, longer in a stream, whose delivery waits as long anyway. */
const groupMs = { first: 4, stream: 16 };
const retryMs = 1_000;
/** Events per transaction. If the disk fills up, only the last transaction of a long backlog has to be repeated. */
const maxPerCommit = 500;

export function createWriteBuffer(options: WriteBufferOptions): WriteBuffer {
  const { store, sql, seenMessages, marks, calls, clock, newId } = options;
  const insertAll = store.transaction((events: readonly WaitingEvent[], withMarks: boolean): number => {
    let added = 0;
    for (const event of events) {
      // A message may come both live and by backfill. The first one counts; its record commits together with the event.
      if (event.seen && !seenMessages.note(event.sessionId, event.seen, clock.now())) continue;
      if (event.callId !== null && calls && !calls.report(event.sessionId, event.callId)) continue;
      insertEvent(sql, newId(), event);
      added += 1;
    }
    if (withMarks) marks?.write();
    failPoint('outlet.written');
    return added;
  });
  const context: Context = {
    ...options,
    waiting: [],
    waitingSize: 0,
    missed: new Set(),
    isArmed: false,
    committedAt: -Infinity,
    isHealthy: true,
    insertAll,
  };
  marks?.onUnwritten(() => armSoon(context));
  return {
    append: (sessionId, epoch, event) => append(context, sessionId, epoch, event),
    commit: () => commit(context),
    size: () => context.waiting.length,
    isHealthy: () => context.isHealthy,
  };
}

function append(context: Context, sessionId: string, epoch: number, event: WorkerEvent): void {
  const { clock, problems } = context;
  try {
    const seen = seenIn(event);
    const occurredAt = new Date(clock.now()).toISOString();
    const { json: payload, shortened } = serialize(event.payload);
    if (shortened) problems.note('EVENT_SHORTENED', { sessionId, detail: event.event });
    const waiting = { sessionId, epoch, type: event.event, occurredAt, payload, seen, callId: callIn(event) };
    if (!fits(context, waiting)) return;
    context.waiting.push(waiting);
    context.waitingSize += payload.length;
    armSoon(context);
  } catch (error) {
    problems.note('EVENT_SET_ASIDE', { sessionId, detail: event.event, error });
  }
}

/** Whether an event may wait in memory. Messages are dropped first, because a backfill can read them again, and thumbnails, which no message needs. */
function fits(context: Context, { sessionId, type, payload }: WaitingEvent): boolean {
  const { isHealthy, waitingSize, memoryLimit, missed, marks, problems } = context;
  if (isHealthy) return true;
  const size = waitingSize + payload.length;
  if (type === 'message.thumbnail' && size > memoryLimit / 2) return false;
  if (type === 'message.observed' && size > memoryLimit / 2) {
    missed.add(sessionId);
    marks?.freeze(sessionId);
    return false;
  }
  if (size <= memoryLimit) return true;
  problems.note('EVENTS_DROPPED', { sessionId, detail: type });
  return false;
}

function commit(context: Context): void {
  const { marks, clock, problems } = context;
  while (context.waiting.length > 0 || (marks?.hasUnwritten() ?? false)) {
    const events = context.waiting.slice(0, maxPerCommit);
    const isLast = events.length === context.waiting.length;
    context.committedAt = clock.monotonic();
    try {
      // The marks cover all waiting events, so they are written with the last group.
      context.onAdded(writeGroup(context, events, isLast));
      if (isLast) marks?.written();
      failPoint('outlet.committed');
    } catch (error) {
      // Nothing of the group was written. It stays in order and is retried.
      context.isHealthy = false;
      problems.note('STORE_WRITE_FAILED', { detail: 'outlet', error });
      arm(context, retryMs);
      return;
    }
    context.waiting = context.waiting.slice(events.length);
    for (const { payload } of events) context.waitingSize -= payload.length;
    context.onCommit();
    if (isLast) break;
  }
  if (!context.isHealthy) recovered(context);
}

/** Writes `events` in one commit, or one by one if one of them cannot be written. Throws when the store accepts no writes at all. */
function writeGroup(context: Context, events: readonly WaitingEvent[], withMarks: boolean): number {
  try {
    return context.insertAll(events, withMarks);
  } catch (error) {
    if (isStoreUnavailable(error)) throw error;
    if (events.length === 1) {
      isolate(context, events[0]!, error);
      return 0;
    }
  }
  // The marks are written with the last event, because they cover all events before it.
  const last = events.length - 1;
  return events.reduce((sum, event, index) => sum + writeGroup(context, [event], withMarks && index === last), 0);
}

/** Parks an event that cannot be written. Its sequence number was not used, so the backend sees no gap. */
function isolate(context: Context, event: WaitingEvent, error: unknown): void {
  const { sql, clock, log, problems, newId } = context;
  const { sessionId, epoch, type, occurredAt, payload } = event;
  problems.note('EVENT_SET_ASIDE', { sessionId, detail: type, error });
  try {
    sql.park.run(newId(), sessionId, epoch, type, occurredAt, payload, 'NOT_WRITABLE', clock.now());
  } catch (failure) {
    if (isStoreUnavailable(failure)) return;
    log.warn('An isolated event could not be recorded.', { sessionId, type });
  }
}

function recovered(context: Context): void {
  const { log, missed } = context;
  context.isHealthy = true;
  log.info('Events can be written to the outlet again.', { sessionsWithMissedMessages: missed.size });
  const sessionIds = [...missed];
  missed.clear();
  if (sessionIds.length > 0) context.onMissed(sessionIds);
}

function armSoon(context: Context): void {
  const isStream = context.clock.monotonic() - context.committedAt < groupMs.stream;
  arm(context, isStream ? groupMs.stream : groupMs.first);
}

/** Commits after `ms`, unless a commit is scheduled already. */
function arm(context: Context, ms: number): void {
  if (context.isArmed) return;
  context.isArmed = true;
  context.clock.after(ms, () => {
    context.isArmed = false;
    commit(context);
  });
}
