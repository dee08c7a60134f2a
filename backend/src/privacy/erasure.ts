import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, erased, type StoredContent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import type { Database } from '../db/database.js';
import { attemptInHalves, type RunAlone } from '../db/isolate.js';
import { deleteRows, lockRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Failure } from '../failures/failure.entity.js';
import { describeError } from '../failures/failures.js';
import type { Caller } from '../accounts/caller.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import { Message, type GroupMention } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { ContentStore } from '../messages/sealed-content.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { Schedules } from '../messages/recurring/schedules.js';
import { eraseConversations } from '../messages/conversations/track.js';
import { eraseChats } from '../messages/usage/counts.js';
import { Session } from '../sessions/session.entity.js';
import { WebhookAttempt } from '../webhooks/webhook.entity.js';
import { isWithPerson, parsed, withoutPerson } from './event-data.js';
import { isNaming, isWith, type Line, type Pages } from './pages.js';
import { PrivacyRequest } from './privacy-request.entity.js';
import type { Traces } from './traces.js';

/** What the webhook log stores of the requests for an event. */
const wipeAttempts = `UPDATE webhook_attempts SET "requestBody" = NULL, response = NULL
  WHERE "deliveryId" IN (SELECT id FROM webhook_deliveries WHERE "eventCursor" = ?)`;

/** A repeated request is then answered with the message as it is. */
const forgetReply = 'UPDATE idempotency_records SET status = NULL, body = NULL WHERE "messageId" = ?';

/** A message that is being sent reaches another state within a few minutes. */
const finalMs = 5 * 60_000;

/** Stored replies to `Idempotency-Key`. */
export interface ErasableReplies {
  erase(accountId: string, shouldErase: (body: string) => boolean): Promise<void>;
}

/** The chats that the filters of webhooks name. */
export interface ErasableFilters {
  eraseFromFilters(accountId: string, isTheirs: (chat: string) => boolean): Promise<void>;
}

/** The recipients of bulk jobs. */
export interface ErasableJobs {
  erase(accountId: string, traces: Traces, alone: RunAlone): Promise<number>;
}

/** What an erasure uses. */
export interface Erasing extends Pick<Core, 'database' | 'events' | 'report'> {
  pages: Pages;
  contacts: Pick<Contacts, 'erase'>;
  optOuts: Pick<OptOuts, 'erase'>;
  messages: Pick<Messages, 'byId' | 'cancel' | 'resolve'>;
  contents: Pick<ContentStore, 'unseal' | 'rewrite'>;
  media: Pick<Media, 'remove'>;
  thumbnails: Pick<Thumbnails, 'remove'>;
  replies: ErasableReplies;
  webhooks: ErasableFilters;
  bulk: ErasableJobs;
  schedules: Pick<Schedules, 'erase'>;
  isStopped: () => boolean;
}

/** One run of an erasure. */
interface Run {
  request: PrivacyRequest;
  traces: Traces;
  /** Messages with the person. */
  ids: ReadonlySet<string>;
  /** What could not be erased. */
  left: Set<string>;
}

/**
 * Removes what is stored about a contact and returns the numbers of erased messages, files, events and mentions. Rows stay, with their times and
 * states, but without the person and the content. Queued messages are cancelled; an uncertain one is settled as failed. A repeated run finds
 * only what is still stored.
 *
 * The order allows for a kill at any step: the forms of the person are stored first, because erased rows do not name any; events are erased
 * before rows, because the rows show which events belong to the person; and events once more, for those that were added meanwhile.
 */
