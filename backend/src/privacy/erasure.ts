import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, erased } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { attemptInHalves } from '../db/isolate.js';
import { deleteRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Failure } from '../failures/failure.entity.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Caller } from '../accounts/caller.js';
import type { Media } from '../media/media.js';
import { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import { WebhookAttempt } from '../webhooks/webhook.entity.js';
import { isNaming, isWith, type Pages } from './pages.js';
import { PrivacyRequest } from './privacy-request.entity.js';
import type { Traces } from './traces.js';

/** What was sent of an event to webhooks, as their log has it. */
const wipeAttempts = `UPDATE webhook_attempts SET "requestBody" = NULL, response = NULL
  WHERE "deliveryId" IN (SELECT id FROM webhook_deliveries WHERE "eventCursor" = ?)`;

/** A repeated request is then answered with the message as it is. */
const forgetReply = 'UPDATE idempotency_records SET status = NULL, body = NULL WHERE "messageId" = ?';

/** Messages to the contact that are in flight end within a few minutes, whatever becomes of them. */
const restMs = 5 * 60_000;

/** Stored replies to `Idempotency-Key`. */
export interface ErasableReplies {
  erase: (accountId: string, isToGo: (body: string) => boolean) => Promise<void>;
}

/** The chats that the filters of webhooks name. */
export interface ErasableFilters {
  eraseFromFilters: (accountId: string, isThem: (chat: string) => boolean) => Promise<void>;
}

/**
 * Removes what is held about a contact; gives how much of what. Rows stay, with their times and states; whom they were with and what was
 * said goes out of them. What waits to be sent is cancelled; an uncertain one is settled as failed. When it runs again, it finds only what is still there.
 */
export function createEraser({
  database,
  pages,
  contacts,
  messages,
  media,
  replies,
  webhooks,
  isStopped,
  report,
}: {
  database: Database;
  pages: Pages;
  contacts: Pick<Contacts, 'erase'>;
  messages: Messages;
  media: Media;
  replies: ErasableReplies;
  webhooks: ErasableFilters;
  isStopped: () => boolean;
  report: ReportFailure;
}) {
  /**
   * The order is what a kill needs: the forms of the person are written down first, because rows that are erased tell of none; events before
   * rows, because it is the rows that tell which events are theirs; and events once more, for those that came meanwhile.
   */
  async function eraseAll(request: PrivacyRequest): Promise<Record<string, number>> {
    const traces = await pages.tracesOf(request);
    await database.write.run((tx) => updateRows(tx, PrivacyRequest, { id: request.id }, { forms: traces.all() }));
    const ids = new Set<string>();
    /** Messages with others that name the person. */
    const naming = new Set<string>();
    for await (const page of pages.linesOf(request.accountId))
      for (const line of page)
        if (isWith(traces, line)) ids.add(line.id);
        else if (isNaming(traces, line)) naming.add(line.id);
    const caller = systemOf(request.accountId);
    const until = performance.now() + restMs;
    const left = new Set<string>();
    await forEachAlone(request, ids, left, (id) => comeToRest(caller, id, until, true));
    await forEachAlone(request, naming, left, (id) => comeToRest(caller, id, until, false));
    let erasedEvents = await eraseEvents(request, traces, ids, left);
    let files = 0;
    await forEachAlone(
      request,
      [...ids].filter((id) => !left.has(id)),
      left,
      async (id) => {
        failPoint('erasure.half');
        files += await database.write.run((tx) => eraseOne(tx, traces, id));
      },
    );
    await forEachAlone(
      request,
      [...naming].filter((id) => !left.has(id)),
      left,
      (id) => database.write.run((tx) => eraseNames(tx, traces, id)),
    );
    await database.write.run((tx) => contacts.erase(tx, request.accountId, traces.all()));
    erasedEvents += await eraseEvents(request, traces, ids, left);
    await eraseAttempts(request.accountId, traces);
    await eraseFailures(request.accountId, traces);
    await webhooks.eraseFromFilters(request.accountId, (chat) => traces.has(chat));
    await replies.erase(request.accountId, (body) => traces.mayBeIn(body));
    if (left.size > 0) throw new Error('Some of what is held about the contact could not be erased. Ask for the erasure again.');
    return { messages: ids.size, files, events: erasedEvents, mentions: naming.size };
  }

  /**
   * Works on each message or event alone. What fails by itself is reported and put into `left`; all others are erased, and the request
   * ends as failed. Trouble of the database ends it at once.
   */
  async function forEachAlone<T extends string | number>(
    { id: requestId, accountId }: PrivacyRequest,
    items: Iterable<T>,
    left: Set<string>,
    work: (item: T) => Promise<unknown>,
  ): Promise<void> {
    for (const item of items)
      try {
        await work(item);
      } catch (error) {
        if (isSystemError(error) || isStopped()) throw error;
        left.add(String(item));
        report({ kind: 'privacy', subject: `${requestId} ${item}`, accountId, ...describeError(error) });
      }
  }

  async function eraseEvents(
    request: PrivacyRequest,
    traces: Traces,
    ids: ReadonlySet<string>,
    left: Set<string>,
  ): Promise<number> {
    let erasedEvents = 0;
    for await (const page of pages.eventsOf(request.accountId)) {
      const changed = page.flatMap(({ cursor, messageId, text }) => {
        const isAbout = messageId !== null && ids.has(messageId);
        if (!isAbout && !traces.mayBeIn(text)) return [];
        const without = traces.removeFrom(parsed(text)) as Record<string, unknown>;
        // The text of contact cards is made of their names.
        if (without['type'] === 'contact') without['text'] = null;
        const data = JSON.stringify(isAbout ? withoutWords(without) : without);
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
        forEachAlone(request, [`event ${first!.cursor}`], left, () => Promise.reject(error as Error)),
      );
    }
    return erasedEvents;
  }

  /**
   * Nothing is to go out to them any more, or with their name, and nothing may be in flight while what it holds is taken away. `settles`: an
   * uncertain message is settled as failed. One to others that names them stays uncertain, and its look-up goes on.
   */
  async function comeToRest(caller: Caller, id: string, until: number, settles: boolean): Promise<void> {
    for (let isFirst = true; (isFirst || performance.now() < until) && !isStopped(); await sleep(200)) {
      isFirst = false;
      const status = (await messages.byId(id))?.status;
      if (status === 'queued') await messages.cancel(caller, id).catch(ignoreRefusal);
      else if (status === 'uncertain' && settles) await messages.resolve(caller, id, 'failed').catch(ignoreRefusal);
      else if (status !== 'sending') return;
    }
    throw new Error('A message to the contact is still being sent.');
  }

  /** Gives how many files went. */
  async function eraseOne(tx: Transaction, traces: Traces, id: string): Promise<number> {
    const row = await tx.manager.findOneBy(Message, { id });
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
        // In a group the others' messages keep their chat's name.
        ...(traces.has(row.chatId) ? { chatName: null } : {}),
        contact: null,
        whatsappId: null,
        content: null,
        text: null,
        sealed: null,
        mediaId: null,
        mentions: [],
        options: null,
        quotedMessageId: null,
        reasonText: null,
      },
    );
    // A repeated request is answered with the message as it is now.
    await runStatement(tx.manager, forgetReply, [id]);
    const files = (await runStatement(tx.manager, 'SELECT id FROM media_files WHERE "messageId" = ?', [id])).rows as {
      id: string;
    }[];
    await media.remove(
      tx,
      files.map((file) => file.id),
    );
    return files.length;
  }

  /** Takes the person out of a message with others; the rest of it stays. */
  async function eraseNames(tx: Transaction, traces: Traces, id: string): Promise<void> {
    const row = await tx.manager.findOneBy(Message, { id });
    if (!row) return;
    const others = (people: readonly string[]): string[] => people.filter((one) => !traces.has(one));
    const kept = (quoted: string | null): string | null => (traces.removeFrom(quoted) === quoted ? quoted : null);
    const { options, content } = row;
    const without = traces.removeFrom(content) as Message['content'];
    await updateRows(
      tx,
      Message,
      { id },
      {
        mentions: others(row.mentions),
        quotedMessageId: kept(row.quotedMessageId),
        options: options && { ...options, mentions: others(options.mentions), quotedMessageId: kept(options.quotedMessageId) },
        content: without,
        // The text of contact cards is made of their names.
        text: without?.type === 'contact' ? null : row.text && traces.withoutMentions(row.text),
      },
    );
    await runStatement(tx.manager, forgetReply, [id]);
  }

  /** What was sent to webhooks of events that the log does not hold any more. */
  async function eraseAttempts(accountId: string, traces: Traces): Promise<void> {
    const sql = `SELECT a.id, a."requestBody", a.response FROM webhook_attempts a JOIN webhooks w ON w.id = a."webhookId"
      WHERE w."accountId" = ? AND a.id > ? ORDER BY a.id LIMIT 200`;
    for (let after = ''; ; await sleep(0)) {
      const { rows } = await runStatement(database.reader, sql, [accountId, after]);
      const page = rows as { id: string; requestBody: string | null; response: string | null }[];
      if (page.length === 0) return;
      const found = page.filter(({ requestBody, response }) => traces.mayBeIn(`${requestBody ?? ''} ${response ?? ''}`));
      if (found.length > 0)
        await database.write.run(async (tx) => {
          for (const { id } of found) await updateRows(tx, WebhookAttempt, { id }, { requestBody: null, response: null });
        });
      after = page.at(-1)!.id;
    }
  }

  /** Records of failures hold no content, but may name whom something failed for. */
  async function eraseFailures(accountId: string, traces: Traces): Promise<void> {
    const sql = `SELECT id, subject, detail FROM failures
      WHERE "accountId" = ? OR "sessionId" IN (SELECT s.id FROM sessions s WHERE s."accountId" = ?)`;
    const { rows } = await runStatement(database.reader, sql, [accountId, accountId]);
    const found = (rows as Pick<Failure, 'id' | 'subject' | 'detail'>[]).filter(({ subject, detail }) =>
      traces.mayBeIn(`${subject} ${detail}`),
    );
    if (found.length === 0) return;
    await database.write.run(async (tx) => {
      for (const { id } of found) await deleteRows(tx, Failure, { id });
    });
  }

  return { eraseAll };
}

/** An event whose text is no JSON holds nothing that could be kept. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return {};
  }
}

/** An event of a message without what was said in it. */
function withoutWords(data: Record<string, unknown>): Record<string, unknown> {
  const gone = ['content', 'text', 'previousText', 'media', 'quotedMessageId', 'whatsappId', 'contact', 'options', 'emoji'];
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, gone.includes(name) ? null : value]));
}

const ignoreRefusal = (error: unknown): void => {
  if (!(error instanceof AppError)) throw error; // Otherwise it moved on by itself, and is looked at again.
};

/** Who acts when a request is carried out. */
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
