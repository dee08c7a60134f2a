import { setTimeout as sleep } from 'node:timers/promises';
import { foldText } from '@chasqui/shared';
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Names as searches compare them. Names that are stored already are folded here, a page at a time: about a second for a hundred thousand. */
export class FoldedNames1763819000000 implements MigrationInterface {
  name = 'FoldedNames1763819000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE contacts ADD COLUMN "foldedName" text');
    await foldStored(runner);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

const pageSize = 500;

async function foldStored(runner: QueryRunner): Promise<void> {
  const isPostgres = runner.connection.options.type === 'postgres';
  const page = `SELECT id, name FROM contacts WHERE name IS NOT NULL AND id > ${isPostgres ? '$1' : '?'} ORDER BY id LIMIT ${pageSize}`;
  const write = isPostgres
    ? `UPDATE contacts SET "foldedName" = f.folded FROM unnest($1::text[], $2::text[]) AS f(id, folded) WHERE contacts.id = f.id`
    : `UPDATE contacts SET "foldedName" = f.folded FROM (SELECT i.value AS id, n.value AS folded
        FROM json_each(?) i JOIN json_each(?) n ON n.key = i.key) f WHERE contacts.id = f.id`;
  const list = (values: string[]): unknown => (isPostgres ? values : JSON.stringify(values));
  for (let last = ''; ; await sleep(0)) {
    const rows = (await runner.query(page, [last])) as { id: string; name: string }[];
    if (rows.length === 0) return;
    await runner.query(write, [list(rows.map(({ id }) => id)), list(rows.map(({ name }) => foldText(name)))]);
    last = rows.at(-1)!.id;
  }
}
