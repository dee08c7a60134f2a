import type { Store } from '../store.js';

/** Stores the values of a session that outlive the process: the epoch under which it last ran, and the time up to which its messages were read. */
export interface Marks {
  epoch(sessionId: string): number;
  /** Only raises the epoch. Written at once. Throws when the store accepts no writes; then nothing has changed. */
  raiseEpoch(sessionId: string, epoch: number): void;
  /** Milliseconds; null when the session was never linked. */
  watermark(sessionId: string): number | null;
  /**
   * Only raises the watermark. Never throws: it stays in memory until the outlet's next commit writes it together with the events that it
   * covers. So the mark on disk is never ahead of a message, and no mark is lost while the disk accepts no writes.
   */
  raiseWatermark(sessionId: string, at: number): void;
  /** Returns the watermark to its value on disk, where it stays until `unfreeze`. Called when messages were dropped, so that a scan finds them. */
  freeze(sessionId: string): void;
  unfreeze(sessionId: string): void;
  /** Removes the watermark of a deleted login, so that the next login does not read old messages. Never throws; written with the next commit. */
  clearWatermark(sessionId: string): void;
  /** For the outlet: `write` writes the unwritten marks in its transaction; `written` is called after the commit. */
  hasUnwritten(): boolean;
  write(): void;
  written(): void;
  /** Called when a mark waits for the next commit. */
  onUnwritten(listener: () => void): void;
}

interface MarkRow {
  epoch: number;
  watermark: number | null;
}

export function createMarks(store: Store): Marks {
  const sql = statements(store);
  /** The rows on disk, cached because every event reads the epoch. */
  const stored = new Map<string, MarkRow>();
  const unwritten = new Map<string, number | null>();
  const frozen = new Set<string>();
  let listener = (): void => undefined;

  function rowOf(sessionId: string): MarkRow {
    const known = stored.get(sessionId);
    if (known) return known;
    const row = sql.read.get(sessionId) ?? { epoch: 0, watermark: null };
    stored.set(sessionId, row);
    return row;
  }
  function watermark(sessionId: string): number | null {
    const waiting = unwritten.get(sessionId);
    return waiting === undefined ? rowOf(sessionId).watermark : waiting;
  }
  function change(sessionId: string, at: number | null): void {
    unwritten.set(sessionId, at);
    listener();
  }

  return {
    epoch: (sessionId) => rowOf(sessionId).epoch,
    raiseEpoch(sessionId, epoch) {
      sql.writeEpoch.run(sessionId, epoch);
      const row = rowOf(sessionId);
      stored.set(sessionId, { ...row, epoch: Math.max(row.epoch, epoch) });
    },
    watermark,
    raiseWatermark(sessionId, at) {
      if (!frozen.has(sessionId) && at > (watermark(sessionId) ?? -Infinity)) change(sessionId, at);
    },
    freeze(sessionId) {
      frozen.add(sessionId);
      if (unwritten.get(sessionId) !== null) unwritten.delete(sessionId);
    },
    unfreeze: (sessionId) => void frozen.delete(sessionId),
    clearWatermark: (sessionId) => change(sessionId, null),
    hasUnwritten: () => unwritten.size > 0,
    write() {
      for (const [sessionId, at] of unwritten) sql.writeWatermark.run(sessionId, at);
    },
    written() {
      for (const [sessionId, at] of unwritten) stored.set(sessionId, { ...rowOf(sessionId), watermark: at });
      unwritten.clear();
    },
    onUnwritten: (next) => {
      listener = next;
    },
  };
}

function statements(store: Store) {
  return {
    read: store.prepare<[string], MarkRow>('SELECT epoch, watermark FROM marks WHERE session_id = ?'),
    writeEpoch: store.prepare(
      `INSERT INTO marks (session_id, epoch) VALUES (?, ?)
       ON CONFLICT (session_id) DO UPDATE SET epoch = max(epoch, excluded.epoch)`,
    ),
    writeWatermark: store.prepare(
      `INSERT INTO marks (session_id, watermark) VALUES (?, ?)
       ON CONFLICT (session_id) DO UPDATE SET watermark = excluded.watermark`,
    ),
  };
}
