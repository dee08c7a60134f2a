import { AppError, newId } from '@chasqui/shared';
import type { Core } from '../../core.js';
import { readRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import { createItemBackoff } from '../../lib/item-backoff.js';
import { errorFields } from '../../lib/log.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { OperatedMessages } from './operated.js';

/**
 * Marks received messages as seen in sessions with the setting `autoRead`, after they were recorded: no message waits for it. WhatsApp marks whole
 * chats, so each chat is marked once for all its new messages.
 *
 * | the process dies | on disk | what the next one does |
 * | --- | --- | --- |
 * | before the page is asked | the messages are `delivered` | marks their chats |
 * | after the page has marked a chat | the same | marks it again, which changes nothing for the sender |
 * | after the messages became `read` | `read` | nothing |
 *
 * Messages from before the setting was switched on are marked only with a later one of their chat. Those that could not be marked within a day stay as
 * they are.
 */
export interface AutoRead {
  /** Starts to look for messages: after each one that is recorded, and every 30 seconds. */
  start(): void;
  /** Resolves when the running marks have ended. */
  stop(): Promise<void>;
}

export interface AutoReadParts {
  /** Marks the chat of a message as seen in WhatsApp. Throws an `AppError` if that did not happen, or is unknown. */
  markSeen: (session: Session, message: Message) => Promise<void>;
  operated: Pick<OperatedMessages, 'seen'>;
  /** How often all sessions are looked at. Milliseconds. */
  pollMs?: number;
}

interface Context extends Core, AutoReadParts {
  /** Sessions whose messages are being marked. */
  running: Map<string, Promise<void>>;
  /** Of these, the ones that got another message meanwhile. */
  again: Set<string>;
  /** Per session: no message with this id or a lower one is to be marked. */
  done: Map<string, string>;
  /** Chats that could not be marked. */
  postponed: ReturnType<typeof createItemBackoff>;
  attempts: Map<string, number>;
  isStopped: boolean;
}

const usualPollMs = 30_000;
/** Messages that arrive together are marked together. */
const gatherMs = 50;
const windowMs = 86_400_000;
const maxMessages = 500;
/** Then the chat is left as it is until its next message. */
const maxAttempts = 8;

export function createAutoRead(core: Core, parts: AutoReadParts): AutoRead {
  const context: Context = {
    ...core,
    ...parts,
    running: new Map(),
    again: new Set(),
    done: new Map(),
    postponed: createItemBackoff(core.clock),
    attempts: new Map(),
    isStopped: false,
  };
  let timer: NodeJS.Timeout | undefined;
  let unsubscribe = (): void => undefined;
  return {
    start() {
      unsubscribe = core.events.subscribe(({ type, sessionId }) => {
        if (sessionId && (type === 'message.received' || type === 'session.status')) wake(context, sessionId);
      });
      timer = setInterval(() => void wakeAll(context), parts.pollMs ?? usualPollMs);
      timer.unref();
      void wakeAll(context);
    },
    async stop() {
      context.isStopped = true;
      unsubscribe();
      clearInterval(timer);
      await Promise.allSettled(context.running.values());
    },
  };
}

async function wakeAll(context: Context): Promise<void> {
  const sql = `SELECT id FROM sessions WHERE "autoReadSince" IS NOT NULL AND status = 'connected' AND "deletedAt" IS NULL`;
  try {
    const { rows } = await runStatement<{ id: string }>(context.database.reader, sql, []);
    for (const { id } of rows) wake(context, id);
  } catch (error) {
    context.log.error('Messages to be marked as seen could not be scanned; the scan is retried.', errorFields(error));
  }
}

/** Marks what is due of a session, or once more after the marks that run. */
function wake(context: Context, sessionId: string): void {
  const { running, again } = context;
  if (context.isStopped) return;
  if (running.has(sessionId)) return void again.add(sessionId);
  const marking = gathered()
    .then(() => markDue(context, sessionId))
    .catch((error: unknown) =>
      context.log.error('Messages could not be marked as seen; it is retried.', { sessionId, ...errorFields(error) }),
    )
    .finally(() => {
      running.delete(sessionId);
      if (again.delete(sessionId)) wake(context, sessionId);
    });
  running.set(sessionId, marking);
}

const gathered = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, gatherMs));

async function markDue(context: Context, sessionId: string): Promise<void> {
  const { database, done } = context;
  const [session] = await readRows(database.reader, Session, 'id = ? AND "deletedAt" IS NULL', [sessionId]);
  if (context.isStopped || !session?.autoReadSince || session.status !== 'connected') return;
  const due = await dueMessages(context, session, session.autoReadSince);
  const chats = new Map(due.map((message) => [message.chatId, message]));
  const left = new Set<string>();
  for (const message of chats.values()) if (!(await isMarked(context, session, message))) left.add(message.chatId);
  const first = due.findIndex(({ chatId }) => left.has(chatId));
  const last = first === -1 ? due.at(-1) : due[first - 1];
  if (last) done.set(sessionId, last.id);
  if (due.length === maxMessages && first === -1) context.again.add(sessionId);
}

/** The received messages that are not marked yet, oldest first. Ids sort by the time at which a message was recorded. */
function dueMessages({ database, clock, done }: Context, session: Session, since: Date): Promise<Message[]> {
  const oldest = Math.max(since.getTime(), clock.now().getTime() - windowMs);
  const from = [done.get(session.id) ?? '', lowestIdAt(oldest)].sort().at(-1);
  const types = session.settings.autoRead === 'all' ? `('private', 'group')` : `('private')`;
  // In the order of the index `messages_due`.
  const condition = `status = 'delivered' AND "sessionId" = ? AND "nextAttemptAt" IS NULL AND id > ? AND direction = 'inbound'
    AND "chatType" IN ${types} AND type <> 'notice' AND "timestamp" > ? AND "whatsappId" IS NOT NULL ORDER BY id LIMIT ${maxMessages}`;
  return readRows(database.reader, Message, condition, [session.id, from, oldest - windowMs]);
}

/** Lower than every id of this millisecond, and higher than those before it. */
const lowestIdAt = (ms: number): string => newId(ms).slice(0, 13);

/** Marks the chat of its newest message. Returns false if that is to be tried again. */
async function isMarked(context: Context, session: Session, message: Message): Promise<boolean> {
  const { postponed, attempts, markSeen, operated, log } = context;
  const name = `${session.id} ${message.chatId}`;
  if (context.isStopped || postponed.has(name)) return false;
  try {
    await markSeen(session, message);
    // Messages that came after the page was asked may not be seen yet.
    await operated.seen(session, message, message.id);
  } catch (error) {
    const count = (attempts.get(name) ?? 0) + 1;
    const isLast = count >= maxAttempts || (error instanceof AppError && error.code === 'CHAT_NOT_FOUND');
    if (isLast) attempts.delete(name);
    else attempts.set(name, count);
    const inMs = isLast ? null : postponed.add(name);
    if (inMs !== null) setTimeout(() => wake(context, session.id), inMs).unref();
    log.warn('A chat could not be marked as seen.', {
      sessionId: session.id,
      messageId: message.id,
      inMs,
      ...errorFields(error),
    });
    return isLast;
  }
  attempts.delete(name);
  postponed.delete(name);
  return true;
}
