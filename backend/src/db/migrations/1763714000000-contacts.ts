import { randomUUID } from 'node:crypto';
import { Table, TableIndex, type MigrationInterface, type QueryRunner } from 'typeorm';

/**
 * Contacts, and indexes for the filters of the message list. People of whom earlier messages name both the number and the LID become contacts at
 * once, so that their messages are found by either; everybody else is added with the next event that names them. Messages are read once, a page of
 * different people at a time, and not rewritten.
 */
export class Contacts1763714000000 implements MigrationInterface {
  name = 'Contacts1763714000000';

  async up(runner: QueryRunner): Promise<void> {
    const id = (name: string, isPrimary = false) => ({ name, type: 'varchar', length: '36', isPrimary });
    const string = (name: string, length: number) => ({ name, type: 'varchar', length: String(length), isNullable: true });
    const time = (name: string) => ({ name, type: 'bigint' });
    await runner.createTable(
      new Table({
        name: 'contacts',
        columns: [
          id('id', true),
          id('accountId'),
          id('sessionId'),
          string('phone', 20),
          string('lid', 40),
          string('name', 256),
          time('createdAt'),
          time('updatedAt'),
        ],
        indices: [
          { name: 'contacts_session', columnNames: ['sessionId', 'id'] },
          { name: 'contacts_account', columnNames: ['accountId', 'id'] },
        ],
      }),
    );
    await runner.createTable(
      new Table({
        name: 'contact_forms',
        columns: [
          id('sessionId', true),
          { name: 'waId', type: 'varchar', length: '40', isPrimary: true },
          id('accountId'),
          id('contactId'),
        ],
        indices: [
          { name: 'contact_forms_account', columnNames: ['accountId', 'waId'] },
          { name: 'contact_forms_contact', columnNames: ['contactId'] },
        ],
      }),
    );
    await runner.dropIndex('messages', 'messages_chat');
    const indices: [name: string, columns: string[], where?: string][] = [
      ['messages_chat', ['accountId', 'chatId', 'createdAt', 'id']],
      ['messages_author', ['accountId', 'fromId', 'createdAt', 'id'], `"chatType" <> 'private'`],
      ['messages_account_status', ['accountId', 'status', 'createdAt', 'id']],
      ['messages_account_kind', ['accountId', 'origin', 'type', 'createdAt', 'id']],
    ];
    for (const [name, columnNames, where] of indices)
      await runner.createIndex('messages', new TableIndex({ name, columnNames, ...(where ? { where } : {}) }));
    await addKnownPeople(runner);
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

const pageSize = 20_000;

/** Goes through the different people that messages name with both forms, in the order of the stored texts. */
async function addKnownPeople(runner: QueryRunner): Promise<void> {
  const mark = (number: number): string => (runner.connection.options.type === 'postgres' ? `$${number}` : '?');
  const page = `SELECT DISTINCT "sessionId", "accountId", contact FROM messages
    WHERE contact LIKE '%@lid%' AND contact LIKE '%"phone":"+%' AND ("sessionId", contact) > (${mark(1)}, ${mark(2)})
    ORDER BY "sessionId", contact LIMIT ${pageSize}`;
  const add = async (table: string, row: Record<string, string | number | null>): Promise<void> => {
    const names = Object.keys(row);
    const columns = names.map((name) => `"${name}"`).join(', ');
    const marks = names.map((_, index) => mark(index + 1)).join(', ');
    await runner.query(`INSERT INTO ${table} (${columns}) VALUES (${marks}) ON CONFLICT DO NOTHING`, Object.values(row));
  };
  const contactIds = new Map<string, string>();
  for (let last = ['', '']; ;) {
    const rows = (await runner.query(page, last)) as { sessionId: string; accountId: string; contact: string }[];
    for (const { sessionId, accountId, contact } of rows) {
      const known = bothForms(contact);
      if (!known) continue;
      const key = `${sessionId} ${known.lid}`;
      const isNew = !contactIds.has(key);
      const contactId = contactIds.get(key) ?? randomUUID();
      contactIds.set(key, contactId);
      const [createdAt, updatedAt] = [Date.now(), Date.now()];
      if (isNew) await add('contacts', { id: contactId, accountId, sessionId, ...known, createdAt, updatedAt });
      for (const waId of [known.lid, `${known.phone}@c.us`])
        await add('contact_forms', { sessionId, waId, accountId, contactId });
    }
    const end = rows.at(-1);
    if (!end || rows.length < pageSize) return;
    last = [end.sessionId, end.contact];
  }
}

/** Null for a text that is damaged, or that names one form only. */
function bothForms(contact: string): { phone: string; lid: string; name: string | null } | null {
  try {
    const { phone, lid, name } = JSON.parse(contact) as Record<string, unknown>;
    if (typeof phone !== 'string' || typeof lid !== 'string' || !/^\+\d{7,15}$/.test(phone) || !/^\d{5,20}@lid$/.test(lid))
      return null;
    // The stored JSON holds NUL escaped; no text column of PostgreSQL takes it.
    return { phone: phone.slice(1), lid, name: typeof name === 'string' ? name.replaceAll('\0', '').slice(0, 256) : null };
  } catch {
    return null;
  }
}
