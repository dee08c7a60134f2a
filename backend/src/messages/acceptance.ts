import { AppError } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Database } from '../db/database.js';
import { insertRows } from '../db/rows.js';
import { isConflict, isDatabaseDown } from '../db/trouble.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Media, StoredFile } from '../media/media.js';
import type { Idempotency, IdempotencyKey } from './idempotency.js';
import { Message } from './message.entity.js';
import type { Session } from '../sessions/session.entity.js';
import { presentMessage } from './present.js';
import type { Quotas } from './quotas.js';

/** What becomes one commit: the row, and with it the file and the idempotency record. */
export interface Acceptance {
  session: Session;
  message: Message;
  key: IdempotencyKey | null;
  file: StoredFile | null;
}
interface Waiting extends Acceptance {
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** As many as join into one commit: the first of them must not wait long for the last. */
const together = 64;

/**
 * Accepts messages. When it resolves, the message is on disk, and whatever crashes it ends in one true state. Row, id, file, places
 * in the quotas, idempotency record and event are one commit; before it nothing has happened, after it the dispatcher will find the row.
 *
 * Those that wait while another commit runs join into the next one: a dozen statements and one flush to the disk for all of them, where
 * each alone would wait for the event log's counter as long as everybody before it takes.
 */
export function createAcceptance({
  database,
  events,
  media,
  idempotency,
  enterQueue,
  quotas,
}: {
  database: Database;
  events: Events;
  media: Media;
  idempotency: Idempotency;
  /** Throws when the queue of the session is full. */
  enterQueue: (tx: Transaction, sessionId: string) => Promise<void>;
  quotas: Quotas;
}) {
  const waiting: Waiting[] = [];
  let running = false;

  /** Writes them all, but those that are refused: gives why. */
  async function write(tx: Transaction, items: readonly Acceptance[]): Promise<Map<Acceptance, AppError>> {
    const refused = new Map<Acceptance, AppError>();
    for (const item of items)
      await enterQueue(tx, item.message.sessionId).catch((error: unknown) => {
        if (!(error instanceof AppError)) throw error;
        refused.set(item, error);
      });
    const queued = items.filter((item) => !refused.has(item));
    const withoutPlace = await quotas.reserve(tx, queued);
    for (const item of queued) {
      const why = withoutPlace.get(item.message);
      if (why) refused.set(item, why);
    }
    const taken = queued.filter((item) => !refused.has(item));
    const keyed = taken.flatMap(({ key, message }) => (key ? [{ key, messageId: message.id }] : []));
    if (keyed.length > 0) await idempotency.reserve(tx, keyed);
    for (const { file, message } of taken)
      if (file) await media.attach(tx, file, { accountId: message.accountId, messageId: message.id });
    await insertRows(
      tx,
      Message,
      taken.map(({ message }) => message),
    );
    await events.appendAll(
      tx,
      taken.map(({ message }) => ({
        accountId: message.accountId,
        sessionId: message.sessionId,
        messageId: message.id,
        type: 'message.queued' as const,
        data: presentMessage(message),
      })),
    );
    failPoint('accept.written');
    return refused;
  }

  async function commit(items: readonly Waiting[]): Promise<void> {
    try {
      const refused = await database.write.run((tx) => write(tx, items));
      if (refused.size < items.length) failPoint('accept.committed');
      for (const item of items) {
        const why = refused.get(item);
        if (why) item.reject(why);
        else item.resolve();
      }
    } catch (error) {
      // One message that cannot be stored, or whose key is taken, has undone all of them; alone, each gets its own answer.
      if (items.length > 1 && !isDatabaseDown(error)) for (const item of items) await commit([item]);
      // Of two calls with one key on two backends the second meets the first one's record.
      else for (const item of items) item.reject(isConflict(error) && item.key ? new AppError('IDEMPOTENCY_IN_PROGRESS') : error);
    }
  }

  /** Until a turn of the event loop brings no more: what joins now saves a flush to the disk, and waits less than for the next one. */
  async function gather(): Promise<void> {
    for (let before = 0; waiting.length > before && waiting.length < together;) {
      before = waiting.length;
      await new Promise(setImmediate);
    }
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) {
      await gather();
      await commit(waiting.splice(0, together));
    }
    running = false;
  }

  return async function accept(acceptance: Acceptance): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        waiting.push({ ...acceptance, resolve, reject });
        if (running) return;
        running = true;
        void drain();
      });
    } catch (error) {
      // Of a commit that was lost on its way nobody knows whether it happened: then the file stays, and the sweep decides.
      if (acceptance.file && error instanceof AppError) await media.discard(acceptance.file);
      throw error;
    }
  };
}
