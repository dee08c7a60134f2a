import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

/** Templates with their versions and files, the template of a message, and the language of an account. */
export class Templates1763801010000 implements MigrationInterface {
  name = 'Templates1763801010000';

  async up(runner: QueryRunner): Promise<void> {
    const string = (name: string, length: number, more: { isPrimary?: boolean; isNullable?: boolean } = {}) => ({
      name,
      type: 'varchar',
      length: String(length),
      ...more,
    });
    const id = (name: string, more: { isPrimary?: boolean; isNullable?: boolean } = {}) => string(name, 36, more);
    const time = (name: string, isNullable = false) => ({ name, type: 'bigint', isNullable });
    await runner.createTable(
      new Table({
        name: 'templates',
        columns: [
          id('id', { isPrimary: true }),
          id('accountId'),
          string('name', 128),
          string('liveName', 128),
          { name: 'version', type: 'integer' },
          time('createdAt'),
          time('updatedAt'),
          time('deletedAt', true),
        ],
        indices: [{ name: 'templates_account_name', columnNames: ['accountId', 'liveName'], isUnique: true }],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'template_versions',
        columns: [
          id('templateId', { isPrimary: true }),
          { name: 'version', type: 'integer', isPrimary: true },
          id('accountId'),
          string('type', 20),
          { name: 'content', type: 'text' },
          id('mediaId', { isNullable: true }),
          time('createdAt'),
          time('retiredAt', true),
        ],
        indices: [{ name: 'template_versions_retired', columnNames: ['retiredAt'], where: '"retiredAt" IS NOT NULL' }],
      }),
    );
    await runner.query('ALTER TABLE media_files ADD COLUMN "templateId" varchar(36)');
    await runner.query('ALTER TABLE messages ADD COLUMN "templateId" varchar(36)');
    await runner.query(`ALTER TABLE accounts ADD COLUMN "language" varchar(35) NOT NULL DEFAULT 'en'`);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
