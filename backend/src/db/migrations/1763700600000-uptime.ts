import { TableColumn, type MigrationInterface, type QueryRunner } from 'typeorm';

/** How long a session was connected in all. */
export class Uptime1763700600000 implements MigrationInterface {
  name = 'Uptime1763700600000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.addColumn('sessions', new TableColumn({ name: 'connectedMs', type: 'bigint', default: '0' }));
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}
