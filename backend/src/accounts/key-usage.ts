import type { Core } from '../core.js';
import { attemptInHalves } from '../db/isolate.js';
import { updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { ApiKey } from './api-key.entity.js';
import { ApiKeyUsage } from './key-usage.entity.js';

/** Counts requests by key, and when each key was used last. The figures are for people, not for limits: a crash loses up to `flushMs` of them. */
export interface KeyUsage {
  /** Notes that a request with this key began. */
  begin(keyId: string): void;
  /** Counts one request that was answered with this status. */
  note(keyId: string, status: number): void;
  /** Includes what was not written yet. */
  of(keyId: string): Promise<{ successful: number; failed: number }>;
  /** Writes what was counted. Rejects if the database is unavailable; these counts are lost then. */
  flush(): Promise<void>;
}

interface Counts {
  successful: number;
  failed: number;
  lastUsedAt: Date;
}

interface Context extends Pick<Core, 'database' | 'clock'> {
  /** The counts that were not written yet, by key. */
  counts: Map<string, Counts>;
  /** Set while a flush is due. */
  timer: NodeJS.Timeout | undefined;
}

const flushMs = 5_000;

const addSql = `INSERT INTO api_key_usage ("keyId", successful, failed) VALUES (?, ?, ?)
  ON CONFLICT ("keyId") DO UPDATE SET successful = api_key_usage.successful + excluded.successful, failed = api_key_usage.failed + excluded.failed`;

export function createKeyUsage({ database, clock }: Pick<Core, 'database' | 'clock'>): KeyUsage {
  const context: Context = { database, clock, counts: new Map(), timer: undefined };
  return {
    begin: (keyId) => void countsOf(context, keyId),
    note(keyId, status) {
      countsOf(context, keyId)[status < 400 ? 'successful' : 'failed'] += 1;
    },
    of: (keyId) => usageOf(context, keyId),
    flush: () => flush(context),
  };
}

function countsOf(context: Context, keyId: string): Counts {
  const lastUsedAt = context.clock.now();
  const counts = context.counts.get(keyId) ?? { successful: 0, failed: 0, lastUsedAt };
  counts.lastUsedAt = lastUsedAt;
  context.counts.set(keyId, counts);
  context.timer ??= setTimeout(() => void flush(context).catch(() => undefined), flushMs).unref();
  return counts;
}

async function usageOf({ database, counts }: Context, keyId: string): Promise<{ successful: number; failed: number }> {
  const row = await database.reader.getRepository(ApiKeyUsage).findOneBy({ keyId });
  const { successful = 0, failed = 0 } = counts.get(keyId) ?? {};
  return { successful: (row?.successful ?? 0) + successful, failed: (row?.failed ?? 0) + failed };
}

async function flush(context: Context): Promise<void> {
  clearTimeout(context.timer);
  context.timer = undefined;
  const batch = [...context.counts];
  context.counts = new Map();
  // The counts of a key that cannot be written are lost; those of the other keys are not.
  await attemptInHalves(
    batch,
    (part) => writeCounts(context, part),
    () => undefined,
  );
}

function writeCounts({ database }: Context, batch: readonly [string, Counts][]): Promise<void> {
  return database.write.run(async (tx) => {
    for (const [keyId, { successful, failed, lastUsedAt }] of batch) {
      await runStatement(tx.manager, addSql, [keyId, successful, failed]);
      await updateRows(tx, ApiKey, { id: keyId }, { lastUsedAt });
    }
  });
}
