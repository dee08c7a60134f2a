import { AppError } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { createSetAside } from '../lib/set-aside.js';
import type { MediaFile } from '../media/media-file.entity.js';
import { longestRetryMs, type Media } from '../media/media.js';
import type { Arrivals } from '../messages/arrivals.js';
import { Message } from '../messages/message.entity.js';
import { Session } from '../sessions/session.entity.js';
import type { WorkerClient } from './client.js';
import type { Placement } from './placement.js';

const pollMs = 1_000;
/** Downloads at once, each of another session: a session's page gives one file after the other. */
const together = 4;
const maxAttempts = 8;
const deadlineMs = 60_000;
/** A file that could not be fetched for this long, because its session was not connected, is given up: WhatsApp keeps files for less. */
const abandonAfterMs = 30 * 86_400_000;
/** Abandoned files are looked for with every so many polls. */
const abandonEveryPolls = 60;
const abandonTogether = 50;

/**
 * Fetches the files of inbound messages after the message itself is taken in: a large file holds up no event. Killed halfway, the
 * row is still `pending` and is fetched again under the same name.
 *
 * Only files of connected sessions are asked for, one of each session at a time, so that the files of a session that is not connected, a
 * worker that hangs and a file that fails hold up nothing but themselves. A file above `maxBytes` is `failed` with that reason: by its
 * announced size without a download, by its true size at the first byte above the limit.
 */
export function createFetcher({
  database,
  events,
  media,
  arrivals,
  client,
  placement,
  clock,
  log,
  maxBytes,
}: {
  database: Database;
  events: Events;
  media: Media;
  arrivals: Arrivals;
  client: WorkerClient;
  placement: Placement;
  clock: Clock;
  log: Log;
  /** The largest inbound file that is stored. */
  maxBytes: number;
}) {
  /** Downloads that run, by session. */
  const running = new Map<string, Promise<void>>();
  /** Files whose state could not be written. */
  const setAside = createSetAside(clock);
  const stopping = new AbortController();
  let looking: Promise<void> | null = null;
  let lookAgain = false;
  let timer: NodeJS.Timeout | undefined;
  let polls = 0;

  const tooLarge = `The file is larger than this installation stores (MAX_INBOUND_FILE_SIZE, ${maxBytes} bytes).`;

  async function fetchOne(file: MediaFile): Promise<void> {
    const message = file.messageId ? await database.reader.getRepository(Message).findOneBy({ id: file.messageId }) : null;
    const session = message ? await database.reader.getRepository(Session).findOneBy({ id: message.sessionId }) : null;
    if (!message?.whatsappId || !session || session.deletedAt) return settle(file, null, 'The message is gone.');
    if (session.status !== 'connected' || !session.workerId) return; // It is due again once the session is connected.
    if (file.size !== null && file.size > maxBytes) return settle(file, null, tooLarge);
    try {
      const url = await placement.urlOf(session.workerId);
      const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(deadlineMs + 10_000)]);
      const input = { whatsappId: message.whatsappId, maxBytes };
      const found = await client.download(url, session.id, { epoch: session.leaseEpoch, input, deadlineMs }, signal);
      await settle(file, await media.keepStream(file.id, found.bytes, found.mimetype, maxBytes, signal), null);
    } catch (error) {
      if (stopping.signal.aborted) return;
      await failed(file, error);
    }
  }

  async function failed(file: MediaFile, error: unknown): Promise<void> {
    const code = error instanceof AppError ? error.code : null;
    if (code === 'FILE_TOO_LARGE') return settle(file, null, tooLarge);
    if (code === 'MEDIA_EXPIRED') return settle(file, null, 'WhatsApp does not have the file any more.');
    if (file.attempts + 1 >= maxAttempts) return settle(file, null, 'The file could not be fetched.');
    const attempt = file.attempts + 1;
    log.warn('A file could not be fetched; it is tried again.', { mediaId: file.id, attempt, ...errorFields(error) });
    const inMs = Math.min(longestRetryMs, 2_000 * 2 ** file.attempts);
    await database.write.run((tx) =>
      media.settle(tx, file.id, { nextAttemptAt: new Date(clock.now().getTime() + inMs), attempts: attempt }),
    );
  }

  async function settle(
    file: MediaFile,
    kept: Pick<MediaFile, 'mimetype' | 'size' | 'sha256'> | null,
    reason: string | null,
  ): Promise<void> {
    await database.write.run(async (tx) => {
      const changed = await media.settle(
        tx,
        file.id,
        kept ? { ...kept, state: 'stored', nextAttemptAt: null } : { state: 'failed', reason, nextAttemptAt: null },
      );
      if (changed > 0 && file.messageId) await arrivals.fileSettled(tx, file.messageId, kept, reason);
    });
  }

  /** Never rejects. A file that fails by itself is left alone for a while, and its session's next file goes on. */
  async function isolated(file: MediaFile, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      setAside.delete(file.id);
    } catch (error) {
      setAside.add(file.id);
      log.error('The state of a file could not be written; it is tried again later.', {
        mediaId: file.id,
        ...errorFields(error),
      });
    }
  }

  async function look(): Promise<void> {
    const due = await media.due(clock.now(), together - running.size, [...running.keys()], setAside.list());
    for (const file of due) {
      const { sessionId } = file;
      if (stopping.signal.aborted || sessionId === null || running.has(sessionId)) continue;
      const fetching = isolated(file, () => fetchOne(file)).finally(() => {
        running.delete(sessionId);
        wake();
      });
      running.set(sessionId, fetching);
    }
  }

  async function abandon(): Promise<void> {
    const oldest = new Date(clock.now().getTime() - abandonAfterMs);
    for (const file of await media.abandoned(oldest, abandonTogether))
      if (!setAside.has(file.id) && !running.has(file.sessionId ?? ''))
        await isolated(file, () => settle(file, null, 'The session was not connected while WhatsApp had the file.'));
  }

  function wake(): void {
    if (stopping.signal.aborted) return;
    if (looking) {
      lookAgain = true;
      return;
    }
    looking = look()
      .catch((error: unknown) => log.error('Files could not be looked through; it is tried again.', errorFields(error)))
      .finally(() => {
        looking = null;
        if (lookAgain) {
          lookAgain = false;
          wake();
        }
      });
  }

  function poll(): void {
    polls += 1;
    wake();
    if (polls % abandonEveryPolls === 1)
      abandon().catch((error: unknown) =>
        log.error('Abandoned files could not be looked through; it is tried again.', errorFields(error)),
      );
  }

  const unsubscribe = events.subscribe((event) => {
    if (event.type === 'message.received' || event.type === 'session.status') wake();
  });

  return {
    start(): void {
      timer = setInterval(poll, pollMs);
      timer.unref();
    },
    /** Ends running downloads: their files are still `pending` and are fetched again. */
    async stop(): Promise<void> {
      stopping.abort();
      unsubscribe();
      clearInterval(timer);
      await looking;
      await Promise.allSettled(running.values());
    },
  };
}
