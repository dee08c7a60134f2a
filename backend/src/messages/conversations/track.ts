import { erased, foldText } from '@chasqui/shared';
import { addToTables } from '../../db/additions.js';
import type { Addition } from '../../db/pending-sums.js';
import { among } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import type { Message } from '../message.entity.js';

/**
 * Updates `conversations` when messages change, in the transaction of the change. Call each verb after the event log is locked (by an event of the
 * change, or by `events.lock`), so that two transactions never deadlock.
 */

type Placed = Pick<Message, 'id' | 'accountId' | 'sessionId' | 'chatId' | 'chatType' | 'chatName' | 'createdAt'>;
type ReadState = Pick<Message, 'direction' | 'status' | 'type'>;

const isListed = ({ chatId, chatType }: Pick<Message, 'chatId' | 'chatType'>): boolean =>
  chatType !== 'status' && chatId !== erased;

/** Whether a message counts as unread. */
export const isUnread = ({ direction, status, type }: ReadState): boolean =>
  direction === 'inbound' && status === 'delivered' && type !== 'notice';

/** The row for new messages, before it is merged into the stored one. */
interface NewRow {
  sessionId: string;
  chatId: string;
  accountId: string;
  lastAt: number;
  lastId: string;
  unread: number;
  chatName: string | null;
  foldedName: string | null;
}

const columns = ['sessionId', 'chatId', 'accountId', 'lastAt', 'lastId', 'unread', 'chatName', 'foldedName'] as const;
const names = columns.map((column) => `"${column}"`).join(', ');
const isNewer = '(excluded."lastAt", excluded."lastId") > (conversations."lastAt", conversations."lastId")';
const keepsName = `excluded."chatName" IS NULL OR (conversations."chatName" IS NOT NULL AND NOT ${isNewer})`;
const onConflict = `ON CONFLICT ("sessionId", "chatId") DO UPDATE SET
  "lastAt" = CASE WHEN ${isNewer} THEN excluded."lastAt" ELSE conversations."lastAt" END,
  "lastId" = CASE WHEN ${isNewer} THEN excluded."lastId" ELSE conversations."lastId" END,
  unread = conversations.unread + CASE WHEN excluded."lastId" > COALESCE(conversations."readTo", '') THEN excluded.unread ELSE 0 END,
  "chatName" = CASE WHEN ${keepsName} THEN conversations."chatName" ELSE excluded."chatName" END,
  "foldedName" = CASE WHEN ${keepsName} THEN conversations."foldedName" ELSE excluded."foldedName" END`;
const addOne = `INSERT INTO conversations (${names}) VALUES (${columns.map(() => '?').join(', ')}) ${onConflict}`;
const addAll = `INSERT INTO conversations (${names})
  SELECT * FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[], ?::text[], ?::integer[], ?::text[], ?::text[]) ${onConflict}`;

/**
 * Adds new messages to their conversations, and rows to other tables: on PostgreSQL in one statement, so that an accept needs no further round trip.
 * Callers do not pass notices of WhatsApp.
 */
export async function addToChats(
  tx: Transaction,
  messages: readonly (Placed & ReadState)[],
  others: readonly Addition[],
): Promise<void> {
  const rows = newRows(messages);
  if (tx.manager.connection.options.type === 'postgres') {
    const parameters = columns.map((name) => rows.map((row) => row[name]));
    return addToTables(tx, others, rows.length > 0 ? { sql: addAll, parameters } : undefined);
  }
  await addToTables(tx, others);
  for (const row of rows)
    await runStatement(
      tx.manager,
      addOne,
      columns.map((name) => row[name]),
    );
}

/** The columns of a name. Every write of a name uses them. */
const nameColumns = (chatName: string | null): Pick<NewRow, 'chatName' | 'foldedName'> => ({
  chatName,
  foldedName: chatName === null ? null : foldText(chatName),
});

function newRows(messages: readonly (Placed & ReadState)[]): NewRow[] {
  const rows = new Map<string, NewRow>();
  for (const message of messages) {
    if (!isListed(message)) continue;
    const { id, accountId, sessionId, chatId } = message;
    const at = message.createdAt.getTime();
    const key = `${sessionId} ${chatId}`;
    let row = rows.get(key);
    if (!row)
      rows.set(
        key,
        (row = { sessionId, chatId, accountId, lastAt: at, lastId: id, unread: 0, chatName: null, foldedName: null }),
      );
    const isNewest = at > row.lastAt || (at === row.lastAt && id >= row.lastId);
    if (isNewest) {
      row.lastAt = at;
      row.lastId = id;
    }
    if (message.chatName !== null && (isNewest || row.chatName === null)) Object.assign(row, nameColumns(message.chatName));
    row.unread += Number(isUnread(message));
  }
  return [...rows.values()];
}

/**
 * Updates the number of unread messages after the status of a received message has changed. A message that was deleted, or read on the phone, is not
 * counted.
 */
