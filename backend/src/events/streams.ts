import { AppError, type EventResource } from '@chasqui/shared';
import type { CheckCredential, CredentialRef } from '../accounts/credential-ref.js';
import { damageRefusal, databaseRefusal } from '../db/database-errors.js';
import { errorFields, type Log } from '../lib/log.js';
import { createStreamWriter, type StreamWriter } from '../lib/stream-writer.js';
import { cursorText, type Events, type PublishedEvent } from './events.js';
import {
  check,
  checkGroup,
  isolated,
  keyOf,
  noConnections,
  type Connection,
  type Connections,
  type EndCode,
  type Follower,
} from './connections.js';
import { readable, type EventLog, type EventPage, type Reading } from './log.js';

/**
 * Streams of events, in any framing, and long polls. A committed event only wakes them; what they send is always read from the log after
 * their cursor. So replayed and live events come from one source without a seam, and a slow reader costs only its own page of events.
 */
export interface Streams {
  /** Checks the credentials of an account (null: of all), because one has changed: streams that may no longer read are ended. */
  check(accountId: string | null): void;
  /**
   * Reserves room for one more stream of this credential. Returns the function that releases it. `end` is for a connection that outlives its
   * subscriptions: it is called when the credential is no longer valid. Throws `RATE_LIMITED`, and `SHUTTING_DOWN` during a stop.
   */
  enter(credential: CredentialRef, end?: (code: EndCode, message?: string) => void): () => void;
  /** Returns the cursor at which a stream begins: `after`, or the head of the log. Throws `CURSOR_EXPIRED` for a cursor that is too old. */
  start(accountId: string, after: string | null): Promise<string>;
  /** Writes every event after `after` to `sink` until the stream is closed. */
  follow(reading: Reading, credential: CredentialRef, after: string, sink: Sink): Stream;
  /**
   * Returns a page; waits up to `waitMs` for its first event when there is none. Ends early when `gone` aborts and at shutdown. Throws the error
   * that a request gets when the credential becomes invalid meanwhile, `RATE_LIMITED` and `CURSOR_EXPIRED`.
   */
  poll(reading: Reading, credential: CredentialRef, input: PollInput): Promise<EventPage>;
  /** Ends all streams. Resolves when no reader is left. */
  close(): Promise<void>;
}

export interface PollInput {
  after: number | null;
  limit: number;
  waitMs: number;
  gone: AbortSignal;
}

export type { EndCode } from './connections.js';

/** One framing. `write` resolves when the system has accepted the bytes, and never rejects, also for a disconnected reader. */
export interface Sink {
  frame(event: EventResource): string;
  write: (text: string) => Promise<void>;
  /** Keeps the connection open; `cursor` is how far the log was read. Text goes through `put`, which counts what is pending for the reader. */
  beat(cursor: string, put: (text: string) => void): void;
  beatMs: number;
  /** Sends the reason and closes the connection. */
  end(code: EndCode, message: string): void;
}

export interface Stream {
  /** Called when the reader disconnects or unsubscribes. */
  close(): void;
  cursor(): string;
}

export interface StreamOptions {
  /** The most streams that one credential may have open on this backend. */
  maxPerCredential: number;
  /** How often each credential is checked; changes by this backend are checked at once. */
  checkMs: number;
  /** A stream is closed when its reader has not read for this long. */
  stallMs: number;
}

const pageSize = 100;
/** Bytes of events that are read for one stream at once: there may be thousands of streams. */
const streamPageBytes = 512 * 1024;
/** After a page the next one waits this long, so that a burst of events is a few pages and not one each. */
const gapMs = 15;

interface StreamParts {
  eventLog: EventLog;
  checkCredential: CheckCredential;
  options: StreamOptions;
}
interface Context extends StreamParts, Connections {
  /** Reserved rooms, by kind and credential. */
  reserved: Map<string, number>;
  isClosed: boolean;
}

export function createStreams(core: { events: Pick<Events, 'subscribe'>; log: Log }, parts: StreamParts): Streams {
  const context: Context = {
    ...parts,
    ...noConnections(core.log, parts.checkCredential),
    reserved: new Map(),
    isClosed: false,
  };
  const unsubscribe = core.events.subscribe((event) => wakeFollowers(context, event));
  const timer = setInterval(() => check(context, null), parts.options.checkMs);
  timer.unref();
  return {
    check: (accountId) => check(context, accountId),
    enter: (credential, end) => enter(context, credential, end),
    start: (accountId, after) => start(context, accountId, after),
    follow: (reading, credential, after, sink) => follow(context, reading, credential, after, sink),
    poll: (reading, credential, input) => poll(context, reading, credential, input),
    async close() {
      context.isClosed = true;
      unsubscribe();
      clearInterval(timer);
      for (const follower of [...context.followers]) isolated(context, () => follower.end('SHUTTING_DOWN'));
      await context.checking;
    },
  };
}

