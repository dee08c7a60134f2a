import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});
const time = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({ name, type: 'bigint', ...more });
const key = { isPrimary: true } as const;
const orNull = { isNullable: true } as const;

/** Runs of jobs, what the scheduler remembers of each job, and the backend that runs them. */
export class Jobs1763807000000 implements MigrationInterface {
  name = 'Jobs1763807000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'job_runs',
        columns: [
          string('id', 36, key),
          string('job', 40),
          string('status', 12),
          string('trigger', 10),
          string('requestedBy', 36, orNull),
          string('requestedByName', 100, orNull),
          time('scheduledFor', orNull),
          time('createdAt'),
          time('startedAt', orNull),
          time('endedAt', orNull),
          time('term', orNull),
          { name: 'steps', type: 'text' },
          string('code', 64, orNull),
          string('detail', 200, orNull),
        ],
        indices: [
          { name: 'job_runs_job', columnNames: ['job', 'id'] },
          { name: 'job_runs_created', columnNames: ['createdAt'] },
        ],
      }),
    );
    await runner.query(`CREATE UNIQUE INDEX job_runs_open ON job_runs (job) WHERE "status" IN ('requested', 'running')`);
    await runner.createTable(
      new Table({
        name: 'job_states',
        columns: [
          string('name', 40, key),
          { name: 'isStopped', type: 'boolean' },
          time('handledUntil'),
          { name: 'failures', type: 'integer' },
          time('retryAt', orNull),
        ],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'job_leader',
        columns: [string('id', 8, key), time('term'), string('owner', 36, orNull), time('renewedAt')],
      }),
    );
    await runner.query(`INSERT INTO job_leader (id, term, "renewedAt") VALUES ('leader', 0, 0)`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