export async function followStatus(tx: Transaction, before: ReadState, after: Placed & ReadState): Promise<void> {
  if (after.direction !== 'inbound' || !isListed(after)) return;
  const change = Number(isUnread(after)) - Number(isUnread(before));
  if (change === 0) return;
  await runStatement(
    tx.manager,
    `UPDATE conversations SET unread = unread + ? WHERE "sessionId" = ? AND "chatId" = ? AND COALESCE("readTo", '') < ?
      AND EXISTS (SELECT 1 FROM messages m WHERE m.id = ? AND m."deletedAt" IS NULL)`,
    [change, after.sessionId, after.chatId, after.id, after.id],
  );
}

/** Names the chat of a recorded message whose name was learned later. */
export async function nameChat(tx: Transaction, { id, sessionId, chatId }: Placed, learned: string): Promise<void> {
  const { chatName, foldedName } = nameColumns(learned);
  const sql = `UPDATE conversations SET "chatName" = ?, "foldedName" = ? WHERE "sessionId" = ? AND "chatId" = ? AND ("chatName" IS NULL OR "lastId" = ?)`;
  await runStatement(tx.manager, sql, [chatName, foldedName, sessionId, chatId, id]);
}

/** Forgets the names of people in conversations. Names of groups and channels stay, as they do in messages. */
export async function forgetPeople(tx: Transaction, column: 'sessionId' | 'accountId', value: string): Promise<void> {
  const sql = `UPDATE conversations SET "chatName" = NULL, "foldedName" = NULL WHERE "${column}" = ? AND "chatName" IS NOT NULL
    AND "chatId" NOT LIKE '%@g.us' AND "chatId" NOT LIKE '%@newsletter'`;
  await runStatement(tx.manager, sql, [value]);
}

/** Marks chats of a session as read: they were opened on the phone. */
export async function markRead(tx: Transaction, sessionId: string, chatIds: readonly string[]): Promise<void> {
  const { condition, parameter } = among(tx.manager, 'chatId', chatIds);
  const sql = `UPDATE conversations SET unread = 0, "readTo" = "lastId" WHERE "sessionId" = ? AND ${condition} AND unread > 0`;
  await runStatement(tx.manager, sql, [sessionId, parameter]);
}

/** A message that leaves its conversation. */
export type Removed = Pick<Message, 'id' | 'sessionId' | 'chatId'> & ReadState;

const newestSql = `SELECT id, "createdAt" FROM messages WHERE "accountId" = ? AND "chatId" = ? AND "sessionId" = ? AND "deletedAt" IS NULL
  AND type <> 'notice' ORDER BY "createdAt" DESC, id DESC LIMIT 1`;

/**
 * Removes deleted messages from their conversations, and deletes conversations without messages. Call it after the messages were deleted or marked as
 * deleted.
 */
export async function removeFromChats(tx: Transaction, removed: readonly Removed[]): Promise<void> {
  const chats = new Map<string, Removed[]>();
  for (const message of removed) {
    const key = `${message.sessionId} ${message.chatId}`;
    chats.set(key, [...(chats.get(key) ?? []), message]);
  }
  for (const messages of chats.values()) {
    const { sessionId, chatId } = messages[0]!;
    const where = '"sessionId" = ? AND "chatId" = ?';
    const {
      rows: [row],
    } = await runStatement<{ accountId: string; lastId: string; readTo: string | null }>(
      tx.manager,
      `SELECT "accountId", "lastId", "readTo" FROM conversations WHERE ${where}`,
      [sessionId, chatId],
    );
    if (!row) continue;
    const unread = messages.filter((message) => isUnread(message) && message.id > (row.readTo ?? '')).length;
    if (unread > 0)
      await runStatement(tx.manager, `UPDATE conversations SET unread = unread - ? WHERE ${where}`, [unread, sessionId, chatId]);
    if (!messages.some(({ id }) => id === row.lastId)) continue;
    const {
      rows: [newest],
    } = await runStatement<{ id: string; createdAt: number | string }>(tx.manager, newestSql, [row.accountId, chatId, sessionId]);
    if (newest)
      await runStatement(tx.manager, `UPDATE conversations SET "lastAt" = ?, "lastId" = ? WHERE ${where}`, [
        Number(newest.createdAt),
        newest.id,
        sessionId,
        chatId,
      ]);
    else await runStatement(tx.manager, `DELETE FROM conversations WHERE ${where}`, [sessionId, chatId]);
  }
}

/** Deletes the conversations with a person, for the erasure. */
export async function eraseConversations(tx: Transaction, accountId: string, chatIds: readonly string[]): Promise<void> {
  const theirs = among(tx.manager, 'chatId', chatIds);
  await runStatement(
    tx.manager,
    `DELETE FROM conversations WHERE ${theirs.condition} AND "sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?)`,
    [theirs.parameter, accountId],
  );
}
