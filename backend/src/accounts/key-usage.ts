import type { Database } from '../db/database.js';
import { attemptInHalves } from '../db/isolate.js';
import { updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Clock } from '../lib/clock.js';
import { ApiKey } from './api-key.entity.js';
import { ApiKeyUsage } from './key-usage.entity.js';

/** How often what was counted is written. A crash forgets that much: these figures are for people to look at, not for limits. */
const flushMs = 5_000;

const addSql = `INSERT INTO api_key_usage ("keyId", successful, failed) VALUES (?, ?, ?)
  ON CONFLICT ("keyId") DO UPDATE SET successful = api_key_usage.successful + excluded.successful, failed = api_key_usage.failed + excluded.failed`;

export type KeyUsage = ReturnType<typeof createKeyUsage>;

/** Counts requests by key, and notes when it was used last. */
export function createKeyUsage({ database, clock }: { database: Database; clock: Clock }) {
  let counted = new Map<string, { successful: number; failed: number; at: Date }>();
  let timer: NodeJS.Timeout | undefined;

  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const batch = counted;
    counted = new Map();
    if (batch.size === 0) return;
    const write = (some: readonly [string, { successful: number; failed: number; at: Date }][]): Promise<void> =>
      database.write.run(async (tx) => {
        for (const [keyId, { successful, failed, at }] of some) {
          await runStatement(tx.manager, addSql, [keyId, successful, failed]);
          await updateRows(tx, ApiKey, { id: keyId }, { lastUsedAt: at });
        }
      });
    // The counts of a key that cannot be written are lost, and those of the other keys are not.
    await attemptInHalves([...batch], write, () => undefined);
  }

  function countsOf(keyId: string): { successful: number; failed: number; at: Date } {
    const counts = counted.get(keyId) ?? { successful: 0, failed: 0, at: clock.now() };
    counts.at = clock.now();
    counted.set(keyId, counts);
    // A database that is away loses these counts, and nothing else.
    timer ??= setTimeout(() => void flush().catch(() => undefined), flushMs).unref();
    return counts;
  }

  return {
    /** A request began. */
    begin(keyId: string): void {
      countsOf(keyId);
    },
    /** One request was answered with this status. */
    note(keyId: string, status: number): void {
      const counts = countsOf(keyId);
      counts[status < 400 ? 'successful' : 'failed'] += 1;
    },
    /** With what was not written yet. */
    async of(keyId: string): Promise<{ successful: number; failed: number }> {
      const row = await database.reader.getRepository(ApiKeyUsage).findOneBy({ keyId });
      const { successful = 0, failed = 0 } = counted.get(keyId) ?? {};
      return { successful: (row?.successful ?? 0) + successful, failed: (row?.failed ?? 0) + failed };
    },
    flush,
  };
}
