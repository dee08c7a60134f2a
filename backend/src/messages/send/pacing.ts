import type { SessionSettings } from '@chasqui/shared';
import type { DataSource, EntityManager } from 'typeorm';
import { sharedNow } from '../../db/shared-time.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { addToWindow, pruneWindow, refundFromWindow, waitForRoom, type WindowState } from '../../lib/window-state.js';

interface Paced {
  id: string;
  settings: Pick<SessionSettings, 'pacing'>;
}

/** What the pace lets a session send now. */
export interface PaceView {
  /** Milliseconds until the session may send anything; 0: now. */
  waitMs: number;
  /** A condition on `messages` that leaves out chats whose last message is too recent. `1 = 1` when there is no gap. */
  restedChats: { condition: string; parameters: readonly unknown[] };
  /** Milliseconds until the first of those chats may get its next message; null when none has to wait. Asks the database. */
  firstChatMs: () => Promise<number | null>;
  /** Nothing is held back now, neither the session nor any chat. */
  isFree: boolean;
  /** The stored times are ahead of the clock, which was set back: call `rebase`, then look again. */
  isAhead: boolean;
}

const windowMs = 60_000;
/** Random shares of the jitter are stored in thousandths, so that changing the setting takes effect on chats that already wait. */
const jitterShares = 1_000;
/** Rows that no gap needs any more are deleted with a session's first claim in each period of this length. */
const cleanUpMs = 60_000;
/** The longest gap and jitter that a session's settings allow. Milliseconds. */
const longestRestMs = 660_000;

const unpaced: PaceView = {
  waitMs: 0,
  restedChats: { condition: '1 = 1', parameters: [] },
  firstChatMs: () => Promise.resolve(null),
  isFree: true,
  isAhead: false,
};

const upsertPaceSql = `INSERT INTO session_pace ("sessionId", buckets, "updatedAt") VALUES (?, ?, ?)
  ON CONFLICT ("sessionId") DO UPDATE SET buckets = excluded.buckets, "updatedAt" = excluded."updatedAt"`;
const upsertSendSql = `INSERT INTO paced_sends ("messageId", "sessionId", at, jitter) VALUES (?, ?, ?, ?)
  ON CONFLICT ("messageId") DO UPDATE SET at = excluded.at, jitter = excluded.jitter`;
const deleteOldSql = 'DELETE FROM paced_sends WHERE "sessionId" = ? AND at <= ?';
const restedSql = `"chatId" NOT IN (SELECT sent."chatId" FROM paced_sends p JOIN messages sent ON sent.id = p."messageId"
  WHERE p."sessionId" = ? AND p.at > ? AND p.at + p.jitter * ? / ${jitterShares} > ?)`;
const firstRestSql = `SELECT MIN(p.at + p.jitter * ? / ${jitterShares}) AS at FROM paced_sends p
  WHERE p."sessionId" = ? AND p.at > ? AND p.at + p.jitter * ? / ${jitterShares} > ?`;
const chatRestsSql = `SELECT 1 AS one FROM messages m WHERE m.id = ? AND NOT (${restedSql.replace('"chatId"', 'm."chatId"')})`;

export type Pacing = ReturnType<typeof createPacing>;

/**
 * How fast a session may send: `perMinute` in any 60 seconds, and a gap between two messages to one chat. A single message after
 * silence leaves at once; only a stream is held. 0 a minute switches both off, and then nothing here touches the database.
 *
 * What has left is stored beside the messages and counted in the transaction that claims the next one, which holds the session's row.
 * So the pace holds over all backends of a database and over restarts.
 *
 * | case | defence |
 * | --- | --- |
 * | two backends look at once and both see room | `claim` looks again under the lock of the session's row; the second finds no room |
 * | the process dies after a claim | the claim counts, whether or not the message left |
 * | a clock is set back | times that are ahead of it move back with it (`rebase`): what counts is what went by before the change |
 *
 * `nowMs` is the caller's own time, see `steadyTime`; PostgreSQL's clock replaces it where several backends share a database.
 */
