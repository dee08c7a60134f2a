import { foldText } from '@chasqui/shared';
import type { DataSource } from 'typeorm';
import { nameContains, peopleWith } from '../../contacts/lookup.js';
import type { Condition } from '../../db/ranges.js';
import { expressionAmong } from '../../db/rows.js';

/**
 * Returns the condition on the row `c` of `conversations` for conversations whose person or group has this text in the name, or these digits in the number. The name of a chat counts
 * only where the list shows it: a person who is a contact with a name is found under that name.
 */
export async function searchOf(reader: DataSource, accountId: string, search: string): Promise<Condition> {
  const folded = foldText(search);
  const spelled = search.replace(/[\s+().-]/g, '');
  const digits = /^\d{3,}$/.test(spelled) ? spelled : null;
  const inId = digits ?? (search.includes('@') ? search : null);
  const ofChat: Condition[] = [];
  if (folded !== '') ofChat.push({ sql: `(${nameContains(reader, 'c."foldedName"')} AND ${isShown})`, parameters: [folded] });
  if (inId !== null) ofChat.push({ sql: `c."chatId" LIKE ? ESCAPE '\\'`, parameters: [containing(inId)] });
  const ofPeople: Condition[] = [];
  if (folded !== '') ofPeople.push({ sql: nameContains(reader, 'p."foldedName"'), parameters: [folded] });
  if (digits !== null) ofPeople.push({ sql: `p.phone LIKE ?`, parameters: [containing(digits)] });
  const people = await peopleCondition(reader, accountId, anyOf(ofPeople));
  return anyOf([...ofChat, people]);
}

/** Whether the list shows the name of the chat itself. */
const isShown = `NOT EXISTS (SELECT 1 FROM contact_forms f JOIN contacts p ON p.id = f."contactId"
  WHERE f."sessionId" = c."sessionId" AND f."waId" = c."chatId" AND p.name IS NOT NULL)`;

const containing = (text: string): string => `%${text.replace(/[\\%_]/g, (sign) => `\\${sign}`)}%`;

const anyOf = (conditions: readonly Condition[]): Condition => ({
  sql: conditions.length === 0 ? '1 = 0' : `(${conditions.map(({ sql }) => sql).join(' OR ')})`,
  parameters: conditions.flatMap(({ parameters }) => parameters),
});

/** So many people are named one by one in the condition. */
const maxNamed = 500;

/**
 * Returns the condition for the conversations of people whose row `p` of `contacts` meets `which`. A few people are read first, so that no row is
 * compared with all contacts. Of many people a page is soon found, so each row is looked up.
 */
async function peopleCondition(reader: DataSource, accountId: string, which: Condition): Promise<Condition> {
  const people = await peopleWith(reader, accountId, which, maxNamed);
  if (people === null)
    return {
      sql: `EXISTS (SELECT 1 FROM contact_forms f JOIN contacts p ON p.id = f."contactId"
        WHERE f."sessionId" = c."sessionId" AND f."waId" = c."chatId" AND ${which.sql})`,
      parameters: which.parameters,
    };
  const keys = people.map(({ sessionId, waId }) => `${sessionId} ${waId}`);
  const { condition, parameter } = expressionAmong(reader, `c."sessionId" || ' ' || c."chatId"`, keys);
  return { sql: condition, parameters: [parameter] };
}