export async function eraseContact(context: Erasing, request: PrivacyRequest): Promise<Record<string, number>> {
  const { database, events, pages, contacts, optOuts, replies, schedules, webhooks, bulk } = context;
  const traces = await pages.tracesOf(request);
  await database.write.run((tx) => updateRows(tx, PrivacyRequest, { id: request.id }, { forms: traces.all() }));
  const ids = new Set<string>();
  const run: Run = { request, traces, ids, left: new Set() };
  const alone: RunAlone = (subject, work) => forEachAlone(context, run, [subject], work);
  // First, so that no bulk job hands over a further message to the person.
  await bulk.erase(request.accountId, traces, alone);
  /** Messages with others that name the person. */
  const naming = new Set<string>();
  for await (const page of pages.linesOf(request.accountId))
    for (const line of page)
      if (isWith(traces, line)) ids.add(line.id);
      else if (isNaming(traces, line) || (await isNamingSealed(context, run, line))) naming.add(line.id);
  // Before the messages, so that no schedule makes another one.
  await schedules.erase(request.accountId, traces, alone);
  const until = performance.now() + finalMs;
  await forEachAlone(context, run, ids, (id) => waitUntilFinal(context, request.accountId, id, until, true));
  await forEachAlone(context, run, naming, (id) => waitUntilFinal(context, request.accountId, id, until, false));
  let erasedEvents = await eraseEvents(context, run);
  const files = await eraseMessages(context, run, naming);
  await database.write.run((tx) => optOuts.erase(tx, request.accountId, traces.all()));
  await database.write.run((tx) => contacts.erase(tx, request.accountId, traces.all()));
  await database.write.run(async (tx) => {
    // Closes: the reconciliation of the statistics counts messages of the person while they are erased.
    await events.lock(tx);
    await eraseChats(tx, request.accountId, traces.all());
    await eraseConversations(tx, request.accountId, traces.all());
  });
  erasedEvents += await eraseEvents(context, run);
  await eraseAttempts(database, request.accountId, traces);
  await eraseFailures(database, request.accountId, traces);
  await webhooks.eraseFromFilters(request.accountId, (chat) => traces.has(chat));
  await replies.erase(request.accountId, (body) => traces.mayBeIn(body));
  if (run.left.size > 0)
    throw new Error('Some of what is stored about the contact could not be erased. Ask for the erasure again.');
  return { messages: ids.size, files, events: erasedEvents, mentions: naming.size };
}

/**
 * Works on each message or event alone. An item that fails by itself is reported and added to `left`; all others are erased, and the request
 * ends as failed. A failure of the database ends it at once.
 */
async function forEachAlone(
  { isStopped, report }: Erasing,
  { request: { id: requestId, accountId }, left }: Run,
  items: Iterable<string>,
  work: (item: string) => Promise<unknown>,
): Promise<void> {
  for (const item of items)
    try {
      await work(item);
    } catch (error) {
      if (isSystemError(error) || isStopped()) throw error;
      left.add(item);
      report({ kind: 'privacy', subject: `${requestId} ${item}`, accountId, ...describeError(error) });
    }
}

/** Whether the sealed content of a message with others names the person. Content that no key opens is reported, and the request ends as failed. */
async function isNamingSealed(context: Erasing, run: Run, line: Line): Promise<boolean> {
  if (line.sealed === null) return false;
  let isFound = false;
  await forEachAlone(context, run, [line.id], () => {
    isFound = run.traces.isIn(context.contents.unseal(line));
    return Promise.resolve();
  });
  return isFound;
}

/** Removes the person from events, and the content from events of their messages. Returns the number of changed events. */
async function eraseEvents(context: Erasing, run: Run): Promise<number> {
  const { database, pages } = context;
  const { request, traces } = run;
  /** Messages with the person: those whose rows are stored, and those that only events show, because the rows were deleted. */
  const ids = new Set(run.ids);
  let erasedEvents = 0;
  for await (const page of pages.eventsOf(request.accountId)) {
    const changed = page.flatMap(({ cursor, messageId, text }) => {
      const isOfMessage = messageId !== null && ids.has(messageId);
      if (!isOfMessage && !traces.mayBeIn(text) && !text.includes(`"${erased}"`)) return [];
      const stored = parsed(text);
      const isTheirs = isOfMessage || isWithPerson(traces, stored);
      if (isTheirs && messageId !== null && stored['id'] === messageId) ids.add(messageId);
      const data = JSON.stringify(withoutPerson(traces, stored, isTheirs));
      return data === text ? [] : [{ cursor, data }];
    });
    if (changed.length === 0) continue;
    const write = async (some: readonly { cursor: number; data: string }[]): Promise<void> => {
      await database.write.run(async (tx) => {
        for (const { cursor, data } of some) {
          await runStatement(tx.manager, 'UPDATE events SET data = ? WHERE cursor = ?', [data, cursor]);
          await runStatement(tx.manager, wipeAttempts, [cursor]);
        }
      });
      erasedEvents += some.length;
    };
    await attemptInHalves(changed, write, ([first], error) =>
      forEachAlone(context, run, [`event ${first!.cursor}`], () => Promise.reject(error as Error)),
    );
  }
  return erasedEvents;
}

