import type { CheckCredential, CredentialRef } from '../accounts/credential-ref.js';
import { AppError, type ErrorCode, type EventResource } from '@chasqui/shared';
import { databaseRefusal } from '../db/database-errors.js';
import { errorFields, type Log } from '../lib/log.js';
import { createStreamWriter } from '../lib/stream-writer.js';
import { cursorText, type Events } from './events.js';
import { readable, type EventLog, type EventPage, type Reading } from './log.js';

/**
 * Everybody who waits for events: streams, whatever their framing, and long polls. An event that was just committed only wakes them;
 * what they tell is always read from the log behind their cursor. So there is one truth, no seam between replay and live, and a
 * reader that is slow costs its own page of events and nothing else.
 */

/** Why a stream ended; `TOO_SLOW` is the reader's own doing, and it may come back at once. */
export type EndCode = ErrorCode | 'TOO_SLOW';

/** One framing. `write` resolves when the system has taken the bytes, and never rejects: who is gone takes everything. */
export interface Sink {
  frame(event: EventResource): string;
  write: (text: string) => Promise<void>;
  /** Keeps the connection open; `cursor` is how far the log was read. Text goes through `put`, which counts what waits for the reader. */
  beat(cursor: string, put: (text: string) => void): void;
  beatMs: number;
  /** The last word; the line is closed with it. */
  end(code: EndCode, message: string): void;
}

export interface Stream {
  /** The reader left, or wants no more. */
  close(): void;
  cursor(): string;
}

export interface StreamOptions {
  /** Streams of one credential at once, on this backend. */
  most: number;
  /** How often each credential is asked after; on this backend's own changes it is asked at once. */
  checkMs: number;
  /** A reader that takes nothing for so long is cut off. */
  stallMs: number;
}

const pageSize = 100;
/** Bytes of events that are read for one stream at once: there may be thousands of streams. */
const streamPageBytes = 512 * 1024;
/** After a page the next one waits this long, so that a burst of events is a few pages and not one each. */
const gapMs = 15;

/** A connection that stands on a credential. It is told to end when that is worth nothing any more. */
interface Holder {
  standing: CredentialRef;
  end(code: EndCode, message?: string): void;
}
interface Follower extends Holder {
  reading: Reading;
  wake(): void;
}

export type Streams = ReturnType<typeof createStreams>;

