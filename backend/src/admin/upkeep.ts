import { jobCatalogue, type JobName } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import type { BackupHealth, Backups } from '../backups/backups.js';
import { runStatement } from '../db/statement.js';
import type { Jobs } from '../jobs/jobs.js';

/** How the jobs and the backups of the installation are, as alerts and the first page of the panel need it. */

export interface FailingJob {
  name: JobName;
  title: string;
  /** How many runs in a row did not succeed. */
  failures: number;
  /** When the first of them began. Null: it is not stored any more. */
  since: number | null;
  code: string | null;
  /** When it runs next. Null: only by hand. */
  nextAt: number | null;
}

export interface Upkeep {
  jobs: { failing: number; running: number; stopped: number; hasLeader: boolean };
  failing: FailingJob[];
  backup: Pick<BackupHealth, 'schedule' | 'problem' | 'lastReadyAt'>;
}

export interface UpkeepParts {
  reader: DataSource;
  jobs: Pick<Jobs, 'list' | 'hasLeader'>;
  backups: Pick<Backups, 'health'>;
}

export async function readUpkeep({ reader, jobs, backups }: UpkeepParts): Promise<Upkeep> {
  const [views, hasLeader, backup] = await Promise.all([jobs.list(), jobs.hasLeader(), backups.health()]);
  const failing = views.filter(({ failures }) => failures > 0);
  return {
    jobs: {
      failing: failing.length,
      running: views.filter(({ status }) => status === 'running').length,
      stopped: views.filter(({ isStopped }) => isStopped).length,
      hasLeader,
    },
    failing: await Promise.all(
      failing.map(async ({ name, failures, lastRun, nextRunAt }) => ({
        name,
        title: jobCatalogue[name].title,
        failures,
        since: await failingSince(reader, name),
        code: lastRun?.code ?? null,
        nextAt: nextRunAt?.getTime() ?? null,
      })),
    ),
    backup,
  };
}

/** Returns when the first run began that did not succeed, of those after the last one that did. */
async function failingSince(reader: DataSource, name: JobName): Promise<number | null> {
  const sql = `SELECT MIN("createdAt") AS since FROM job_runs WHERE job = ? AND status IN ('failed', 'interrupted')
    AND id > COALESCE((SELECT MAX(id) FROM job_runs WHERE job = ? AND status = 'succeeded'), '')`;
  const { rows } = await runStatement<{ since: number | string | null }>(reader, sql, [name, name], { prepare: false });
  const since = rows[0]?.since ?? null;
  return since === null ? null : Number(since);
}
