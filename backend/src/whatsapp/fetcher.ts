import { AppError } from '@chasqui/shared';
import type { Core } from '../core.js';
import { isDatabaseDown, isSystemError } from '../db/database-errors.js';
import { describeError } from '../failures/failures.js';
import { createItemBackoff } from '../lib/item-backoff.js';
import { errorFields } from '../lib/log.js';
import type { MediaFile } from '../media/media-file.entity.js';
import { StorageFailed } from '../lib/storage-failed.js';
import { longestRetryMs, type Media } from '../media/media.js';
import { Message } from '../messages/message.entity.js';
import type { Arrivals } from '../messages/receive/arrivals.js';
import { Session } from '../sessions/session.entity.js';
import type { WorkerClient } from './client.js';
import type { Placement } from './placement.js';

/**
 * Downloads the files of inbound messages after the message itself is recorded, so that a large file delays no event. If the process is killed
 * halfway, the row is still `pending` and the file is downloaded again under the same name.
 *
 * Asks only for files of connected sessions, one of each session at a time, so that the files of a session that is not connected, a worker
 * that hangs and a file that fails delay nothing but themselves. A file above `maxBytes` is `failed` with that reason: by its announced size
 * without a download, by its true size at the first byte above the limit.
 *
 * | what fails | then |
 * | --- | --- |
 * | WhatsApp or the worker with this file | retried with growing delays; `failed` after `maxAttempts` |
 * | the worker cannot be reached, or its session is not connected | retried soon; no attempt is counted |
 * | this machine cannot store (disk full, database down) | all downloads pause, and continue by themselves; no attempt is counted |
 * | the write of a file's state, while the database works | the file is reported and postponed |
 *
 * Sessions take turns: the one that was served longest ago is next, however many files the others have.
 */
export interface Fetcher {
  /** Starts to look for files: every second, and after each message or status of a session. */
  start(): void;
  /** Ends running downloads; their files are still `pending` and are downloaded after the next start. */
  stop(): Promise<void>;
}

export interface FetcherParts {
  media: Media;
  arrivals: Arrivals;
  client: WorkerClient;
  placement: Placement;
  /** The largest inbound file that is stored. */
  maxBytes: number;
}

const pollMs = 1_000;
/** Simultaneous downloads, each of another session: a session's page returns one file after the other. */
const maxDownloads = 4;
const maxAttempts = 8;
const deadlineMs = 60_000;
/** After this time without a connected session a file is `failed`: WhatsApp does not keep files that long. */
const abandonAfterMs = 30 * 86_400_000;
/** How many polls there are between two searches for abandoned files. */
const abandonEveryPolls = 60;
const abandonBatchSize = 200;
/** Above this number of sessions, those that have nothing due are removed from the order of service. */
const maxServed = 10_000;
/** While this machine cannot store files, all downloads pause: first this long, then twice as long each time, up to the maximum. */
const pauseMs = { first: 1_000, max: 30_000 };
/** The delay before a file is requested again whose worker or session could not answer. The attempt is not counted. */
const retryUnavailableMs = 10_000;

