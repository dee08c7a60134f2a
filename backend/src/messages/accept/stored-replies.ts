import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../db/database.js';
import { updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Sealer } from '../../lib/sealer.js';
import { IdempotencyRecord } from './idempotency.entity.js';

const together = 200;
/** Replies to sends are stored as JSON; all others are sealed, because they may show a secret once. */
const isSealedSql = `body IS NOT NULL AND SUBSTR(body, 1, 1) <> '{'`;
const after = `("accountId", "sessionId", key) > (?, ?, ?) ORDER BY "accountId", "sessionId", key LIMIT ${together}`;
const sealedSql = `SELECT "accountId", "sessionId", key, body FROM idempotency_records WHERE ${isSealedSql} AND ${after}`;
const ofAccountSql = `SELECT "accountId", "sessionId", key, body FROM idempotency_records WHERE "accountId" = ? AND body IS NOT NULL AND ${after}`;

export type ReplyPlace = Pick<IdempotencyRecord, 'accountId' | 'sessionId' | 'key'>;
export interface StoredReply extends ReplyPlace {
  body: string;
}
export type StoredReplies = ReturnType<typeof createStoredReplies>;

/** The texts of stored replies to `Idempotency-Key`: how they are sealed, sealed again with another key, and erased. */
export function createStoredReplies({ database, sealer }: { database: Database; sealer: Sealer }) {
  const open = (body: string, place: ReplyPlace): string => sealer.open(body, placeOf(place));

  async function page(sql: string, parameters: readonly unknown[], last: ReplyPlace | null): Promise<StoredReply[]> {
    const { accountId, sessionId, key } = last ?? { accountId: '', sessionId: '', key: '' };
    return (await runStatement(database.reader, sql, [...parameters, accountId, sessionId, key])).rows as StoredReply[];
  }

  return {
    seal: (body: string, place: ReplyPlace): string => sealer.seal(body, placeOf(place)),
    /** Throws when no key of ENCRYPTION_KEYS opens it. */
    open,
    reseal: {
      page: (last: StoredReply | null): Promise<StoredReply[]> => page(sealedSql, [], last),
      /** Seals one reply again. Returns false when the first key sealed it already, or when it was changed meanwhile. */
      async one({ body, ...place }: StoredReply): Promise<boolean> {
        if (!sealer.isStale(body)) return false;
        const again = sealer.seal(open(body, place), placeOf(place));
        return (
          (await database.write.run((tx) => updateRows(tx, IdempotencyRecord, { ...whichOf(place), body }, { body: again }))) ===
          1
        );
      },
    },
    /**
     * Removes the account's replies whose text is to go. A reply that no key opens is removed too: nobody can read it, and nobody can tell
     * that it may stay. Its status stays, by which a repeat learns that the reply was removed, not that the call was interrupted.
     */
    async erase(accountId: string, isToGo: (body: string) => boolean): Promise<void> {
      for (let last: StoredReply | null = null; ; await sleep(0)) {
        const replies: StoredReply[] = await page(ofAccountSql, [accountId], last);
        if (replies.length === 0) return;
        const gone = replies.filter((reply) => {
          try {
            return isToGo(reply.body.startsWith('{') ? reply.body : open(reply.body, reply));
          } catch {
            return true;
          }
        });
        const forget = async (tx: Transaction): Promise<void> => {
          for (const place of gone) await updateRows(tx, IdempotencyRecord, whichOf(place), { body: null });
        };
        if (gone.length > 0) await database.write.run(forget);
        last = replies.at(-1)!;
      }
    },
  };
}

const placeOf = ({ accountId, sessionId, key }: ReplyPlace): string => `idempotency:${accountId}:${sessionId}:${key}`;
const whichOf = ({ accountId, sessionId, key }: ReplyPlace): ReplyPlace => ({ accountId, sessionId, key });
