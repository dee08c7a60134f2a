import { AppError } from '@chasqui/shared';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import type { Arrivals } from '../messages/arrivals.js';
import { Message } from '../messages/message.entity.js';
import { Session } from '../sessions/session.entity.js';
import type { WorkerClient } from './client.js';
import type { Placement } from './placement.js';

const pollMs = 1_000;
const together = 4;
const maxAttempts = 8;
const deadlineMs = 60_000;

/**
 * Fetches the files of inbound messages after the message itself is taken in: a large file holds up no event. Killed halfway, the
 * row is still `pending` and is fetched again under the same name.
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
}: {
  database: Database;
  events: Events;
  media: Media;
  arrivals: Arrivals;
  client: WorkerClient;
  placement: Placement;
  clock: Clock;
  log: Log;
}) {
  let stopped = false;
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;

  async function fetchOne(file: MediaFile): Promise<void> {
    const message = file.messageId ? await database.reader.getRepository(Message).findOneBy({ id: file.messageId }) : null;
    const session = message ? await database.reader.getRepository(Session).findOneBy({ id: message.sessionId }) : null;
    if (!message?.whatsappId || !session || session.deletedAt) return settle(file, null, 'The message is gone.');
    if (session.status !== 'connected' || !session.workerId) return postpone(file, 5_000, false);
    try {
      const url = await placement.urlOf(session.workerId);
      const { bytes, mimetype } = await client.download(url, session.id, {
        epoch: session.leaseEpoch,
        input: { whatsappId: message.whatsappId },
        deadlineMs,
      });
      await settle(file, await media.keep(file.id, bytes, mimetype), null);
    } catch (error) {
      if (error instanceof AppError && error.code === 'MEDIA_EXPIRED')
        return settle(file, null, 'WhatsApp does not have the file any more.');
      if (file.attempts + 1 >= maxAttempts) return settle(file, null, 'The file could not be fetched.');
      log.warn('A file could not be fetched; it is tried again.', {
        mediaId: file.id,
        attempt: file.attempts + 1,
        ...errorFields(error),
      });
      await postpone(file, Math.min(600_000, 2_000 * 2 ** file.attempts), true);
    }
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

  async function postpone(file: MediaFile, ms: number, counts: boolean): Promise<void> {
    await database.write.run((tx) =>
      media.settle(tx, file.id, {
        nextAttemptAt: new Date(clock.now().getTime() + ms),
        attempts: file.attempts + (counts ? 1 : 0),
      }),
    );
  }

  async function round(): Promise<void> {
    for (
      let due = await media.due(clock.now(), together);
      due.length > 0 && !stopped;
      due = await media.due(clock.now(), together)
    )
      await Promise.all(due.map(fetchOne));
  }

  function wake(): void {
    if (stopped || running) return;
    running = round()
      .catch((error: unknown) => log.error('Files could not be looked through; it is tried again.', errorFields(error)))
      .finally(() => (running = null));
  }
  const unsubscribe = events.subscribe((event) => {
    if (event.type === 'message.received') wake();
  });

  return {
    start(): void {
      timer = setInterval(wake, pollMs);
      timer.unref();
    },
    async stop(): Promise<void> {
      stopped = true;
      unsubscribe();
      clearInterval(timer);
      await running;
    },
  };
}
