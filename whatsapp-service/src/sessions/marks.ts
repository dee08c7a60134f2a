import type { Store } from '../store.js';

/** What survives of a session between two processes: the epoch it was last run under, and how far its messages were taken in. */
export interface Marks {
  epoch(sessionId: string): number;
  /** Only upwards. Written at once; throws when the store takes no writes, and nothing has changed then. */
  raiseEpoch(sessionId: string, epoch: number): void;
  /** Milliseconds; null when the session was never linked. */
  watermark(sessionId: string): number | null;
  /**
   * Only upwards. Never throws: it is kept in memory until the outlet's next commit writes it, together with the events that it covers.
   * So the mark on the disk is never ahead of a message, and a disk that takes nothing for a while loses no mark.
   */
  raiseWatermark(sessionId: string, at: number): void;
  /** Messages were not kept: the watermark goes back to what is on the disk and stays there until `release`, so that they are scanned for. */
  hold(sessionId: string): void;
  release(sessionId: string): void;
  /** The login is gone: the next one begins again and takes no old messages in. Never throws; written with the next commit at the latest. */
  clearWatermark(sessionId: string): void;
  /** For the outlet: writes what waits, inside its transaction; `written` follows once that has committed. */
  hasUnwritten(): boolean;
  write(): void;
  written(): void;
  /** Called when something waits for the next commit. */
  onUnwritten(listener: () => void): void;
}

export function createMarks(store: Store): Marks {
  const read = store.prepare<[string], { epoch: number; watermark: number | null }>(
    'SELECT epoch, watermark FROM marks WHERE session_id = ?',
  );
  const writeEpoch = store.prepare(
    `INSERT INTO marks (session_id, epoch) VALUES (?, ?)
     ON CONFLICT (session_id) DO UPDATE SET epoch = max(epoch, excluded.epoch)`,
  );
  const writeWatermark = store.prepare(
    `INSERT INTO marks (session_id, watermark) VALUES (?, ?)
     ON CONFLICT (session_id) DO UPDATE SET watermark = excluded.watermark`,
  );
  /** What is on the disk. One session's row is small, and events ask for the epoch each time. */
  const stored = new Map<string, { epoch: number; watermark: number | null }>();
  const unwritten = new Map<string, number | null>();
  const held = new Set<string>();
  let listener = (): void => undefined;

  function rowOf(sessionId: string): { epoch: number; watermark: number | null } {
    const known = stored.get(sessionId);
    if (known) return known;
    const row = read.get(sessionId) ?? { epoch: 0, watermark: null };
    stored.set(sessionId, row);
    return row;
  }
  const watermark = (sessionId: string): number | null => {
    const waiting = unwritten.get(sessionId);
    return waiting === undefined ? rowOf(sessionId).watermark : waiting;
  };
  function change(sessionId: string, at: number | null): void {
    unwritten.set(sessionId, at);
    listener();
  }

  return {
    epoch: (sessionId) => rowOf(sessionId).epoch,
    raiseEpoch(sessionId, epoch) {
      writeEpoch.run(sessionId, epoch);
      const row = rowOf(sessionId);
      stored.set(sessionId, { ...row, epoch: Math.max(row.epoch, epoch) });
    },
    watermark,
    raiseWatermark(sessionId, at) {
      if (!held.has(sessionId) && at > (watermark(sessionId) ?? -Infinity)) change(sessionId, at);
    },
    hold(sessionId) {
      held.add(sessionId);
      if (unwritten.get(sessionId) !== null) unwritten.delete(sessionId);
    },
    release: (sessionId) => void held.delete(sessionId),
    clearWatermark(sessionId) {
      change(sessionId, null);
    },
    hasUnwritten: () => unwritten.size > 0,
    write() {
      for (const [sessionId, at] of unwritten) writeWatermark.run(sessionId, at);
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
