import { createHash, type Hash } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import type { Core } from '../../core.js';
import { deleteBefore, insertRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { IdempotencyRecord } from './idempotency.entity.js';

/** The scope of an `Idempotency-Key`. */
export interface IdempotencyScope {
  accountId: string;
  /** The session that the request acts on, after it was resolved. Empty for a request of the account as a whole. */
  sessionId: string;
  /** The request named no session, and this is the account's default session at this moment. */
  isDefaultSession: boolean;
}

export interface IdempotencyKey extends IdempotencyScope {
  key: string;
  requestHash: string;
  /** Returns the hashes that earlier versions of this program stored for the same request. Called only when the stored hash differs. */
  earlierHashes: () => string[];
}

/** The result of an earlier call with the same key: its message, or its whole reply. */
export type EarlierCall = { messageId: string } | { status: number; body: string };

/**
 * Stores the first reply to an `Idempotency-Key` and replays it. A record belongs to the resolved session. So two sessions may use the same key, and
 * a credential that is bound to a session never receives another session's message. The record commits with the message, so a crash leaves both or
 * neither:
 *
 * | the process dies | a repeat of the call |
 * | --- | --- |
 * | before the commit | finds nothing and counts as the first call |
 * | between commit and reply | finds the message without a reply, and returns the message as it is then |
 * | after the reply was stored | returns the stored reply |
 */
export interface Idempotency {
  /** Returns the key of a request; null without the header. Throws `MALFORMED_REQUEST` for a header that is empty or longer than 255 characters. */
  keyOf(scope: IdempotencyScope, header: string | undefined, method: string, path: string, body: unknown): IdempotencyKey | null;
  /**
   * Begins a call. Returns what an earlier call left; null for the first call, which must then be ended with `end`. Throws `IDEMPOTENCY_IN_PROGRESS`
   * while the first call still runs, and `IDEMPOTENCY_KEY_REUSED` if the key was used for another request.
   */
  begin(call: IdempotencyKey): Promise<EarlierCall | null>;
  /** Ends a call that `begin` returned null for. */
  end(call: IdempotencyKey): void;
  /** Writes the records in the transaction of their messages. Fails with a conflict if another backend wrote a record for one of the keys. */
  reserve(tx: Transaction, calls: readonly { key: IdempotencyKey; messageId: string }[]): Promise<void>;
  /** Stores the reply of a call. */
  store(call: IdempotencyKey, status: number, body: string): Promise<void>;
  /** Deletes expired records. */
  prune(): Promise<number>;
}

interface Context extends Pick<Core, 'database' | 'clock'> {
  /** Hours after which a record expires. */
  hours: number;
  /** The names of the calls that run in this process. */
  running: Set<string>;
}

export function createIdempotency(core: Pick<Core, 'database' | 'clock'>, { hours }: { hours: number }): Idempotency {
  const context: Context = { ...core, hours, running: new Set() };
  const { database, clock, running } = context;
  return {
    keyOf,
    begin: (call) => begin(context, call),
    end: (call) => void running.delete(nameOf(call)),
    reserve: (tx, calls) => reserve(context, tx, calls),
    async store({ accountId, sessionId, key }, status, body) {
      await database.write.run((tx) => updateRows(tx, IdempotencyRecord, { accountId, sessionId, key }, { status, body }));
    },
    prune: () => deleteBefore(database, IdempotencyRecord, { time: 'expiresAt', key: 'key', before: clock.now() }),
  };
}

function keyOf(
  scope: IdempotencyScope,
  header: string | undefined,
  method: string,
  path: string,
  body: unknown,
): IdempotencyKey | null {
  if (header === undefined) return null;
  if (header.length < 1 || header.length > 255)
    throw new AppError('MALFORMED_REQUEST', {}, 'An Idempotency-Key has 1 to 255 characters.');
  return {
    ...scope,
    key: header,
    requestHash: hashOf(method, path, body),
    earlierHashes: () => earlierForms.map((form) => form(method, path, body)),
  };
}

async function begin(context: Context, call: IdempotencyKey): Promise<EarlierCall | null> {
  const { running } = context;
  const name = nameOf(call);
  if (running.has(name)) throw new AppError('IDEMPOTENCY_IN_PROGRESS');
  // Closes: two calls with one key at the same time. The mark is set before the first await, so only one of them continues.
  running.add(name);
  let isFirst = false;
  try {
    const earlier = await findEarlier(context, call);
    isFirst = earlier === null;
    return earlier;
  } finally {
    if (!isFirst) running.delete(name);
  }
}

async function findEarlier({ database, clock }: Context, call: IdempotencyKey): Promise<EarlierCall | null> {
  const { accountId, sessionId, key } = call;
  const records = database.reader.getRepository(IdempotencyRecord);
  const unexpired = (record: IdempotencyRecord | null): IdempotencyRecord | null =>
    record && record.expiresAt > clock.now() ? record : null;
  const ofSession = unexpired(await records.findOneBy({ accountId, sessionId, key }));
  // Closes: the default session changes between a call that names no session and its repeat. The repeat would be sent through the new default session.
  const isElsewhere = !ofSession && call.isDefaultSession;
  const record = isElsewhere ? unexpired(await records.findOneBy({ accountId, key, isDefaultSession: true })) : ofSession;
  if (!record) return null;
  const isSame = record.requestHash === call.requestHash || call.earlierHashes().includes(record.requestHash);
  if (!isSame) throw new AppError('IDEMPOTENCY_KEY_REUSED');
  if (record.status !== null && record.body !== null) return { status: record.status, body: record.body };
  return record.messageId ? { messageId: record.messageId } : null;
}

/** Closes: two calls with one key on two backends. The insert of the second conflicts with the row of the first and fails. */
async function reserve(
  { clock, hours }: Context,
  tx: Transaction,
  calls: readonly { key: IdempotencyKey; messageId: string }[],
): Promise<void> {
  const now = clock.now();
  const expiresAt = new Date(now.getTime() + hours * 3_600_000);
  for (const { key } of calls) await deleteExpired(tx, key, now);
  await insertRows(
    tx,
    IdempotencyRecord,
    calls.map(({ key: { accountId, sessionId, isDefaultSession, key, requestHash }, messageId }) => ({
      accountId,
      sessionId,
      isDefaultSession,
      key,
      requestHash,
      messageId,
      status: null,
      body: null,
      createdAt: now,
      expiresAt,
    })),
  );
}

/** Deletes the record of a key if it is expired, so that the key can be used again. */
export async function deleteExpired(
  tx: Transaction,
  { accountId, sessionId, key }: Pick<IdempotencyKey, 'accountId' | 'sessionId' | 'key'>,
  now: Date,
): Promise<void> {
  await runStatement(tx.manager, deleteExpiredSql, [accountId, sessionId, key, now.getTime()]);
}
const deleteExpiredSql =
  'DELETE FROM idempotency_records WHERE "accountId" = ? AND "sessionId" = ? AND key = ? AND "expiresAt" <= ?';

const nameOf = ({ accountId, sessionId, key }: IdempotencyKey): string => `${accountId}:${sessionId}:${key}`;

/**
 * The stored form of a request. It begins with a version, so that the form can change without refusing repeats of calls that were made before an
 * upgrade: records live for a day or longer. A new form gets the next number, and the form before it moves into `earlierForms`.
 */
const hashOf = (method: string, path: string, body: unknown): string => `v2:${sha256(method, path, body).digest('base64url')}`;

/** The prefix under which the public routes are mounted. The oldest versions hashed the path without it. */
const apiPrefix = '/api/v1';

const earlierForms: readonly ((method: string, path: string, body: unknown) => string)[] = [
  (method, path, body) => sha256(method, path, body).digest('hex'),
  (method, path, body) => sha256(method, path.startsWith(apiPrefix) ? path.slice(apiPrefix.length) : path, body).digest('hex'),
];

const sha256 = (method: string, path: string, body: unknown): Hash =>
  createHash('sha256').update(`${method} ${path}\n${JSON.stringify(body)}`);
