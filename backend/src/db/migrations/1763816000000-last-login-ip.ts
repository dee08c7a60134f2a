import type { MigrationInterface, QueryRunner } from 'typeorm';

/** From where each account signed in last, so that its owner goes first in a flood of logins, also after a restart and on another backend. */
export class LastLoginIp1763816000000 implements MigrationInterface {
  name = 'LastLoginIp1763816000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE accounts ADD COLUMN "lastLoginIp" varchar(64)');
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
