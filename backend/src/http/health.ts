import { statfs } from 'node:fs/promises';
import type { Express } from 'express';
import { select } from '../db/sql.js';
import type { Database } from '../db/database.js';
import { version } from '../version.js';

export interface HealthOptions {
  database: Database;
  dataDir: string;
  /** Whether Redis answers; null: none is configured. */
  redis: (() => boolean) | null;
  /** How many items failed by themselves lately and were isolated; staff see which. */
  recentFailures: () => Promise<number>;
  /** Workers that are known, how many of them answered lately, and how many of those call themselves degraded. */
  workers: () => Promise<{ known: number; alive: number; degraded: number }>;
}

const leastFreeBytes = 100 * 1024 * 1024;

/** Without details of workers: this route is for everybody. 503 only when nothing can be accepted. */
export function mountHealth(app: Express, { database, dataDir, redis, recentFailures, workers }: HealthOptions): void {
  async function checks(): Promise<Record<string, 'ok' | 'degraded' | 'down'>> {
    const works = async (check: () => Promise<boolean>, otherwise: 'degraded' | 'down'): Promise<'ok' | 'degraded' | 'down'> =>
      (await check().catch(() => false)) ? 'ok' : otherwise;
    const [db, disk, worker, failures] = await Promise.all([
      works(async () => (await select(database.reader, 'SELECT 1 AS one')).length === 1, 'down'),
      works(async () => {
        const { bavail, bsize } = await statfs(dataDir);
        return bavail * bsize > leastFreeBytes;
      }, 'degraded'),
      works(async () => {
        const { alive, degraded } = await workers();
        return alive > 0 && degraded === 0;
      }, 'degraded'),
      works(async () => (await recentFailures()) === 0, 'degraded'),
    ]);
    const found = { database: db, disk, workers: worker, failures };
    return redis ? { ...found, redis: redis() ? 'ok' : 'degraded' } : found;
  }
  app.get('/health', async (_req, res) => {
    const found = await checks();
    const status = Object.values(found).includes('down') ? 'down' : Object.values(found).includes('degraded') ? 'degraded' : 'ok';
    res.status(status === 'down' ? 503 : 200).json({ status, version, checks: found });
  });
  app.get('/health/live', (_req, res) => void res.json({ status: 'ok' }));
  app.get('/health/ready', async (_req, res) => {
    const { database: db } = await checks();
    res.status(db === 'ok' ? 200 : 503).json({ status: db });
  });
}
