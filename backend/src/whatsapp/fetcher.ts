import { AppError } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import { isDatabaseDown, isSystemError } from '../db/database-errors.js';
import type { Events } from '../events/events.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { createItemBackoff } from '../lib/item-backoff.js';
import type { MediaFile } from '../media/media-file.entity.js';
import { longestRetryMs, StorageFailed, type Media } from '../media/media.js';
import type { Arrivals } from '../messages/receive/arrivals.js';
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
const abandonBatchSize = 200;
/** Above this number of sessions those that have nothing due are forgotten. */
const maxServed = 10_000;
/** While this machine cannot store files, all of them wait this long, then twice as long, up to the second figure. */
const restMs = { first: 1_000, longest: 30_000 };
/** A file whose worker or session cannot answer now is asked for again after this long; nothing was learned about the file. */
const askAgainMs = 10_000;

/** Answers that speak of the worker or of its session, not of the file. */
const ofTheWorker: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'SESSION_NOT_CONNECTED',
  'SESSION_NOT_FOUND',
  'STALE_EPOCH',
  'SHUTTING_DOWN',
  'UNAUTHENTICATED',
]);
const isOfTheWorker = (error: AppError): boolean =>
  error.code === 'WORKER_UNAVAILABLE' && [error.details['cause'], error.details['code']].some((one) => ofTheWorker.has(one));

