import type { Core } from '../core.js';
import { updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { Session } from './session.entity.js';

/** A worker replaces a code when it expires. One that is so much older was not replaced. Milliseconds. */
const graceMs = 30_000;

const expiredSql = `SELECT id, "qrId" FROM sessions WHERE "qrText" IS NOT NULL AND ("qrExpiresAt" IS NULL OR "qrExpiresAt" <= ? OR status <> 'qr_pending')`;

/**
 * Removes QR codes that expired and were not replaced, because their page hangs or their worker is gone: WhatsApp refuses them, and a code is not kept
 * longer than it is of use. The session stays as it is, and its worker shows the next code. Returns their number.
 */
export async function removeExpiredCodes({ database, clock }: Pick<Core, 'database' | 'clock'>): Promise<number> {
  const { rows } = await runStatement<{ id: string; qrId: string }>(database.reader, expiredSql, [
    clock.now().getTime() - graceMs,
  ]);
  let removed = 0;
  for (const { id, qrId } of rows)
    // A new code has another id.
    removed += await database.write.run((tx) =>
      updateRows(tx, Session, { id, qrId }, { qrText: null, qrId: null, qrExpiresAt: null }),
    );
  return removed;
}
