import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

/** People who opted out, the hashes of their ids, and the keywords of accounts. */
export class OptOuts1763801000000 implements MigrationInterface {
  name = 'OptOuts1763801000000';

  async up(runner: QueryRunner): Promise<void> {
    const string = (name: string, length: number, more: { isPrimary?: boolean; isNullable?: boolean } = {}) => ({
      name,
      type: 'varchar',
      length: String(length),
      ...more,
    });
    const id = (name: string, isPrimary = false) => string(name, 36, { isPrimary });
    const time = (name: string, isNullable = false) => ({ name, type: 'bigint', isNullable });
    await runner.createTable(
      new Table({
        name: 'opt_outs',
        columns: [
          id('id', true),
          id('accountId'),
          string('waId', 40, { isNullable: true }),
          string('state', 3),
          string('source', 8),
          string('keyword', 64, { isNullable: true }),
          time('changedAt'),
          time('repliedAt', true),
          time('createdAt'),
        ],
        indices: [{ name: 'opt_outs_account', columnNames: ['accountId', 'state', 'changedAt', 'id'] }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'opt_out_forms',
        columns: [id('accountId', true), string('hash', 43, { isPrimary: true }), id('optOutId')],
        indices: [{ name: 'opt_out_forms_person', columnNames: ['optOutId'] }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'opt_out_settings',
        columns: [id('accountId', true), { name: 'hashKey', type: 'text' }, { name: 'keywords', type: 'text', isNullable: true }],
      }),
    );
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
