import { createHash, type Hash } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import type { Database } from '../../db/database.js';
import { deleteBefore, insertRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Clock } from '../../lib/clock.js';
import { IdempotencyRecord } from './idempotency.entity.js';

/** On whose behalf a request acts. */
export interface IdempotencyScope {
  accountId: string;
  /** The session that the request acts on, as it was resolved; empty for a request of the account as a whole. */
  sessionId: string;
  /** Nothing named the session: it is the account's default one at this moment. */
  isDefaultSession: boolean;
}

export interface IdempotencyKey extends IdempotencyScope {
  key: string;
  requestHash: string;
  /** What earlier versions of this program have stored for the same request. Computed only when the stored hash differs. */
  earlierHashes: () => string[];
}

/**
 * The stored form of a request. It begins with a version, so that it can change without refusing the repeats of calls made before an upgrade:
 * records live for a day or longer. A new form gets the next number, and the one before it moves into `earlierForms`.
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

const deleteStale = 'DELETE FROM idempotency_records WHERE "accountId" = ? AND "sessionId" = ? AND key = ? AND "expiresAt" <= ?';

export type Idempotency = ReturnType<typeof createIdempotency>;

/**
 * The first reply to a key, replayed. A record belongs to the resolved session, so that two sessions may use one key, and a credential that is
 * bound to a session can never be answered with another session's message. The record commits with the message, so a crash leaves both or neither:
 *
 * | the process dies | a repeat of the call |
 * | --- | --- |
 * | before the commit | finds nothing and is the first one |
 * | between commit and reply | finds the message without a reply, and gets the message as it is now |
 * | after the reply was stored | gets the stored reply |
 */
export function createIdempotency({ database, clock, hours }: { database: Database; clock: Clock; hours: number }) {
  const running = new Set<string>();
  const name = ({ accountId, sessionId, key }: IdempotencyKey): string => `${accountId}:${sessionId}:${key}`;

  return {
    keyOf(
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
    },
    /**
     * Begins a call: what an earlier one left, or null for the first one, which must then be ended with `end`. Throws for a call that
     * still runs and for another request. The mark is set before the first await, so that of two calls at once one goes on.
     */
    async begin(wanted: IdempotencyKey): Promise<{ messageId: string } | { status: number; body: string } | null> {
      if (running.has(name(wanted))) throw new AppError('IDEMPOTENCY_IN_PROGRESS');
      running.add(name(wanted));
      let isFirst = false;
      try {
        const earlier = await find(wanted);
        isFirst = earlier === null;
        return earlier;
      } finally {
        if (!isFirst) running.delete(name(wanted));
      }
    },
    end: (wanted: IdempotencyKey): void => void running.delete(name(wanted)),
    /** In the transaction of the message. Two calls with one key on two backends: the second one's insert meets the first one's row and fails. */
    async reserve(tx: Transaction, wanted: readonly { key: IdempotencyKey; messageId: string }[]): Promise<void> {
      const now = clock.now();
      const expiresAt = new Date(now.getTime() + hours * 3_600_000);
      for (const { key } of wanted)
        await runStatement(tx.manager, deleteStale, [key.accountId, key.sessionId, key.key, now.getTime()]);
      const rest = { status: null, body: null, createdAt: now, expiresAt };
      await insertRows(
        tx,
        IdempotencyRecord,
        wanted.map(({ key: { accountId, sessionId, isDefaultSession, key, requestHash }, messageId }) => ({
          accountId,
          sessionId,
          isDefaultSession,
          key,
          requestHash,
          messageId,
          ...rest,
        })),
      );
    },
    async store(wanted: IdempotencyKey, status: number, body: string): Promise<void> {
      const { accountId, sessionId, key } = wanted;
      await database.write.run((tx) => updateRows(tx, IdempotencyRecord, { accountId, sessionId, key }, { status, body }));
    },
    /** Forgets replies past their time. */
    async prune(): Promise<void> {
      await deleteBefore(database, IdempotencyRecord, { time: 'expiresAt', key: 'key', before: clock.now() });
    },
  };

  async function find(wanted: IdempotencyKey): Promise<{ messageId: string } | { status: number; body: string } | null> {
    const { accountId, sessionId, key } = wanted;
    const records = database.reader.getRepository(IdempotencyRecord);
    const living = (record: IdempotencyRecord | null): IdempotencyRecord | null =>
      record && record.expiresAt > clock.now() ? record : null;
    const ofSession = living(await records.findOneBy({ accountId, sessionId, key }));
    // Closes: the default session changes between a call that names none and its repeat, which would then send through the new one.
    const isElsewhere = !ofSession && wanted.isDefaultSession;
    const record = isElsewhere ? living(await records.findOneBy({ accountId, key, isDefaultSession: true })) : ofSession;
    if (!record) return null;
    const isSame = record.requestHash === wanted.requestHash || wanted.earlierHashes().includes(record.requestHash);
    if (!isSame) throw new AppError('IDEMPOTENCY_KEY_REUSED');
    if (record.status !== null && record.body !== null) return { status: record.status, body: record.body };
    return record.messageId ? { messageId: record.messageId } : null;
  }
}