/** Causes and codes of `WORKER_UNAVAILABLE` that concern the worker or its session, not the file. */
const workerCauses: ReadonlySet<unknown> = new Set([
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
const concernsWorker = (error: unknown): boolean =>
  error instanceof AppError &&
  error.code === 'WORKER_UNAVAILABLE' &&
  [error.details['cause'], error.details['code']].some((one) => workerCauses.has(one));

/** The stored fields of a fetched file. */
type StoredFile = Pick<MediaFile, 'mimetype' | 'size' | 'sha256'>;

interface Context extends Core, FetcherParts {
  /** Downloads that run, by session. */
  running: Map<string, Promise<void>>;
  /** Files whose state could not be written. */
  postponed: ReturnType<typeof createItemBackoff>;
  /** Sessions in the order in which they were last served. */
  served: Set<string>;
  /** Until when nothing is downloaded, on the monotonic clock, because this machine cannot store it; and how long this pause is. */
  pause: { until: number; ms: number };
  stopping: AbortController;
  /** The running search for due files, and whether another one follows it. */
  scanning: Promise<void> | null;
  scanAgain: boolean;
  polls: number;
}

export function createFetcher(core: Core, parts: FetcherParts): Fetcher {
  const context: Context = {
    ...core,
    ...parts,
    running: new Map(),
    postponed: createItemBackoff(core.clock),
    served: new Set(),
    pause: noPause,
    stopping: new AbortController(),
    scanning: null,
    scanAgain: false,
    polls: 0,
  };
  let timer: NodeJS.Timeout | undefined;
  const unsubscribe = core.events.subscribe((event) => {
    if (event.type === 'message.received' || event.type === 'session.status') wake(context);
  });
  return {
    start(): void {
      timer = setInterval(() => poll(context), pollMs);
      timer.unref();
    },
    async stop(): Promise<void> {
      context.stopping.abort();
      unsubscribe();
      clearInterval(timer);
      await context.scanning;
      await Promise.allSettled(context.running.values());
    },
  };
}

const noPause = { until: -Infinity, ms: 0 };

function poll(context: Context): void {
  context.polls += 1;
  wake(context);
  if (context.polls % abandonEveryPolls === 1)
    failAbandoned(context).catch((error: unknown) =>
      context.log.error('Abandoned files could not be scanned; the scan is retried.', errorFields(error)),
    );
}

/** Scans for due files. While a scan runs, one more follows it. */
function wake(context: Context): void {
  if (context.stopping.signal.aborted) return;
  if (context.scanning) {
    context.scanAgain = true;
    return;
  }
  context.scanning = scan(context)
    .catch((error: unknown) => context.log.error('Files could not be scanned; the scan is retried.', errorFields(error)))
    .finally(() => {
      context.scanning = null;
      if (context.scanAgain) {
        context.scanAgain = false;
        wake(context);
      }
    });
}

/** Starts as many downloads of due files as there is room for. */
async function scan(context: Context): Promise<void> {
  const { media, clock, running, postponed, served, stopping } = context;
  const free = maxDownloads - running.size;
  if (free <= 0 || context.pause.until > clock.monotonic()) return;
  const due = await media.due(clock.now(), [...running.keys()], postponed.list());
  for (const sessionId of inTurn(served, due.keys()).slice(0, free)) {
    const file = await media.pending(due.get(sessionId)!);
    if (!file || stopping.signal.aborted || running.has(sessionId)) continue;
    served.delete(sessionId);
    served.add(sessionId);
    const fetching = isolated(context, file, () => fetchFile(context, file)).finally(() => {
      running.delete(sessionId);
      wake(context);
    });
    running.set(sessionId, fetching);
  }
}

/** Returns the sessions that have due files, those served longest ago first. */
function inTurn(served: Set<string>, sessionIds: Iterable<string>): string[] {
  const due = new Set(sessionIds);
  for (const id of served) if (!due.has(id) && served.size > maxServed) served.delete(id);
  const positions = new Map([...served].map((id, position) => [id, position]));
  return [...due].sort((a, b) => (positions.get(a) ?? -1) - (positions.get(b) ?? -1));
}

async function failAbandoned(context: Context): Promise<void> {
  const { media, clock, postponed, stopping, running } = context;
  const oldest = new Date(clock.now().getTime() - abandonAfterMs);
  for (const file of await media.abandoned(oldest, abandonBatchSize, postponed.list()))
    if (!stopping.signal.aborted && !running.has(file.sessionId ?? ''))
      await isolated(context, file, () =>
        settle(context, file, null, 'The session was not connected while WhatsApp had the file.'),
      );
}

/**
 * Works on one file and never rejects. A file that fails by itself is reported and postponed, and its session's next file is processed. When this
 * machine cannot store anything, no file is at fault, and all downloads pause.
 */
async function isolated(context: Context, file: MediaFile, work: () => Promise<void>): Promise<void> {
  const { clock, log, report } = context;
  try {
    await work();
  } catch (error) {
    const fields = { mediaId: file.id, ...errorFields(error) };
    if (error instanceof StorageFailed || isSystemError(error)) {
      const ms = Math.min(pauseMs.max, Math.max(pauseMs.first, context.pause.ms * 2));
      // Simultaneous downloads fail at the same time, and count once.
      if (context.pause.until <= clock.monotonic()) context.pause = { until: clock.monotonic() + ms, ms };
      return log.error('Files cannot be stored now; they are fetched again later.', { ...fields, inMs: ms });
    }
    context.postponed.add(file.id);
    log.error('The state of a file could not be written; it is retried later.', fields);
    const { id: subject, accountId, sessionId } = file;
    report({ kind: 'file', subject, accountId, sessionId, ...describeError(error) });
  }
}

async function fetchFile(context: Context, file: MediaFile): Promise<void> {
  const { database, media, client, placement, maxBytes, stopping, postponed } = context;
  const message = file.messageId ? await database.reader.getRepository(Message).findOneBy({ id: file.messageId }) : null;
  const session = message ? await database.reader.getRepository(Session).findOneBy({ id: message.sessionId }) : null;
  if (!message?.whatsappId || !session || session.deletedAt) return settle(context, file, null, 'The message no longer exists.');
  // The session lost its connection after the file was found due. Postponed, so that a file which is found again at once causes no busy loop.
  if (session.status !== 'connected' || !session.workerId) return void postponed.add(file.id);
  if (file.size !== null && file.size > maxBytes) return settle(context, file, null, tooLarge(maxBytes));
  let stored: StoredFile;
  try {
    const url = await placement.urlOf(session.workerId);
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(deadlineMs + 10_000)]);
    const input = { whatsappId: message.whatsappId, maxBytes };
    const found = await client.download(url, session.id, { epoch: session.leaseEpoch, input, deadlineMs }, signal);
    stored = await media.storeStream(file.id, found.bytes, found.mimetype, maxBytes, signal);
  } catch (error) {
    if (stopping.signal.aborted) return;
    return handleFailure(context, file, error);
  }
  context.pause = noPause;
  await settle(context, file, stored, null);
  postponed.delete(file.id);
}

