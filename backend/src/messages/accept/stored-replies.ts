import { setTimeout as sleep } from 'node:timers/promises';
import type { Core } from '../../core.js';
import { updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Sealer } from '../../lib/sealer.js';
import { IdempotencyRecord } from './idempotency.entity.js';

/** The primary key of a stored reply. */
export type ReplyKey = Pick<IdempotencyRecord, 'accountId' | 'sessionId' | 'key'>;
export interface StoredReply extends ReplyKey {
  body: string;
}

/** The texts of stored replies to `Idempotency-Key`: they are sealed, sealed again under another key, and erased. */
export interface StoredReplies {
  seal(body: string, of: ReplyKey): string;
  /** Throws if none of the keys in ENCRYPTION_KEYS opens it. */
  open(body: string, of: ReplyKey): string;
  /** Used by the change of the encryption key. */
  reseal: {
    /** Returns a batch of the sealed replies after `last`. */
    page(last: StoredReply | null): Promise<StoredReply[]>;
    /** Seals one reply again. Returns false if it is sealed under the first key already, or was changed since it was read. */
    one(reply: StoredReply): Promise<boolean>;
  };
  /**
   * Removes those of the account's replies whose text is to be erased. A reply that no key opens is removed too, because it cannot be checked.
   * The status is kept: a repeat of the call learns that the reply was removed, not that the call was interrupted.
   */
  erase(accountId: string, isToErase: (body: string) => boolean): Promise<void>;
}

interface Context extends Pick<Core, 'database'> {
  sealer: Sealer;
}

export function createStoredReplies({ database }: Pick<Core, 'database'>, { sealer }: { sealer: Sealer }): StoredReplies {
  const context: Context = { database, sealer };
  return {
    seal: (body, of) => sealer.seal(body, placeOf(of)),
    open: (body, of) => sealer.open(body, placeOf(of)),
    reseal: {
      page: (last) => readBatch(context, sealedSql, [], last),
      one: (reply) => resealOne(context, reply),
    },
    erase: (accountId, isToErase) => erase(context, accountId, isToErase),
  };
}

const batchSize = 200;
/** Replies to sends are stored as JSON. All others are sealed, because they may contain a secret. */
const isSealedSql = `body IS NOT NULL AND SUBSTR(body, 1, 1) <> '{'`;
const after = `("accountId", "sessionId", key) > (?, ?, ?) ORDER BY "accountId", "sessionId", key LIMIT ${batchSize}`;
const sealedSql = `SELECT "accountId", "sessionId", key, body FROM idempotency_records WHERE ${isSealedSql} AND ${after}`;
const ofAccountSql = `SELECT "accountId", "sessionId", key, body FROM idempotency_records WHERE "accountId" = ? AND body IS NOT NULL AND ${after}`;

async function readBatch(
  { database }: Context,
  sql: string,
  parameters: readonly unknown[],
  last: ReplyKey | null,
): Promise<StoredReply[]> {
  const { accountId, sessionId, key } = last ?? { accountId: '', sessionId: '', key: '' };
  return (await runStatement(database.reader, sql, [...parameters, accountId, sessionId, key])).rows as StoredReply[];
}

async function resealOne({ database, sealer }: Context, { body, ...key }: StoredReply): Promise<boolean> {
  if (!sealer.isStale(body)) return false;
  const resealed = sealer.seal(sealer.open(body, placeOf(key)), placeOf(key));
  const where = { ...keyOf(key), body };
  return (await database.write.run((tx) => updateRows(tx, IdempotencyRecord, where, { body: resealed }))) === 1;
}

async function erase(context: Context, accountId: string, isToErase: (body: string) => boolean): Promise<void> {
  const { database, sealer } = context;
  for (let last: StoredReply | null = null; ; await sleep(0)) {
    const replies: StoredReply[] = await readBatch(context, ofAccountSql, [accountId], last);
    if (replies.length === 0) return;
    const erased = replies.filter((reply) => {
      try {
        return isToErase(reply.body.startsWith('{') ? reply.body : sealer.open(reply.body, placeOf(reply)));
      } catch {
        return true; // No key opens it.
      }
    });
    const removeBodies = async (tx: Transaction): Promise<void> => {
      for (const reply of erased) await updateRows(tx, IdempotencyRecord, keyOf(reply), { body: null });
    };
    if (erased.length > 0) await database.write.run(removeBodies);
    last = replies.at(-1)!;
  }
}

const placeOf = ({ accountId, sessionId, key }: ReplyKey): string => `idempotency:${accountId}:${sessionId}:${key}`;
const keyOf = ({ accountId, sessionId, key }: ReplyKey): ReplyKey => ({ accountId, sessionId, key });
