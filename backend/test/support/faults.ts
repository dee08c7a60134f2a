import type { Database } from '../../src/db/database.js';

/**
 * Makes the database refuse single rows: the fault is real, so a transaction on PostgreSQL is aborted by it. `when` is a condition on
 * NEW or OLD; `code` is the SQLSTATE on PostgreSQL. Returns a function that removes the fault.
 */
export async function refuseRows(
  { dialect, write }: Database,
  on: 'INSERT' | 'UPDATE' | 'DELETE',
  table: string,
  when: string,
  code = 'P0001',
): Promise<() => Promise<void>> {
  const name = `refuse_${table}_${on.toLowerCase()}`;
  const run = (statements: readonly string[]): Promise<void> =>
    write.run(async (tx) => {
      for (const statement of statements) await tx.manager.query(statement);
    });
  if (dialect === 'sqlite')
    await run([`CREATE TRIGGER ${name} BEFORE ${on} ON ${table} WHEN ${when} BEGIN SELECT RAISE(ABORT, 'injected'); END`]);
  else
    await run([
      `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '${code}'; END $$`,
      `CREATE TRIGGER ${name} BEFORE ${on} ON ${table} FOR EACH ROW WHEN (${when}) EXECUTE FUNCTION ${name}()`,
    ]);
  return () =>
    run(dialect === 'sqlite' ? [`DROP TRIGGER ${name}`] : [`DROP TRIGGER ${name} ON ${table}`, `DROP FUNCTION ${name}()`]);
}
