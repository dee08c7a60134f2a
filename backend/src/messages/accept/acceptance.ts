import { AppError } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Contacts } from '../../contacts/contacts.js';
import type { Database } from '../../db/database.js';
import { attemptInHalves } from '../../db/isolate.js';
import { insertRows } from '../../db/rows.js';
import { isConflict, isDatabaseDown, isSystemError } from '../../db/database-errors.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Events } from '../../events/events.js';
import { describeError, type ReportFailure } from '../../failures/failures.js';
import type { Media, StoredFile } from '../../media/media.js';
import type { Idempotency, IdempotencyKey } from './idempotency.js';
import { Message } from '../message.entity.js';
import type { Session } from '../../sessions/session.entity.js';
import { idsIn, presentMessage } from '../read/present.js';
import type { Quotas } from '../quotas/quotas.js';

/** What becomes one commit: the row, and with it the file and the idempotency record. */
export interface Acceptance {
  session: Session;
  message: Message;
  key: IdempotencyKey | null;
  file: StoredFile | null;
}
interface Waiting extends Acceptance {
  /** When it began to wait, by the monotonic clock. */
  since: number;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** As many as join into one commit: the first of them must not wait long for the last. */
const together = 64;

/** While the database is down, a message that has waited this long is refused: each commit before it may take the whole of a time limit. */
const patienceMs = 5_000;

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
  contacts,
  media,
  idempotency,
  enterQueue,
  quotas,
  report,
}: {
  database: Database;
  events: Events;
  contacts: Pick<Contacts, 'people'>;
  media: Media;
  idempotency: Idempotency;
  /** Throws when the queue of the session is full. */
  enterQueue: (tx: Transaction, sessionId: string) => Promise<void>;
  quotas: Quotas;
  report: ReportFailure;
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
    const people = await contacts.people(
      taken.flatMap(({ message }) => idsIn(message)),
      tx.manager,
    );
    await events.appendAll(
      tx,
      taken.map(({ message }) => ({
        accountId: message.accountId,
        sessionId: message.sessionId,
        messageId: message.id,
        type: 'message.queued' as const,
        data: presentMessage(message, people),
      })),
    );
    failPoint('accept.written');
    return refused;
  }

  async function commit(items: readonly Waiting[]): Promise<void> {
    const refused = await database.write.run((tx) => write(tx, items));
    if (refused.size < items.length) failPoint('accept.committed');
    for (const item of items) {
      const why = refused.get(item);
      if (why) item.reject(why);
      else item.resolve();
    }
  }

  /** Rejects the messages that cannot be stored, or all messages of a commit that the database did not answer. */
  function refuse(items: readonly Waiting[], error: unknown): void {
    for (const item of items) {
      // Of two calls with one key on two backends the second meets the first one's record.
      if (isConflict(error) && item.key) {
        item.reject(new AppError('IDEMPOTENCY_IN_PROGRESS'));
        continue;
      }
      item.reject(error);
      if (isDatabaseDown(error)) refuseLate(error);
      if (isSystemError(error) || error instanceof AppError) continue;
      const { id: subject, accountId, sessionId } = item.message;
      report({ kind: 'accept', subject, accountId, sessionId, ...describeError(error) });
    }
  }

  /**
   * Refuses the messages that have waited long behind a commit which the database did not take. They were not attempted. Without this the last of a
   * thousand callers would get its 503 only after as many time limits as there are commits before it.
   */
  function refuseLate(error: unknown): void {
    const late = performance.now() - patienceMs;
    while (waiting[0] && waiting[0].since < late) waiting.shift()!.reject(error);
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
      // What one message cannot do undoes the whole commit; those that can are committed without it.
      await attemptInHalves(waiting.splice(0, together), commit, refuse);
    }
    running = false;
  }

  return async function accept(acceptance: Acceptance): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        waiting.push({ ...acceptance, since: performance.now(), resolve, reject });
        if (running) return;
        running = true;
        void drain();
      });
    } catch (error) {
      // When the reply to a commit is lost, it is unknown whether it happened: then the file stays, and the sweep decides.
      if (acceptance.file && error instanceof AppError) await media.discard(acceptance.file);
      throw error;
    }
  };
}
