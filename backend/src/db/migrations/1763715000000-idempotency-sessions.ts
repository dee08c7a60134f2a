import { Table, TableIndex, type MigrationInterface, type QueryRunner } from 'typeorm';

const columns = '"accountId", key, "requestHash", "messageId", status, body, "createdAt", "expiresAt"';

/**
 * Binds each idempotency record to the session that its request acted on, so that one key can be used by two sessions. The table is built
 * again, because neither database can change the columns of a primary key in place; records that have expired are left behind. Which session
 * an existing record belongs to is known from its message.
 */
export class IdempotencySessions1763715000000 implements MigrationInterface {
  name = 'IdempotencySessions1763715000000';

  async up(runner: QueryRunner): Promise<void> {
    const isSqlite = runner.connection.options.type === 'better-sqlite3';
    const [no, yes] = isSqlite ? ['0', '1'] : ['false', 'true'];
    const old = 'idempotency_records_old';
    await runner.dropIndex('idempotency_records', 'idempotency_expiry');
    await runner.query(`ALTER TABLE idempotency_records RENAME TO ${old}`);
    await runner.createTable(
      new Table({
        name: 'idempotency_records',
        columns: [
          { name: 'accountId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'sessionId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'key', type: 'varchar', length: '255', isPrimary: true },
          { name: 'isDefaultSession', type: 'boolean', default: no },
          { name: 'requestHash', type: 'varchar', length: '64' },
          { name: 'messageId', type: 'varchar', length: '36', isNullable: true },
          { name: 'status', type: 'integer', isNullable: true },
          { name: 'body', type: 'text', isNullable: true },
          { name: 'createdAt', type: 'bigint' },
          { name: 'expiresAt', type: 'bigint' },
        ],
      }),
    );
    // Earlier versions did not record whether the session was named. With `true` a repeat that names none never sends again.
    await runner.query(
      `INSERT INTO idempotency_records ("sessionId", "isDefaultSession", ${columns})
        SELECT COALESCE((SELECT m."sessionId" FROM messages m WHERE m.id = ${old}."messageId"), ''), ${yes}, ${columns}
        FROM ${old} WHERE "expiresAt" > ${Date.now()}`,
    );
    await runner.query(`DROP TABLE ${old}`);
    await runner.createIndex('idempotency_records', new TableIndex({ name: 'idempotency_expiry', columnNames: ['expiresAt'] }));
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
