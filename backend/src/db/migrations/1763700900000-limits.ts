import { Table, TableColumn, TableIndex, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const id = (name: string, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: '36',
  ...more,
});
const string = (name: string, length: number, more: Partial<TableColumnOptions> = {}): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});

/** Plans, quotas that begin again by themselves, limits and rotation of keys, and how much each key is used. */
export class Limits1763700900000 implements MigrationInterface {
  name = 'Limits1763700900000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'plans',
        columns: [
          id('id', { isPrimary: true }),
          string('name', 64),
          ...['dailyMessages', 'monthlyMessages', 'maxSessions', 'apiLimit'].map((name) => ({ name, type: 'integer' })),
          string('pricePerMessage', 20),
          string('currency', 3),
          { name: 'createdAt', type: 'bigint' },
          { name: 'updatedAt', type: 'bigint' },
        ],
        indices: [{ name: 'plans_name', columnNames: ['name'], isUnique: true }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'quota_usage',
        columns: [
          string('scope', 16, { isPrimary: true }),
          id('ownerId', { isPrimary: true }),
          string('period', 10, { isPrimary: true }),
          id('accountId'),
          { name: 'taken', type: 'integer' },
        ],
      }),
    );
    await runner.createIndex(
      'quota_usage',
      new TableIndex({ name: 'quota_usage_account', columnNames: ['accountId', 'period'] }),
    );
    await runner.createTable(
      new Table({
        name: 'api_key_usage',
        columns: [
          id('keyId', { isPrimary: true }),
          { name: 'successful', type: 'bigint', default: '0' },
          { name: 'failed', type: 'bigint', default: '0' },
        ],
      }),
    );
    await runner.addColumns('accounts', [
      new TableColumn(id('planId', { isNullable: true })),
      new TableColumn({ name: 'maxMessagesPerDay', type: 'integer', default: '0' }),
    ]);
    await runner.addColumns('api_keys', [
      new TableColumn({ name: 'rateLimit', type: 'integer', isNullable: true }),
      new TableColumn({ name: 'rateWindowMs', type: 'integer', isNullable: true }),
      new TableColumn({
        name: 'autoRotation',
        type: 'boolean',
        default: runner.connection.options.type === 'postgres' ? 'false' : '0',
      }),
      new TableColumn(id('successorId', { isNullable: true })),
      new TableColumn({
        name: 'isClaimable',
        type: 'boolean',
        default: runner.connection.options.type === 'postgres' ? 'false' : '0',
      }),
      new TableColumn({ name: 'noticedAt', type: 'bigint', isNullable: true }),
      new TableColumn({ name: 'deletedAt', type: 'bigint', isNullable: true }),
    ]);
    await runner.addColumn('audit_logs', new TableColumn(id('actorId', { isNullable: true })));
    // A key that is not active could only be one that was revoked, which was for good.
    await runner.query(`UPDATE api_keys SET "deletedAt" = "createdAt" WHERE NOT "isActive"`);
    // Not by addColumn: on SQLite that would write the whole history again.
    await runner.query(`ALTER TABLE messages ADD COLUMN "quotaDay" varchar(10)`);
    await runner.query(`ALTER TABLE messages ADD COLUMN "sealed" text`);
    await runner.query(`ALTER TABLE accounts ADD COLUMN "storage" varchar(8) NOT NULL DEFAULT 'full'`);
    await runner.query(`ALTER TABLE accounts ADD COLUMN "eventsKeptFrom" bigint NOT NULL DEFAULT 0`);
    const no = runner.connection.options.type === 'postgres' ? 'false' : '0';
    await runner.query(`ALTER TABLE messages ADD COLUMN "doubted" boolean NOT NULL DEFAULT ${no}`);
    await runner.query(`ALTER TABLE media_files ADD COLUMN "isSealed" boolean NOT NULL DEFAULT ${no}`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
