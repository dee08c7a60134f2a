import { AppError, type MessageResource } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Contacts } from '../../contacts/contacts.js';
import type { People } from '../../contacts/people.js';
import type { Core } from '../../core.js';
import { isConflict, isDatabaseDown, isSystemError } from '../../db/database-errors.js';
import { attemptInHalves } from '../../db/isolate.js';
import { insertRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { describeError } from '../../failures/failures.js';
import type { Media, StoredFile } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { Quotas } from '../quotas/quotas.js';
import { countNew } from '../usage/counts.js';
import { idsIn, presentMessage } from '../read/present.js';
import type { Idempotency, IdempotencyKey } from './idempotency.js';
import type { EnterQueue } from './queue-limit.js';

/** The rows that one commit writes: the message's row, its file and its idempotency record. */
export interface Acceptance {
  session: Session;
  message: Message;
  key: IdempotencyKey | null;
  file: StoredFile | null;
}

/**
 * Accepts a message, and returns it as its event shows it. When it resolves, the message is on disk, and after any crash it ends in one true state. The row with its id, the file, the
 * quota, the idempotency record and the event are one commit: before it nothing has happened, after it the dispatcher finds the row. Throws
 * `QUEUE_FULL`, `QUOTA_EXCEEDED` and `IDEMPOTENCY_IN_PROGRESS`, and the database's error if the commit fails.
 *
 * Messages that arrive while another commit runs share the next one: a dozen statements and one flush to the disk for all of them. One by one, each
 * would wait for the event log's counter until all messages before it have committed.
 */
type Accept = (acceptance: Acceptance) => Promise<MessageResource>;

export interface Acceptances {
  accept: Accept;
  /**
   * Accepts a message in the transaction of its caller, for a change that must commit with the message. Throws `QUEUE_FULL` and
   * `QUOTA_EXCEEDED`; then nothing of the message was written. The caller must have locked the session's row, and discards the file if it throws.
   */
  acceptWithin(tx: Transaction, acceptance: Acceptance): Promise<void>;
}

/** Writes accepted messages to traces. */
export interface AcceptTraces {
  /** Called when the accept begins, by the request that makes the message. */
  begin(message: Message): void;
  /** Called after the commit. */
  committed(message: Message): void;
}

export interface AcceptanceParts {
  contacts: Pick<Contacts, 'people'>;
  media: Pick<Media, 'attach' | 'discard'>;
  idempotency: Pick<Idempotency, 'reserve'>;
  quotas: Pick<Quotas, 'reserve'>;
  enterQueue: EnterQueue;
  /** Null or absent: no traces are written. */
  traces?: AcceptTraces | null;
}

type AcceptanceCore = Pick<Core, 'database' | 'events' | 'report'>;

interface Context extends AcceptanceCore, AcceptanceParts {
  /** The messages that wait for the next commit, oldest first. */
  waiting: Waiting[];
  /** Whether `drain` runs. */
  isDraining: boolean;
}

interface Waiting extends Acceptance {
  /** When the message began to wait, in milliseconds of the monotonic clock. */
  since: number;
  resolve: (published: MessageResource) => void;
  reject: (error: unknown) => void;
}

/** What became of the messages of a commit: each is in one of the two. */
interface Written {
  refused: Map<Acceptance, AppError>;
  /** The messages as their events show them. */
  published: Map<Acceptance, MessageResource>;
}

/** The maximum number of messages in one commit: the first of them must not wait long for the last. */
const batchSize = 64;

/** While the database is down, a message that has waited longer than this is refused: each commit before it may take a whole time limit. */
const maxWaitMs = 5_000;

export function createAcceptance(core: AcceptanceCore, parts: AcceptanceParts): Acceptances {
  const context: Context = { ...core, ...parts, waiting: [], isDraining: false };
  return {
    accept(acceptance) {
      parts.traces?.begin(acceptance.message);
      return accept(context, acceptance);
    },
    async acceptWithin(tx, acceptance) {
      parts.traces?.begin(acceptance.message);
      const error = (await write(context, tx, [acceptance])).refused.get(acceptance);
      if (error) throw error;
    },
  };
}

async function accept(context: Context, acceptance: Acceptance): Promise<MessageResource> {
  const { session, message, key, file } = acceptance;
  try {
    return await new Promise<MessageResource>((resolve, reject) => {
      context.waiting.push({ session, message, key, file, since: performance.now(), resolve, reject });
      if (context.isDraining) return;
      context.isDraining = true;
      void drain(context);
    });
  } catch (error) {
    // If the reply to a commit was lost, it is unknown whether it happened. Then the file stays, and the cleanup decides.
    if (file && error instanceof AppError) await context.media.discard(file);
    throw error;
  }
}

async function drain(context: Context): Promise<void> {
  const { waiting } = context;
  while (waiting.length > 0) {
    await gather(waiting);
    // One message that cannot be stored rolls back the whole commit. The others are committed without it.
    await attemptInHalves(
      waiting.splice(0, batchSize),
      (items) => commit(context, items),
      (items, error) => refuse(context, items, error),
    );
  }
  context.isDraining = false;
}

/** Waits until a tick of the event loop brings no further message: one that joins now saves a flush and waits less than for the next commit. */
async function gather(waiting: readonly Waiting[]): Promise<void> {
  for (let before = 0; waiting.length > before && waiting.length < batchSize;) {
    before = waiting.length;
    await new Promise(setImmediate);
  }
}

async function commit(context: Context, items: readonly Waiting[]): Promise<void> {
  const { refused, published } = await context.database.write.run((tx) => write(context, tx, items));
  if (published.size > 0) failPoint('accept.committed');
  for (const item of items) {
    const resource = published.get(item);
    if (resource) item.resolve(resource);
    else item.reject(refused.get(item));
  }
}

/** Writes all messages that are not refused. */
async function write(context: Context, tx: Transaction, items: readonly Acceptance[]): Promise<Written> {
  const { idempotency, media, traces } = context;
  const refused = await reserveCapacity(context, tx, items);
  const accepted = refused.size === 0 ? items : items.filter((item) => !refused.has(item));
  const keyed = accepted.flatMap(({ key, message }) => (key ? [{ key, messageId: message.id }] : []));
  if (keyed.length > 0) await idempotency.reserve(tx, keyed);
  for (const { file, message } of accepted)
    if (file) await media.attach(tx, file, { accountId: message.accountId, messageId: message.id });
  const messages = accepted.map(({ message }) => message);
  await insertRows(tx, Message, messages);
  const resources = await publish(context, tx, messages);
  await countNew(tx, messages);
  if (traces) tx.afterCommit(() => messages.forEach(traces.committed));
  failPoint('accept.written');
  return { refused, published: new Map(accepted.map((item, index) => [item, resources[index]!])) };
}

/** Writes the events of new messages. Returns the messages as the events show them. */
async function publish({ contacts, events }: Context, tx: Transaction, messages: readonly Message[]): Promise<MessageResource[]> {
  let people: People | null = null;
  // The names are read once for all messages, when the log is locked.
  const read = async (): Promise<People> => (people = await contacts.people(messages.flatMap(idsIn), tx.manager));
  const rows = await events.appendAll(
    tx,
    messages.map((message) => ({
      accountId: message.accountId,
      sessionId: message.sessionId,
      messageId: message.id,
      type: message.status === 'scheduled' ? ('message.scheduled' as const) : ('message.queued' as const),
      data: () => (people ? presentMessage(message, people) : read().then((found) => presentMessage(message, found))),
    })),
  );
  // The schema of both events is that of a message.
  return rows.map(({ data }) => data as unknown as MessageResource);
}

/** Counts the messages into their queues and quotas; a scheduled one counts in the quota of the day on which it is due. Returns the error of each message that does not fit. */
async function reserveCapacity(
  { enterQueue, quotas }: Context,
  tx: Transaction,
  items: readonly Acceptance[],
): Promise<Map<Acceptance, AppError>> {
  const refused = new Map<Acceptance, AppError>();
  for (const item of items)
    await enterQueue(tx, item.message).catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      refused.set(item, error);
    });
  const queued = items.filter((item) => !refused.has(item) && item.message.status === 'queued');
  if (queued.length === 0) return refused;
  const overQuota = await quotas.reserve(tx, queued);
  for (const item of queued) {
    const error = overQuota.get(item.message);
    if (error) refused.set(item, error);
  }
  return refused;
}

/** Rejects the messages that cannot be stored, or all messages of a commit that the database did not answer. */
function refuse({ waiting, report }: Context, items: readonly Waiting[], error: unknown): void {
  for (const item of items) {
    // Closes: two calls with one key on two backends. The second call meets the record of the first.
    if (isConflict(error) && item.key) {
      item.reject(new AppError('IDEMPOTENCY_IN_PROGRESS'));
      continue;
    }
    item.reject(error);
    if (isDatabaseDown(error)) refuseLate(waiting, error);
    if (isSystemError(error) || error instanceof AppError) continue;
    const { id: subject, accountId, sessionId } = item.message;
    report({ kind: 'accept', subject, accountId, sessionId, ...describeError(error) });
  }
}

/**
 * Refuses the messages that have waited long behind a commit that the database refused. They were not attempted. Without this, the last of a
 * thousand callers would get its 503 only after as many time limits as there are commits before it.
 */
function refuseLate(waiting: Waiting[], error: unknown): void {
  const late = performance.now() - maxWaitMs;
  while (waiting[0] && waiting[0].since < late) waiting.shift()!.reject(error);
}