export function createPacing(random: () => number) {
  /** The state of a session's window and the shared time, in one statement. */
  async function read(
    where: DataSource | EntityManager,
    sessionId: string,
    nowMs: number,
  ): Promise<{ now: number; buckets: WindowState; updatedAt: number }> {
    const now = sharedNow(where, nowMs);
    const sql = `SELECT ${now.sql} AS now, p.buckets AS buckets, p."updatedAt" AS "updatedAt"
      FROM (SELECT 1 AS one) single LEFT JOIN session_pace p ON p."sessionId" = ?`;
    const { rows } = await runStatement(where, sql, [...now.parameters, sessionId]);
    const [row] = rows as { now: number | string; buckets: string | null; updatedAt: number | string | null }[];
    return { now: Number(row!.now), buckets: parseBuckets(row!.buckets), updatedAt: Number(row!.updatedAt ?? 0) };
  }

  const restsOf = ({ id, settings: { pacing } }: Paced, now: number): unknown[] => [
    id,
    now - pacing.chatGapMs - pacing.jitterMs,
    pacing.jitterMs,
    now - pacing.chatGapMs,
  ];

  async function write(tx: Transaction, sessionId: string, buckets: WindowState, now: number): Promise<void> {
    const stored = JSON.stringify(buckets.map(({ at, count }) => [at, count]));
    await runStatement(tx.manager, upsertPaceSql, [sessionId, stored, now]);
  }

  return {
    /** What the session may send now. Without a lock: `claim` decides. */
    async look(where: DataSource, session: Paced, nowMs: number): Promise<PaceView> {
      const { pacing } = session.settings;
      if (pacing.perMinute === 0) return unpaced;
      const { now, buckets, updatedAt } = await read(where, session.id, nowMs);
      const waitMs = waitForRoom(pruneWindow(buckets, windowMs, now), pacing.perMinute, windowMs, now);
      const hasGap = pacing.chatGapMs + pacing.jitterMs > 0;
      return {
        waitMs,
        restedChats: hasGap ? { condition: restedSql, parameters: restsOf(session, now) } : unpaced.restedChats,
        firstChatMs: hasGap ? () => firstChatMs(where, session, now) : unpaced.firstChatMs,
        isFree: waitMs === 0 && !hasGap,
        isAhead: updatedAt > now,
      };
    },

    /**
     * Counts one handover, or returns false when the pace does not allow it now. The transaction must hold the session's row.
     * `always`: counts it even so, because it is about to happen in any case.
     */
    async claim(tx: Transaction, session: Paced, messageId: string, nowMs: number, always = false): Promise<boolean> {
      const { pacing } = session.settings;
      if (pacing.perMinute === 0) return true;
      const { now, buckets, updatedAt } = await read(tx.manager, session.id, nowMs);
      if (updatedAt > now) return always;
      const state = pruneWindow(buckets, windowMs, now);
      const hasGap = pacing.chatGapMs + pacing.jitterMs > 0;
      if (!always) {
        if (waitForRoom(state, pacing.perMinute, windowMs, now) > 0) return false;
        if (hasGap && (await chatRests(tx, session, messageId, now))) return false;
      }
      addToWindow(state, windowMs, now);
      await write(tx, session.id, state, now);
      if (hasGap)
        await runStatement(tx.manager, upsertSendSql, [messageId, session.id, now, Math.round(random() * jitterShares)]);
      // Decided by the session's own times: a count over all sessions could leave one of them out for ever.
      if (Math.floor(updatedAt / cleanUpMs) !== Math.floor(now / cleanUpMs))
        await runStatement(tx.manager, deleteOldSql, [session.id, now - longestRestMs]);
      return true;
    },

    /**
     * Dates the handover that this session claimed last to now, when its outcome is known: what took long reached WhatsApp late, and the
     * limit and the gap count from then. The transaction must hold the session's row. May run twice.
     */
    async ended(tx: Transaction, session: Paced, messageId: string, nowMs: number): Promise<void> {
      if (session.settings.pacing.perMinute === 0) return;
      const { now, buckets, updatedAt } = await read(tx.manager, session.id, nowMs);
      if (updatedAt > now || buckets.length === 0) return;
      refundFromWindow(buckets);
      const state = pruneWindow(buckets, windowMs, now);
      addToWindow(state, windowMs, now);
      await write(tx, session.id, state, now);
      await runStatement(tx.manager, 'UPDATE paced_sends SET at = ? WHERE "messageId" = ?', [now, messageId]);
    },

    /** Moves stored times that are ahead of the clock back by as much as it was set back. The transaction must hold the session's row. */
    async rebase(tx: Transaction, sessionId: string, nowMs: number): Promise<void> {
      const { now, buckets, updatedAt } = await read(tx.manager, sessionId, nowMs);
      const back = updatedAt - now;
      if (back <= 0) return;
      await write(
        tx,
        sessionId,
        buckets.map(({ at, count }) => ({ at: at - back, count })),
        now,
      );
      await runStatement(tx.manager, 'UPDATE paced_sends SET at = at - ? WHERE "sessionId" = ?', [back, sessionId]);
    },
  };

  async function firstChatMs(where: DataSource, session: Paced, now: number): Promise<number | null> {
    const [id, since, jitterMs, until] = restsOf(session, now);
    const { rows } = await runStatement(where, firstRestSql, [jitterMs, id, since, jitterMs, until]);
    const [row] = rows as { at: number | string | null }[];
    return row?.at === null || row?.at === undefined
      ? null
      : Math.max(1, Number(row.at) + session.settings.pacing.chatGapMs - now);
  }

  async function chatRests(tx: Transaction, session: Paced, messageId: string, now: number): Promise<boolean> {
    return (await runStatement(tx.manager, chatRestsSql, [messageId, ...restsOf(session, now)])).rows.length > 0;
  }
}

/** What `write` stored. */
const parseBuckets = (stored: string | null): WindowState =>
  stored === null ? [] : (JSON.parse(stored) as [number, number][]).map(([at, count]) => ({ at, count }));
