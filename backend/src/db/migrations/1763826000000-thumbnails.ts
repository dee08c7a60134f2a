import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

/** The thumbnails of messages. The table is new and empty: thumbnails of older messages are not known. */
export class Thumbnails1763826000000 implements MigrationInterface {
  name = 'Thumbnails1763826000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.createTable(
      new Table({
        name: 'message_thumbnails',
        columns: [
          { name: 'messageId', type: 'varchar', length: '36', isPrimary: true },
          { name: 'sessionId', type: 'varchar', length: '36' },
          { name: 'data', type: 'text' },
        ],
        indices: [{ name: 'message_thumbnails_session', columnNames: ['sessionId'] }],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