export function createStreams(parts: {
  events: Pick<Events, 'subscribe'>;
  eventLog: EventLog;
  ask: CheckCredential;
  log: Log;
  options: StreamOptions;
}) {
  const { eventLog, ask, log, options } = parts;
  const followers = new Set<Follower>();
  /** Connections that may follow nothing for a while, such as an idle WebSocket. */
  const idle = new Set<Holder>();
  const open = new Map<string, number>();
  let closed = false;

  const unsubscribe = parts.events.subscribe(({ accountId, sessionId, type }) => {
    for (const follower of followers) if (concerns(follower.reading, accountId, sessionId, type)) alone(() => follower.wake());
  });

  /** One reader that fails must not keep an event, or the end of its credential, from the others. */
  function alone(work: () => void): void {
    try {
      work();
    } catch (error) {
      log.error('A stream failed; its reader resumes it.', errorFields(error));
    }
  }

  let asking: Promise<void> = Promise.resolve();
  /** Whose credentials the next round checks: those of all accounts, or of some. Null while none is planned. */
  let planned: 'all' | Set<string> | null = null;
  const timer = setInterval(() => check(null), options.checkMs);
  timer.unref();

  /**
   * Checks every credential of the account, or of all accounts, once, however many connections stand on it. One round runs at a time; whatever
   * changes meanwhile is checked by one more round.
   */
  function check(accountId: string | null): void {
    const isPlanned = planned !== null;
    if (accountId === null) planned = 'all';
    else if (planned !== 'all') planned = (planned ?? new Set()).add(accountId);
    if (!isPlanned) asking = asking.then(checkPlanned);
  }

  /** Resolves when every round that was planned by now has ended. */
  const checked = (): Promise<void> => asking;

  async function checkPlanned(): Promise<void> {
    const whose = planned;
    planned = null;
    const groups = new Map<string, Holder[]>();
    for (const holder of [...followers, ...idle]) {
      if (whose !== 'all' && !whose?.has(holder.standing.accountId)) continue;
      const key = keyOf(holder.standing);
      groups.set(key, [...(groups.get(key) ?? []), holder]);
    }
    await Promise.all([...groups.values()].map(askOne));
  }

  /** Never rejects: a chain of rounds that was rejected once would never check again. */
  async function askOne(group: Holder[]): Promise<void> {
    try {
      const { permissions } = await ask(group[0]!.standing);
      for (const holder of group) if (isFollower(holder)) holder.reading = { ...holder.reading, permissions };
    } catch (error) {
      if (error instanceof AppError) for (const follower of group) alone(() => follower.end(error.code, error.message));
      else log.warn('A stream’s credential could not be asked after; it is tried again.', errorFields(error));
    }
  }

  /** Room for one more of `what` of this credential; returns how to give it back. Throws `RATE_LIMITED`. */
  function reserve(what: 'streams' | 'long polls', standing: CredentialRef): () => void {
    if (closed) throw new AppError('SHUTTING_DOWN');
    const key = `${what} ${keyOf(standing)}`;
    const count = open.get(key) ?? 0;
    if (count >= options.most)
      throw new AppError(
        'RATE_LIMITED',
        { scope: 'streams', limit: options.most },
        `This credential has ${options.most} ${what} open, which is the most. Close one first.`,
      );
    open.set(key, count + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const now = open.get(key)! - 1;
      if (now > 0) open.set(key, now);
      else open.delete(key);
    };
  }

  return {
    /** To be called when a credential of an account (null: of any) was changed: who may read no more is cut off now. */
    check,
    /**
     * Reserves room for one more stream of this credential. Returns how to leave it. `end` is for a connection that outlives what it follows: it is
     * called once the credential is worth nothing any more. Throws `RATE_LIMITED`.
     */
    enter(standing: CredentialRef, end?: (code: EndCode, message?: string) => void): () => void {
      const leave = reserve('streams', standing);
      if (!end) return leave;
      const holder: Holder = { standing, end };
      idle.add(holder);
      // Closes: the credential was changed after it was authenticated and before this.
      void askOne([holder]);
      return () => {
        idle.delete(holder);
        leave();
      };
    },

    /** Where a stream begins that was given no cursor. Throws `CURSOR_EXPIRED` for one that is too old. */
    async start(accountId: string, after: string | null): Promise<string> {
      if (after === null || after === '') return cursorText(await eventLog.head(accountId));
      await eventLog.requireKept(accountId, Number(after));
      return cursorText(Number(after));
    },

    /** Tells `sink` every event behind `after`, as long as it lasts. */
    follow(reading: Reading, standing: CredentialRef, after: string, sink: Sink): Stream {
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
        standing,
        wake() {
          awake = true;
          wake();
        },
        end(code, message = endings[code] ?? '') {
          if (ended) return;
          leave();
          if (code === 'TOO_SLOW')
            log.info('A stream was cut off: its reader took nothing.', { accountId: standing.accountId, reason: code });
          sink.end(code, message);
        },
      };
      // It looks into the log as well: whatever might swallow a wake-up, an event is late and never missed.
      const beat = setInterval(() => {
        sink.beat(cursor, (text) => {
          if (!writer.put(text)) follower.end('TOO_SLOW');
        });
        follower.wake();
      }, sink.beatMs);
      followers.add(follower);
      if (closed) follower.end('SHUTTING_DOWN');

      async function run(): Promise<void> {
        // Closes: the credential was changed after the caller was authenticated, and the round that it caused did not know of this stream yet.
        const { permissions } = await ask(standing);
        follower.reading = { ...follower.reading, permissions };
        while (!ended) {
          awake = false;
          // Closes: an event is committed right after a credential was changed, and is read with what the credential was worth before.
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

    /** A page, which waits for its first event when there is none; it ends early when `gone` aborts and at shutdown. */
    async poll(
      reading: Reading,
      standing: CredentialRef,
      wish: { after: number | null; limit: number; waitMs: number; gone: AbortSignal },
    ): Promise<EventPage> {
      let wake = (): void => undefined;
      const refused: { by: AppError | null } = { by: null };
      let awake = false;
      let after = wish.after;
      let waited = false;
      const follower: Follower = {
        reading,
        standing,
        wake() {
          awake = true;
          wake();
        },
        end(code, message) {
          if (code !== 'TOO_SLOW') refused.by = new AppError(code, {}, message);
          follower.wake();
        },
      };
      const until = performance.now() + wish.waitMs;
      // After the stop began, a long poll answers at once and takes no room.
      const leave = wish.waitMs > 0 && !closed ? reserve('long polls', standing) : () => undefined;
      if (wish.waitMs > 0) followers.add(follower);
      try {
        for (;;) {
          awake = false;
          const page = await eventLog.page(follower.reading, after, wish.limit);
          const left = until - performance.now();
          if (refused.by) throw refused.by;
          // Another backend may have revoked the credential while this one waited.
          if (waited) await ask(standing);
          if (page.events.length > 0 || left <= 0 || wish.gone.aborted || closed) return page;
          // What was looked through need not be looked through again.
          after = Number(page.next);
          waited = true;
          if (!awake) await waitFor((resolve) => (wake = resolve), left, wish.gone);
        }
      } finally {
        followers.delete(follower);
        leave();
      }
    },

    /** Ends all, and resolves when no reader is left. */
    async close(): Promise<void> {
      closed = true;
      unsubscribe();
      clearInterval(timer);
      for (const follower of [...followers]) alone(() => follower.end('SHUTTING_DOWN'));
      await asking;
    },
  };
}

const endings: Partial<Record<EndCode, string>> = {
  TOO_SLOW: 'Too slow: too much was waiting. Resume from your cursor.',
  SHUTTING_DOWN: 'The server is stopping. Resume from your cursor.',
  INTERNAL_ERROR: 'This is a bug. Resume from your cursor.',
};

const keyOf = ({ type, id, secret, keyFingerprint }: CredentialRef): string =>
  `${type} ${id} ${secret ?? ''} ${keyFingerprint ?? ''}`;

const isFollower = (holder: Holder): holder is Follower => 'reading' in holder;

/** Made once for each reading, and not for each event that passes by. */
const heard = new WeakMap<Reading, ReadonlySet<string> | null>();

function concerns(reading: Reading, accountId: string, sessionId: string | null, type: string): boolean {
  if (reading.accountId !== accountId || (reading.sessionId !== null && reading.sessionId !== sessionId)) return false;
  if (!heard.has(reading)) {
    const types = readable(reading.permissions, reading.types);
    heard.set(reading, types && new Set(types));
  }
  return heard.get(reading)?.has(type) ?? true;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function waitFor(hand: (resolve: () => void) => void, ms: number, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    gone.addEventListener('abort', done);
    hand(done);
  });
}
