import type { CheckCredential, CredentialRef } from '../accounts/credential-ref.js';
import { AppError, type ErrorCode, type EventResource } from '@chasqui/shared';
import { databaseRefusal } from '../db/database-errors.js';
import { errorFields, type Log } from '../lib/log.js';
import { createStreamWriter } from '../lib/stream-writer.js';
import { cursorText, type Events } from './events.js';
import { readable, type EventLog, type EventPage, type Reading } from './log.js';

/**
 * Streams of events, in any framing, and long polls. A committed event only wakes them; what they send is always read from the log after
 * their cursor. So replayed and live events come from one source without a seam, and a slow reader costs only its own page of events.
 */

/** Why a stream ended. `TOO_SLOW` means that the reader did not read; it may reconnect at once. */
export type EndCode = ErrorCode | 'TOO_SLOW';

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

/** A connection that depends on a credential. It is ended when the credential is no longer valid. */
interface Connection {
  credential: CredentialRef;
  end(code: EndCode, message?: string): void;
}
interface Follower extends Connection {
  reading: Reading;
  wake(): void;
}

export type Streams = ReturnType<typeof createStreams>;

export function createStreams(parts: {
  events: Pick<Events, 'subscribe'>;
  eventLog: EventLog;
  checkCredential: CheckCredential;
  log: Log;
  options: StreamOptions;
}) {
  const { eventLog, checkCredential, log, options } = parts;
  const followers = new Set<Follower>();
  /** Connections that may follow nothing for a while, such as an idle WebSocket. */
  const idle = new Set<Connection>();
  const open = new Map<string, number>();
  let closed = false;

  const unsubscribe = parts.events.subscribe(({ accountId, sessionId, type }) => {
    for (const follower of followers) if (concerns(follower.reading, accountId, sessionId, type)) isolated(() => follower.wake());
  });

  /** Isolates a reader's error, so that the others still receive the event or the end of their credential. */
  function isolated(work: () => void): void {
    try {
      work();
    } catch (error) {
      log.error('A stream failed; its reader resumes it.', errorFields(error));
    }
  }

  let checking: Promise<void> = Promise.resolve();
  /** The accounts whose credentials the next round checks. Null while no round is planned. */
  let planned: 'all' | Set<string> | null = null;
  const timer = setInterval(() => check(null), options.checkMs);
  timer.unref();

  /**
   * Checks every credential of the account, or of all accounts, once, however many connections depend on it. One round runs at a time; changes
   * meanwhile are checked by one more round.
   */
  function check(accountId: string | null): void {
    const isPlanned = planned !== null;
    if (accountId === null) planned = 'all';
    else if (planned !== 'all') planned = (planned ?? new Set()).add(accountId);
    if (!isPlanned) checking = checking.then(checkPlanned);
  }

  /** Resolves when every round that is planned now has ended. */
  const checked = (): Promise<void> => checking;

  async function checkPlanned(): Promise<void> {
    const whose = planned;
    planned = null;
    const groups = new Map<string, Connection[]>();
    for (const connection of [...followers, ...idle]) {
      if (whose !== 'all' && !whose?.has(connection.credential.accountId)) continue;
      const key = keyOf(connection.credential);
      groups.set(key, [...(groups.get(key) ?? []), connection]);
    }
    await Promise.all([...groups.values()].map(checkGroup));
  }

  /** Never rejects: a chain of rounds that was rejected once would never check again. */
  async function checkGroup(group: Connection[]): Promise<void> {
    try {
      const { permissions } = await checkCredential(group[0]!.credential);
      for (const connection of group) if (isFollower(connection)) connection.reading = { ...connection.reading, permissions };
    } catch (error) {
      if (error instanceof AppError) for (const follower of group) isolated(() => follower.end(error.code, error.message));
      else log.warn('A stream’s credential could not be checked; the check is retried.', errorFields(error));
    }
  }

  /** Reserves room for one more of `what` of this credential. Returns the function that releases it. Throws `RATE_LIMITED`. */
  function reserve(what: 'streams' | 'long polls', credential: CredentialRef): () => void {
    if (closed) throw new AppError('SHUTTING_DOWN');
    const key = `${what} ${keyOf(credential)}`;
    const count = open.get(key) ?? 0;
    if (count >= options.maxPerCredential)
      throw new AppError(
        'RATE_LIMITED',
        { scope: 'streams', limit: options.maxPerCredential },
        `This credential has ${options.maxPerCredential} ${what} open, which is the limit. Close one first.`,
      );
    open.set(key, count + 1);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const now = open.get(key)! - 1;
      if (now > 0) open.set(key, now);
      else open.delete(key);
    };
  }

  return {
    /** Called when a credential of an account (null: of any) changed: streams that may no longer read are ended. */
    check,
    /**
     * Reserves room for one more stream of this credential. Returns the function that releases it. `end` is for a connection that outlives its subscriptions:
     * it is called when the credential is no longer valid. Throws `RATE_LIMITED`.
     */
    enter(credential: CredentialRef, end?: (code: EndCode, message?: string) => void): () => void {
      const leave = reserve('streams', credential);
      if (!end) return leave;
      const connection: Connection = { credential, end };
      idle.add(connection);
      // Closes: the credential was changed after it was authenticated and before this.
      void checkGroup([connection]);
      return () => {
        idle.delete(connection);
        leave();
      };
    },

    /** Returns the cursor at which a stream begins: `after`, or the head of the log. Throws `CURSOR_EXPIRED` for a cursor that is too old. */
    async start(accountId: string, after: string | null): Promise<string> {
      if (after === null || after === '') return cursorText(await eventLog.head(accountId));
      await eventLog.requireAvailable(accountId, Number(after));
      return cursorText(Number(after));
    },

    /** Writes every event after `after` to `sink` until the stream is closed. */
    follow(reading: Reading, credential: CredentialRef, after: string, sink: Sink): Stream {
      let cursor = after;
      let ended = false;
      let wake = (): void => undefined;
      let awake = true;
      const writer = createStreamWriter(sink.write, options);
      const leave = (): void => {
        ended = true;
        clearInterval(beat);
        followers.delete(follower);
        follower.wake();
      };
      const follower: Follower = {
        reading,
        credential,
        wake() {
          awake = true;
          wake();
        },
        end(code, message = endings[code] ?? '') {
          if (ended) return;
          leave();
          if (code === 'TOO_SLOW')
            log.info('A stream was closed because its reader did not read.', { accountId: credential.accountId, reason: code });
          sink.end(code, message);
        },
      };
      // The beat also reads the log: if a wake-up is lost, an event is late but never missed.
      const beat = setInterval(() => {
        sink.beat(cursor, (text) => {
          if (!writer.put(text)) follower.end('TOO_SLOW');
        });
        follower.wake();
      }, sink.beatMs);
      followers.add(follower);
      if (closed) follower.end('SHUTTING_DOWN');

      async function run(): Promise<void> {
        // Closes: the credential was changed after the caller was authenticated, and the round that followed did not include this stream yet.
        const { permissions } = await checkCredential(credential);
        follower.reading = { ...follower.reading, permissions };
        while (!ended) {
          awake = false;
          // Closes: an event is committed right after a credential was changed, and is read with the earlier permissions.
          await checked();
          if (ended) return;
          const page = await eventLog.page(follower.reading, Number(cursor), pageSize, streamPageBytes);
          for (const event of page.events) {
            if (ended) return;
            cursor = event.cursor;
            if (!(await writer.send(sink.frame(event)))) return follower.end('TOO_SLOW');
          }
          cursor = page.next;
          if (page.isFull) continue;
          if (page.events.length > 0) await pause(gapMs);
          while (!awake && !ended) await new Promise<void>((resolve) => (wake = resolve));
        }
      }
      run().catch((error: unknown) => {
        const known = error instanceof AppError ? error : databaseRefusal(error);
        if (!known) log.error('A stream failed; its reader resumes it.', errorFields(error));
        follower.end(known?.code ?? 'INTERNAL_ERROR', known?.message);
      });
      return { close: leave, cursor: () => cursor };
    },

    /** Returns a page; waits for its first event when there is none. Ends early when `gone` aborts and at shutdown. */
    async poll(
      reading: Reading,
      credential: CredentialRef,
      input: { after: number | null; limit: number; waitMs: number; gone: AbortSignal },
    ): Promise<EventPage> {
      let wake = (): void => undefined;
      const refusal: { error: AppError | null } = { error: null };
      let awake = false;
      let after = input.after;
      let waited = false;
      const follower: Follower = {
        reading,
        credential,
        wake() {
          awake = true;
          wake();
        },
        end(code, message) {
          if (code !== 'TOO_SLOW') refusal.error = new AppError(code, {}, message);
          follower.wake();
        },
      };
      const until = performance.now() + input.waitMs;
      // During shutdown a long poll answers at once and reserves no room.
      const leave = input.waitMs > 0 && !closed ? reserve('long polls', credential) : () => undefined;
      if (input.waitMs > 0) followers.add(follower);
      try {
        for (;;) {
          awake = false;
          const page = await eventLog.page(follower.reading, after, input.limit);
          const left = until - performance.now();
          if (refusal.error) throw refusal.error;
          // Closes: the credential was revoked, or lost a permission, while this poll waited, here or on another backend.
          if (waited) {
            const { permissions } = await checkCredential(credential);
            const isSame = permissions.join() === follower.reading.permissions.join();
            follower.reading = { ...follower.reading, permissions };
            // The page was read with the earlier permissions.
            if (!isSame) continue;
          }
          if (page.events.length > 0 || left <= 0 || input.gone.aborted || closed) return page;
          // Continues after the part of the log that was already scanned.
          after = Number(page.next);
          waited = true;
          if (!awake) await waitFor((resolve) => (wake = resolve), left, input.gone);
        }
      } finally {
        followers.delete(follower);
        leave();
      }
    },

    /** Ends all streams. Resolves when no reader is left. */
    async close(): Promise<void> {
      closed = true;
      unsubscribe();
      clearInterval(timer);
      for (const follower of [...followers]) isolated(() => follower.end('SHUTTING_DOWN'));
      await checking;
    },
  };
}

const endings: Partial<Record<EndCode, string>> = {
  TOO_SLOW: 'Too slow: too much data was pending. Resume from your cursor.',
  SHUTTING_DOWN: 'The server is stopping. Resume from your cursor.',
  INTERNAL_ERROR: 'This is a bug. Resume from your cursor.',
};

const keyOf = ({ type, id, secret, keyFingerprint }: CredentialRef): string =>
  `${type} ${id} ${secret ?? ''} ${keyFingerprint ?? ''}`;

const isFollower = (connection: Connection): connection is Follower => 'reading' in connection;

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

function waitFor(onWake: (resolve: () => void) => void, ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    gone.addEventListener('abort', done);
    onWake(done);
  });
}