function wakeFollowers(context: Context, { accountId, sessionId, type }: PublishedEvent): void {
  for (const follower of context.followers)
    if (concerns(follower.reading, accountId, sessionId, type)) isolated(context, () => follower.wake());
}

/** Reserves room for one more of `what` of this credential. Returns the function that releases it. Throws `RATE_LIMITED`. */
function reserve(
  { reserved, options, isClosed }: Context,
  what: 'streams' | 'long polls',
  credential: CredentialRef,
): () => void {
  if (isClosed) throw new AppError('SHUTTING_DOWN');
  const key = `${what} ${keyOf(credential)}`;
  const count = reserved.get(key) ?? 0;
  if (count >= options.maxPerCredential)
    throw new AppError(
      'RATE_LIMITED',
      { scope: 'streams', limit: options.maxPerCredential },
      `This credential has ${options.maxPerCredential} ${what} open, which is the limit. Close one first.`,
    );
  reserved.set(key, count + 1);
  let isReleased = false;
  return () => {
    if (isReleased) return;
    isReleased = true;
    const left = reserved.get(key)! - 1;
    if (left > 0) reserved.set(key, left);
    else reserved.delete(key);
  };
}

function enter(context: Context, credential: CredentialRef, end?: Connection['end']): () => void {
  const leave = reserve(context, 'streams', credential);
  if (!end) return leave;
  const connection: Connection = { credential, end };
  context.idle.add(connection);
  // Closes: the credential was changed after it was authenticated and before this.
  void checkGroup(context, [connection]);
  return () => {
    context.idle.delete(connection);
    leave();
  };
}

async function start({ eventLog }: Context, accountId: string, after: string | null): Promise<string> {
  if (after === null || after === '') return cursorText(await eventLog.head(accountId));
  await eventLog.requireAvailable(accountId, Number(after));
  return cursorText(Number(after));
}

/** A wake-up that is not lost when it comes before the wait. */
interface Alarm {
  wake(): void;
  /** Forgets earlier wake-ups. */
  reset(): void;
  isAwake(): boolean;
  /** Resolves at the next wake-up. */
  wait(): Promise<void>;
}

function createAlarm(): Alarm {
  let isAwake = true;
  let onWake = (): void => undefined;
  return {
    wake() {
      isAwake = true;
      onWake();
    },
    reset: () => void (isAwake = false),
    isAwake: () => isAwake,
    wait: () => new Promise((resolve) => (onWake = resolve)),
  };
}

/** A stream that is being written. */
interface Following extends Follower {
  cursor: string;
  isEnded: boolean;
  alarm: Alarm;
  writer: StreamWriter;
  sink: Sink;
}

function follow(context: Context, reading: Reading, credential: CredentialRef, after: string, sink: Sink): Stream {
  const { followers, log, options } = context;
  const alarm = createAlarm();
  const writer = createStreamWriter(sink.write, options);
  const following: Following = {
    reading,
    credential,
    cursor: after,
    isEnded: false,
    alarm,
    writer,
    sink,
    wake: alarm.wake,
    end(code, message = endings[code] ?? '') {
      if (following.isEnded) return;
      leave();
      if (code === 'TOO_SLOW')
        log.info('A stream was closed because its reader did not read.', { accountId: credential.accountId, reason: code });
      sink.end(code, message);
    },
  };
  const leave = (): void => {
    following.isEnded = true;
    clearInterval(beat);
    followers.delete(following);
    alarm.wake();
  };
  // The beat also reads the log: if a wake-up is lost, an event is late but never missed.
  const beat = setInterval(() => {
    sink.beat(following.cursor, (text) => {
      if (!writer.put(text)) following.end('TOO_SLOW');
    });
    alarm.wake();
  }, sink.beatMs);
  followers.add(following);
  if (context.isClosed) following.end('SHUTTING_DOWN');
  writeEvents(context, following).catch((error: unknown) => {
    const known = error instanceof AppError ? error : (databaseRefusal(error) ?? damageRefusal(error));
    if (!known) log.error('A stream failed; its reader resumes it.', errorFields(error));
    following.end(known?.code ?? 'INTERNAL_ERROR', known?.message);
  });
  return { close: leave, cursor: () => following.cursor };
}