/**
 * Cancels a message that is still scheduled or queued, so that nothing is sent to the person or with their name any more, and waits for one that is being
 * sent, whose content must not be removed meanwhile. `settles`: an uncertain message is settled as failed. A message to others that names the
 * person stays uncertain, and its look-up continues.
 */
async function waitUntilFinal(
  { messages, isStopped }: Erasing,
  accountId: string,
  id: string,
  until: number,
  settles: boolean,
): Promise<void> {
  const caller = systemOf(accountId);
  for (let isFirst = true; (isFirst || performance.now() < until) && !isStopped(); await sleep(200)) {
    isFirst = false;
    const status = (await messages.byId(id))?.status;
    if (status === 'queued' || status === 'scheduled') await messages.cancel(caller, id).catch(ignoreRefusal);
    else if (status === 'uncertain' && settles) await messages.resolve(caller, id, 'failed').catch(ignoreRefusal);
    else if (status !== 'sending') return;
  }
  throw new Error('A message to the contact is still being sent.');
}

/** Erases the messages with the person, then the person from messages with others. Returns the number of deleted files. */
async function eraseMessages(context: Erasing, run: Run, naming: ReadonlySet<string>): Promise<number> {
  const { database, contents } = context;
  const { traces, ids, left } = run;
  let files = 0;
  const withThem = [...ids].filter((id) => !left.has(id));
  await forEachAlone(context, run, withThem, async (id) => {
    failPoint('erasure.half');
    files += await database.write.run((tx) => eraseMessage(tx, context, traces, id));
  });
  const withOthers = [...naming].filter((id) => !left.has(id));
  await forEachAlone(context, run, withOthers, (id) => database.write.run((tx) => eraseNames(tx, contents, traces, id)));
  return files;
}

/** Closes: a person queues the message again after it is read. Every change of a status locks the session first. */
async function readLocked(tx: Transaction, id: string): Promise<Message | null> {
  const found = await tx.manager.findOne(Message, { where: { id }, select: { id: true, sessionId: true } });
  if (!found) return null;
  await lockRows(tx, Session, [found.sessionId]);
  return tx.manager.findOneBy(Message, { id });
}

/** Returns the number of deleted files. */
async function eraseMessage(
  tx: Transaction,
  { media, thumbnails }: Pick<Erasing, 'media' | 'thumbnails'>,
  traces: Traces,
  id: string,
): Promise<number> {
  const row = await readLocked(tx, id);
  if (!row) return 0;
  const redact = (one: string | null): string | null => (traces.has(one) ? erased : one);
  await updateRows(
    tx,
    Message,
    { id },
    {
      chatId: redact(row.chatId) ?? erased,
      fromId: redact(row.fromId),
      toId: redact(row.toId),
      // In a group the messages of others keep the name of their chat.
      ...(traces.has(row.chatId) ? { chatName: null } : {}),
      contact: null,
      whatsappId: null,
      content: null,
      text: null,
      sealed: null,
      mediaId: null,
      mentions: [],
      groupMentions: null,
      options: null,
      quotedMessageId: null,
      reasonText: null,
    },
  );
  // A repeated request is answered with the message as it is now.
  await runStatement(tx.manager, forgetReply, [id]);
  await thumbnails.remove(tx, [id]);
  const sql = 'SELECT id FROM media_files WHERE "messageId" = ?';
  const { rows: files } = await runStatement<{ id: string }>(tx.manager, sql, [id]);
  await media.remove(
    tx,
    files.map((file) => file.id),
  );
  return files.length;
}