/** Decides what a failed download means for its file. Throws errors that are not about the file: those of the disk and the database. */
async function handleFailure(context: Context, file: MediaFile, error: unknown): Promise<void> {
  const code = error instanceof AppError ? error.code : null;
  if (code === 'FILE_TOO_LARGE') return settle(context, file, null, tooLarge(context.maxBytes));
  if (code === 'MEDIA_EXPIRED') return settle(context, file, null, 'WhatsApp no longer has the file.');
  if (error instanceof StorageFailed || isDatabaseDown(error)) throw error;
  if (concernsWorker(error)) return retryLater(context, file, { inMs: retryUnavailableMs, attempts: file.attempts });
  const attempts = file.attempts + 1;
  if (attempts >= maxAttempts) return settle(context, file, null, 'The file could not be fetched.');
  context.log.warn('A file could not be fetched; it is retried.', { mediaId: file.id, attempt: attempts, ...errorFields(error) });
  await retryLater(context, file, { inMs: Math.min(longestRetryMs, 2_000 * 2 ** file.attempts), attempts });
}

const tooLarge = (maxBytes: number): string =>
  `The file is larger than this installation stores (MAX_INBOUND_FILE_SIZE, ${maxBytes} bytes).`;

async function retryLater(
  { database, media, clock }: Context,
  { id }: MediaFile,
  { inMs, attempts }: { inMs: number; attempts: number },
): Promise<void> {
  await database.write.run((tx) => media.settle(tx, id, { nextAttemptAt: new Date(clock.now().getTime() + inMs), attempts }));
}

/** Writes the final state of a file: `stored`, or `failed` with a reason. Publishes it with its message, in the same commit. */
async function settle(
  { database, media, arrivals }: Context,
  { id, messageId }: MediaFile,
  stored: StoredFile | null,
  reason: string | null,
): Promise<void> {
  const changes: Partial<MediaFile> = stored
    ? { ...stored, state: 'stored', nextAttemptAt: null }
    : { state: 'failed', reason, nextAttemptAt: null };
  await database.write.run(async (tx) => {
    const changed = await media.settle(tx, id, changes);
    if (changed > 0 && messageId) await arrivals.fileSettled(tx, messageId, stored, reason);
  });
}