/** Reads the log and writes to the sink until the stream has ended. */
async function writeEvents(context: Context, following: Following): Promise<void> {
  const { eventLog, checkCredential } = context;
  const { alarm, writer, sink } = following;
  // Closes: the credential was changed after the caller was authenticated, and the round that followed did not include this stream yet.
  const { permissions } = await checkCredential(following.credential);
  following.reading = { ...following.reading, permissions };
  while (!following.isEnded) {
    alarm.reset();
    // Closes: an event is committed right after a credential was changed, and is read with the earlier permissions.
    await context.checking;
    if (following.isEnded) return;
    const page = await eventLog.page(following.reading, Number(following.cursor), pageSize, streamPageBytes);
    for (const event of page.events) {
      if (following.isEnded) return;
      following.cursor = event.cursor;
      if (!(await writer.send(sink.frame(event)))) return following.end('TOO_SLOW');
    }
    following.cursor = page.next;
    if (page.isFull) continue;
    if (page.events.length > 0) await pause(gapMs);
    if (!alarm.isAwake()) await alarm.wait();
  }
}

async function poll(context: Context, reading: Reading, credential: CredentialRef, input: PollInput): Promise<EventPage> {
  const { followers } = context;
  const alarm = createAlarm();
  const refusal: Refusal = { error: null };
  const follower: Follower = {
    reading,
    credential,
    wake: alarm.wake,
    end(code, message) {
      if (code !== 'TOO_SLOW') refusal.error = new AppError(code, {}, message);
      alarm.wake();
    },
  };
  // During shutdown a long poll answers at once and reserves no room.
  const leave = input.waitMs > 0 && !context.isClosed ? reserve(context, 'long polls', credential) : () => undefined;
  if (input.waitMs > 0) followers.add(follower);
  try {
    return await firstPage(context, follower, alarm, refusal, input);
  } finally {
    followers.delete(follower);
    leave();
  }
}

/** The reason why a poll may no longer answer. */
interface Refusal {
  error: AppError | null;
}

/** Reads pages until one has events, or the time is over. */
async function firstPage(
  context: Context,
  follower: Follower,
  alarm: Alarm,
  refusal: Refusal,
  { after: first, limit, waitMs, gone }: PollInput,
): Promise<EventPage> {
  const { eventLog, checkCredential } = context;
  const until = performance.now() + waitMs;
  let after = first;
  let hasWaited = false;
  for (;;) {
    alarm.reset();
    const page = await eventLog.page(follower.reading, after, limit);
    const left = until - performance.now();
    if (refusal.error) throw refusal.error;
    // Closes: the credential was revoked, or lost a permission, while this poll waited, here or on another backend.
    if (hasWaited) {
      const { permissions } = await checkCredential(follower.credential);
      const isSame = permissions.join() === follower.reading.permissions.join();
      follower.reading = { ...follower.reading, permissions };
      // The page was read with the earlier permissions.
      if (!isSame) continue;
    }
    if (page.events.length > 0 || left <= 0 || gone.aborted || context.isClosed) return page;
    // Continues after the part of the log that was already scanned.
    after = Number(page.next);
    hasWaited = true;
    if (!alarm.isAwake()) await waitFor(alarm, left, gone);
  }
}

const endings: Partial<Record<EndCode, string>> = {
  TOO_SLOW: 'Too slow: too much data was pending. Resume from your cursor.',
  SHUTTING_DOWN: 'The server is stopping. Resume from your cursor.',
  INTERNAL_ERROR: 'This is a bug. Resume from your cursor.',
};

/** The readable types, computed once for each reading instead of once for each event. */
const typesOf = new WeakMap<Reading, ReadonlySet<string> | null>();

function concerns(reading: Reading, accountId: string, sessionId: string | null, type: string): boolean {
  if (reading.accountId !== accountId || (reading.sessionId !== null && reading.sessionId !== sessionId)) return false;
  if (!typesOf.has(reading)) {
    const types = readable(reading.permissions, reading.types);
    typesOf.set(reading, types && new Set(types));
  }
  return typesOf.get(reading)?.has(type) ?? true;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves at the next wake-up, after `ms`, or when the reader disconnects. */
function waitFor(alarm: Alarm, ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    gone.addEventListener('abort', done);
    void alarm.wait().then(done);
  });
}