/** Removes the person from a message with others; the rest of it stays. The content of an uncertain message may be sealed. */
async function eraseNames(tx: Transaction, contents: Erasing['contents'], traces: Traces, id: string): Promise<void> {
  const row = await readLocked(tx, id);
  if (!row) return;
  const kept = (quoted: string | null): string | null => (traces.removeFrom(quoted) === quoted ? quoted : null);
  const { options } = row;
  const sealed = contents.rewrite(row, (whole) => ({
    ...whole,
    ...withoutNames(traces, whole),
    ...(whole.groupMentions ? { groupMentions: traces.removeFrom(whole.groupMentions) as GroupMention[] } : {}),
  }));
  await updateRows(
    tx,
    Message,
    { id },
    {
      ...withoutNames(traces, row),
      sealed,
      quotedMessageId: kept(row.quotedMessageId),
      // The name of a group may be a person's.
      groupMentions: traces.removeFrom(row.groupMentions) as Message['groupMentions'],
      options: options && {
        ...options,
        mentions: others(traces, options.mentions),
        quotedMessageId: kept(options.quotedMessageId),
        ...(options.groupMentions ? { groupMentions: traces.removeFrom(options.groupMentions) as GroupMention[] } : {}),
      },
    },
  );
  await runStatement(tx.manager, forgetReply, [id]);
}

const others = (traces: Traces, people: readonly string[]): string[] => people.filter((one) => !traces.has(one));

function withoutNames<T extends StoredContent | null>(
  traces: Traces,
  { content, mentions, text }: { content: T; mentions: readonly string[]; text: string | null },
): { content: T; mentions: string[]; text: string | null } {
  const rest = traces.removeFrom(content) as T;
  return {
    content: rest,
    mentions: others(traces, mentions),
    // The text of contact cards consists of their names.
    text: rest?.type === 'contact' ? null : text && traces.withoutMentions(text),
  };
}

/** Removes what was sent to webhooks of events that the log does not have any more. */
async function eraseAttempts(database: Database, accountId: string, traces: Traces): Promise<void> {
  const sql = `SELECT a.id, a."requestBody", a.response FROM webhook_attempts a JOIN webhooks w ON w.id = a."webhookId"
    WHERE w."accountId" = ? AND a.id > ? ORDER BY a.id LIMIT 200`;
  for (let after = ''; ; await sleep(0)) {
    const { rows: page } = await runStatement<Pick<WebhookAttempt, 'id' | 'requestBody' | 'response'>>(database.reader, sql, [
      accountId,
      after,
    ]);
    if (page.length === 0) return;
    const found = page.filter(({ requestBody, response }) => traces.mayBeIn(`${requestBody ?? ''} ${response ?? ''}`));
    if (found.length > 0)
      await database.write.run(async (tx) => {
        for (const { id } of found) await updateRows(tx, WebhookAttempt, { id }, { requestBody: null, response: null });
      });
    after = page.at(-1)!.id;
  }
}

/** Deletes records of failures that name the person. They have no content. */
async function eraseFailures(database: Database, accountId: string, traces: Traces): Promise<void> {
  const sql = `SELECT id, subject, detail FROM failures
    WHERE "accountId" = ? OR "sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?)`;
  type Found = Pick<Failure, 'id' | 'subject' | 'detail'>;
  const { rows } = await runStatement<Found>(database.reader, sql, [accountId, accountId]);
  const found = rows.filter(({ subject, detail }) => traces.mayBeIn(`${subject} ${detail}`));
  if (found.length === 0) return;
  await database.write.run(async (tx) => {
    for (const { id } of found) await deleteRows(tx, Failure, { id });
  });
}

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof AppError)) throw error; // A refusal means that its state has changed meanwhile; it is read again.
};

/** The caller in whose name a request is carried out. */
const systemOf = (accountId: string): Caller => ({
  accountId,
  role: 'user',
  credential: { type: 'none', id: null, name: 'erasure' },
  permissions: [],
  sessionId: null,
  isPasswordLogin: false,
  requestId: '',
  ip: null,
});