/**
 * Fetches the files of inbound messages after the message itself is taken in: a large file holds up no event. Killed halfway, the
 * row is still `pending` and is fetched again under the same name.
 *
 * Only files of connected sessions are asked for, one of each session at a time, so that the files of a session that is not connected, a
 * worker that hangs and a file that fails hold up nothing but themselves. A file above `maxBytes` is `failed` with that reason: by its
 * announced size without a download, by its true size at the first byte above the limit.
 *
 * | what fails | then |
 * | --- | --- |
 * | WhatsApp or the worker with this file | tried again later and later; `failed` after so many attempts |
 * | the worker is not reached, or its session is not connected | asked again soon; no attempt is counted |
 * | this machine cannot store (disk full, database down) | all downloads rest, and go on by themselves; no attempt is counted |
 * | the write of a file's state, while the database works | the file is reported and left alone for a while |
 *
 * Sessions take turns: the one that was served longest ago is next, however many files the others have.
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
  report = () => undefined,
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
  report?: ReportFailure;
}) {
  /** Downloads that run, by session. */
  const running = new Map<string, Promise<void>>();
  /** Files whose state could not be written. */
  const postponed = createItemBackoff(clock);
  /** Sessions in the order in which they were last served. */
  const served = new Set<string>();
  /** Until when nothing is downloaded, because this machine cannot store it. Monotonic. */
  let rest = { until: -Infinity, ms: 0 };
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
    // Since it was found due the session has lost its connection. In case it is found again at once, it must not be in a circle.
    if (session.status !== 'connected' || !session.workerId) return void postponed.add(file.id);
    if (file.size !== null && file.size > maxBytes) return settle(file, null, tooLarge);
    let kept: Pick<MediaFile, 'mimetype' | 'size' | 'sha256'>;
    try {
      const url = await placement.urlOf(session.workerId);
      const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(deadlineMs + 10_000)]);
      const input = { whatsappId: message.whatsappId, maxBytes };
      const found = await client.download(url, session.id, { epoch: session.leaseEpoch, input, deadlineMs }, signal);
      kept = await media.storeStream(file.id, found.bytes, found.mimetype, maxBytes, signal);
    } catch (error) {
      if (stopping.signal.aborted) return;
      return failed(file, error);
    }
    rest = { until: -Infinity, ms: 0 };
    await settle(file, kept, null);
    postponed.delete(file.id);
  }

  /** What a failed download means for its file. Throws what is not about the file: trouble of the disk or of the database. */
  async function failed(file: MediaFile, error: unknown): Promise<void> {
    const code = error instanceof AppError ? error.code : null;
    if (code === 'FILE_TOO_LARGE') return settle(file, null, tooLarge);
    if (code === 'MEDIA_EXPIRED') return settle(file, null, 'WhatsApp does not have the file any more.');
    if (error instanceof StorageFailed || isDatabaseDown(error)) throw error;
    if (error instanceof AppError && isOfTheWorker(error)) return retry(file, { inMs: askAgainMs, attempts: file.attempts });
    if (file.attempts + 1 >= maxAttempts) return settle(file, null, 'The file could not be fetched.');
    const attempts = file.attempts + 1;
    log.warn('A file could not be fetched; it is retried.', { mediaId: file.id, attempt: attempts, ...errorFields(error) });
    await retry(file, { inMs: Math.min(longestRetryMs, 2_000 * 2 ** file.attempts), attempts });
  }

  const retry = async ({ id }: MediaFile, { inMs, attempts }: { inMs: number; attempts: number }): Promise<void> =>
    void (await database.write.run((tx) =>
      media.settle(tx, id, { nextAttemptAt: new Date(clock.now().getTime() + inMs), attempts }),
    ));

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

  /**
   * Never rejects. A file that fails by itself is reported and left alone for a while, and its session's next file goes on. When this machine
   * cannot store anything, no file is at fault and all of them rest.
   */
  async function isolated(file: MediaFile, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const fields = { mediaId: file.id, ...errorFields(error) };
      if (error instanceof StorageFailed || isSystemError(error)) {
        const ms = Math.min(restMs.longest, Math.max(restMs.first, rest.ms * 2));
        // Downloads that ran together fail together, and count once.
        if (rest.until <= clock.monotonic()) rest = { until: clock.monotonic() + ms, ms };
        return log.error('Files cannot be stored now; they are fetched again later.', { ...fields, inMs: ms });
      }
      postponed.add(file.id);
      log.error('The state of a file could not be written; it is retried later.', fields);
      const { id: subject, accountId, sessionId } = file;
      report({ kind: 'file', subject, accountId, sessionId, ...describeError(error) });
    }
  }

  /** The sessions that were served longest ago come first. */
  function inTurn(sessionIds: Iterable<string>): string[] {
    const due = new Set(sessionIds);
    for (const id of served) if (!due.has(id) && served.size > maxServed) served.delete(id);
    const turns = new Map([...served].map((id, turn) => [id, turn]));
    return [...due].sort((a, b) => (turns.get(a) ?? -1) - (turns.get(b) ?? -1));
  }

  async function look(): Promise<void> {
    const free = together - running.size;
    if (free <= 0 || rest.until > clock.monotonic()) return;
    const due = await media.due(clock.now(), [...running.keys()], postponed.list());
    for (const sessionId of inTurn(due.keys()).slice(0, free)) {
      const file = await media.pending(due.get(sessionId)!);
      if (!file || stopping.signal.aborted || running.has(sessionId)) continue;
      served.delete(sessionId);
      served.add(sessionId);
      const fetching = isolated(file, () => fetchOne(file)).finally(() => {
        running.delete(sessionId);
        wake();
      });
      running.set(sessionId, fetching);
    }
  }

  async function abandon(): Promise<void> {
    const oldest = new Date(clock.now().getTime() - abandonAfterMs);
    for (const file of await media.abandoned(oldest, abandonBatchSize, postponed.list()))
      if (!stopping.signal.aborted && !running.has(file.sessionId ?? ''))
        await isolated(file, () => settle(file, null, 'The session was not connected while WhatsApp had the file.'));
  }

  function wake(): void {
    if (stopping.signal.aborted) return;
    if (looking) {
      lookAgain = true;
      return;
    }
    looking = look()
      .catch((error: unknown) => log.error('Files could not be scanned; the scan is retried.', errorFields(error)))
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
        log.error('Abandoned files could not be scanned; the scan is retried.', errorFields(error)),
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
