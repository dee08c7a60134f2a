import type { Store } from '../store.js';

/** What survives of a session between two processes: the epoch it was last run under, and how far its messages were taken in. */
export interface Marks {
  epoch(sessionId: string): number;
  /** Only upwards. */
  raiseEpoch(sessionId: string, epoch: number): void;
  /** Milliseconds; null when the session was never linked. */
  watermark(sessionId: string): number | null;
  /** Only upwards. */
  raiseWatermark(sessionId: string, at: number): void;
  /** The login is gone: the next one begins anew and takes no old messages in. */
  clearWatermark(sessionId: string): void;
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
     ON CONFLICT (session_id) DO UPDATE SET watermark = max(coalesce(watermark, 0), excluded.watermark)`,
  );
  const clear = store.prepare('UPDATE marks SET watermark = NULL WHERE session_id = ?');
  return {
    epoch: (sessionId) => read.get(sessionId)?.epoch ?? 0,
    raiseEpoch: (sessionId, epoch) => void writeEpoch.run(sessionId, epoch),
    watermark: (sessionId) => read.get(sessionId)?.watermark ?? null,
    raiseWatermark: (sessionId, at) => void writeWatermark.run(sessionId, at),
    clearWatermark: (sessionId) => void clear.run(sessionId),
  };
}
