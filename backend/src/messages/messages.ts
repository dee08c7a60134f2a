import {
  AppError,
  isId,
  messageReasons,
  newId,
  parseMessageKey,
  parseRecipient,
  type Address,
  type MessageResource,
} from '@chasqui/shared';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { EventRow } from '../events/event.entity.js';
import type { ReportFailure } from '../failures/failures.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import type { Media } from '../media/media.js';
import type { MessageSearch } from '../search/search.js';
import type { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import type { ListQuery } from './contract.js';
import { createAcceptance } from './accept/acceptance.js';
import type { ContentStore } from './sealed-content.js';
import type { Idempotency, IdempotencyKey } from './accept/idempotency.js';
import { createHeldMessages, type HeldDecision } from './send/held.js';
import { listMessages } from './read/list.js';
import { Message } from './message.entity.js';
import { newRow, type NewMessage } from './accept/new-message.js';
import { otherKeyOf } from './receive/observed-identity.js';
import { idsIn, presentMessage } from './read/present.js';
import { createQueueLimit } from './accept/queue-limit.js';
import type { Quotas } from './quotas/quotas.js';
import { requireReservedId } from './accept/recipients.js';
import type { MessageState } from './state.js';
import { timelineEntry } from './read/timeline.js';

export interface MessageDefaults {
  countryCode: string | undefined;
  maxQueued: number;
}

export type Messages = ReturnType<typeof createMessages>;

export function createMessages({
  database,
  events,
  contacts,
  eventsOf,
  state,
  media,
  idempotency,
  quotas,
  report,
  contents,
  storageOf,
  search,
  clock,
  defaults,
}: {
  database: Database;
  events: Events;
  contacts: Pick<Contacts, 'people' | 'formsOf'>;
  /** The log's rows of one message, in order. */
  eventsOf: (accountId: string, messageId: string) => Promise<EventRow[]>;
  state: MessageState;
  media: Media;
  idempotency: Idempotency;
  quotas: Quotas;
  report: ReportFailure;
  contents: ContentStore;
  storageOf: StorageOf;
  search: Pick<MessageSearch, 'find'>;
  clock: Clock;
  defaults: MessageDefaults;
}) {
  const rows = database.reader.getRepository(Message);
  const held = createHeldMessages({ database, state });
  const enterQueue = createQueueLimit({ most: defaults.maxQueued, now: clock.monotonic });
  const take = createAcceptance({ database, events, contacts, media, idempotency, enterQueue, quotas, report });
  const waiting = new Map<string, Set<() => void>>();
  let isClosing = false;
  events.subscribe((event) => {
    if (event.messageId) for (const wake of waiting.get(event.messageId) ?? []) wake();
  });

  let lastIdMs = 0;
  /** The time that a new id carries. It never goes back, so that ids sort in the order of acceptance after the clock was set back. */
  const idMs = (nowMs: number): number => (lastIdMs = nowMs >= lastIdMs ? nowMs : lastIdMs + 1);

  /** Accepts a message: when this resolves, it is on disk, and whatever crashes it ends in one true state. */
  async function accept(session: Session, wish: NewMessage, key: IdempotencyKey | null): Promise<Message> {
    requireReservedId(wish.recipient);
    requireConnected(session, wish.options.queueIfOffline);
    const now = clock.now();
    const message = newRow(newId(idMs(now.getTime())), session, wish, now);
    if ((await storageOf(session)) === 'metadata') contents.seal(message);
    // Read here, so that the commit finds them in the cache.
    await contacts.people(idsIn(message));
    await take({ session, message, key, file: wish.file });
    return message;
  }

  /**
   * One message that the caller reaches, by our id or by WhatsApp's. WhatsApp's id begins with the direction, which is part of what it names: two
   * sessions of one account that write to each other have the same key, once in each direction. Throws `SESSION_REQUIRED` when the id names a
   * message in more than one session.
   */
  async function find(caller: Caller, ref: string): Promise<Message> {
    const parsed = isId(ref) ? null : parseMessageKey(ref);
    const query = rows
      .createQueryBuilder('m')
      .where('m.accountId = :accountId AND m.deletedAt IS NULL', { accountId: caller.accountId });
    if (isId(ref)) query.andWhere('m.id = :ref', { ref });
    else
      // By session and key, which is what the index holds.
      query
        .andWhere('m.sessionId IN (SELECT s.id FROM sessions s WHERE s."accountId" = :accountId)')
        .andWhere('m.whatsappKey IN (:...keys)', { keys: parsed ? keysOf(parsed) : [ref] });
    if (parsed) query.andWhere('m.direction = :direction', { direction: parsed.fromMe ? 'outbound' : 'inbound' });
    if (caller.sessionId) query.andWhere('m.sessionId = :sessionId', { sessionId: caller.sessionId });
    const found = await query.limit(4).getMany();
    const exact = found.filter(({ whatsappId }) => whatsappId === ref);
    const [message, another] = exact.length > 0 ? exact : found;
    if (!message) throw new AppError('MESSAGE_NOT_FOUND');
    if (another) throw new AppError('SESSION_REQUIRED', {}, severalSessions);
    return message;
  }

  /** Changes one message in a transaction, from the row as it is then. `change` says what stands in the way, if anything. */
  async function alter(
    caller: Caller,
    ref: string,
    action: string,
    change: (tx: Transaction, message: Message) => Promise<AppError | null>,
  ): Promise<Message> {
    const { id } = await find(caller, ref);
    return database.write.run(async (tx) => {
      // Retention or an erasure may have deleted it since it was looked up.
      const message = await tx.manager.findOneBy(Message, { id });
      if (!message) throw new AppError('MESSAGE_NOT_FOUND');
      const obstacle = await change(tx, message);
      if (obstacle) throw obstacle;
      const { id: objectId, accountId } = message;
      await recordAudit(tx, caller, { action, objectType: 'message', objectId, accountId, at: clock.now() });
      return message;
    });
  }

  const countryOf = (session: Session): string | undefined => session.settings.countryCode ?? defaults.countryCode;
  function addressIn(input: string, session: Session, path: string): Address {
    const result = parseRecipient(input, countryOf(session));
    if (!result.ok) throw invalidRecipient(input, path, result.message);
    return result.address;
  }

  return {
    accept,
    /**
     * Decides on all messages of a session that were accepted for the WhatsApp account before the present one: `send` them as the present one, or
     * `cancel` them. What may have left already is not touched by `send`.
     */
    async decideHeld(caller: Caller, session: Session, decision: 'send' | 'cancel'): Promise<HeldDecision> {
      const decided = await held.decide(session.id, decision);
      const entry = { action: `message.held_${decision}`, objectType: 'session', objectId: session.id, changes: { ...decided } };
      // After the last commit, because only then the number is known. A change without an entry is better than an entry without one.
      await database.write.run((tx) => recordAudit(tx, caller, { ...entry, accountId: session.accountId, at: clock.now() }));
      return decided;
    },
    find,
    /** Messages as they leave the API, completed by what is known now of the people in them. In the same order. */
    async present(list: readonly Message[]): Promise<MessageResource[]> {
      const people = await contacts.people(list.flatMap(idsIn));
      return list.map((message) => presentMessage(message, people));
    },
    storageOf,
    mayAccept: requireConnected,
    byId: (id: string): Promise<Message | null> => rows.findOneBy({ id }),

    countryOf,
    recipient: (input: string, session: Session): Address => addressIn(input, session, 'recipient'),
    /** Like `recipient`, and refuses what is no person. */
    person(input: string, session: Session, path: string): Address {
      const address = addressIn(input, session, path);
      if (address.kind === 'phone' || address.kind === 'lid') return address;
      throw invalidRecipient(input, path, 'This is a chat, not a person. Name a phone number, …@c.us or …@lid.');
    },

    /**
     * A quoted message by our id or WhatsApp's, as WhatsApp writes it. One of ours that has not left yet cannot be quoted: it is refused
     * here, because nothing ever goes out unquoted that was meant as an answer. Throws `MESSAGE_NOT_FOUND`.
     */
    async quoted(caller: Caller, ref: string | undefined, ignoreErrors: boolean): Promise<string | null> {
      if (!ref) return null;
      const message = await find(caller, ref).catch((error: unknown) => {
        if (error instanceof AppError && error.code === 'MESSAGE_NOT_FOUND') return null;
        throw error;
      });
      // An id of WhatsApp's that we never saw may be in the page all the same; the engine looks.
      const whatsappId = message ? message.whatsappId : isId(ref) ? null : ref;
      if (whatsappId || ignoreErrors) return whatsappId;
      throw new AppError('MESSAGE_NOT_FOUND', { field: 'quotedMessageId' }, messageReasons.QUOTED_MESSAGE_NOT_FOUND);
    },

    /** Answers every caller of `outcome` with the message as it is, now and from now on: for the stop. */
    endWaiting(): void {
      isClosing = true;
      for (const wakes of waiting.values()) for (const wake of wakes) wake();
    },

    /** The message once it is sent, failed or uncertain, or as it is when the time is up. A caller that hangs up changes nothing. */
    async outcome(id: string, waitMs: number): Promise<Message> {
      const until = performance.now() + waitMs;
      for (;;) {
        let wake = (): void => undefined;
        const woken = new Promise<void>((resolve) => (wake = resolve));
        const set = waiting.get(id) ?? new Set();
        waiting.set(id, set.add(wake));
        try {
          const [message] = await readRows(database.reader, Message, 'id = ?', [id]);
          if (!message) throw new AppError('MESSAGE_NOT_FOUND');
          const left = until - performance.now();
          if (left <= 0 || isClosing || !['queued', 'sending'].includes(message.status)) return message;
          // Another backend may have sent it, whose events this one does not hear: look again now and then.
          const timer = setTimeout(wake, Math.min(left, 500));
          await woken;
          clearTimeout(timer);
        } finally {
          set.delete(wake);
          if (set.size === 0) waiting.delete(id);
        }
      }
    },

    /** `session` gives the country of numbers that begin with 0; null: the installation's. */
    list: (accountId: string, sessionId: string | null, query: ListQuery, session: Session | null) =>
      listMessages(
        { reader: database.reader, contacts, search },
        { accountId, sessionId, query, countryCode: session?.settings.countryCode ?? defaults.countryCode },
      ),

    async timeline(caller: Caller, ref: string) {
      const message = await find(caller, ref);
      return (await eventsOf(message.accountId, message.id)).flatMap(timelineEntry);
    },

    retry: (caller: Caller, ref: string): Promise<Message> =>
      alter(caller, ref, 'message.retry', async (tx, message) => {
        if (message.content === null && message.sealed === null) return new AppError('CONTENT_WIPED');
        const expiresAt = message.expiresAt ? new Date(clock.now().getTime() + age(message)) : null;
        const isOurs = message.direction === 'outbound' && message.origin !== 'device';
        const fields = { nextAttemptAt: null, expiresAt, ...(await held.acceptedNow(tx, message.sessionId)) };
        const moved = isOurs && (await state.move(tx, message, 'queued', { from: ['failed'], fields }));
        return moved ? null : new AppError('MESSAGE_NOT_RETRYABLE', { status: message.status });
      }),
    cancel: (caller: Caller, ref: string): Promise<Message> =>
      alter(caller, ref, 'message.cancel', async (tx, message) =>
        (await state.move(tx, message, 'cancelled', { from: ['queued'] }))
          ? null
          : new AppError('MESSAGE_NOT_CANCELLABLE', { status: message.status }),
      ),
    resolve: (caller: Caller, ref: string, as: 'sent' | 'failed' | 'retry'): Promise<Message> =>
      alter(caller, ref, `message.resolve_${as}`, async (tx, message) => {
        const from = ['uncertain'] as const;
        const moved =
          as === 'sent'
            ? await state.move(tx, message, 'sent', { from })
            : as === 'failed'
              ? await state.move(tx, message, 'failed', {
                  from,
                  reason: 'SETTLED_AS_FAILED',
                  fields: { hasUncertainAttempt: true },
                })
              : await state.move(tx, message, 'queued', {
                  from,
                  reason: 'SETTLED_AS_RETRY',
                  fields: { nextAttemptAt: null, hasUncertainAttempt: true, ...(await held.acceptedNow(tx, message.sessionId)) },
                });
        return moved ? null : new AppError('MESSAGE_NOT_UNCERTAIN', { status: message.status });
      }),
  };
}

const invalidRecipient = (input: string, path: string, message: string): AppError =>
  new AppError('INVALID_RECIPIENT', { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] }, message);

/** The keys under which a message that WhatsApp names so may be stored: its own, and another where somebody else had taken that. */
function keysOf({ fromMe, chatId, key, participant }: NonNullable<ReturnType<typeof parseMessageKey>>): string[] {
  const isPrivate = /@(c\.us|lid|s\.whatsapp\.net)$/.test(chatId);
  const writer = isPrivate ? chatId : participant;
  return fromMe || writer === null ? [key] : [key, otherKeyOf(key, isPrivate ? '' : chatId, writer)];
}

const severalSessions =
  'Messages of several sessions have this id. Name the session with the header X-Session-Id, or use the id that this API gave.';

/** A retry gets as long to leave as the first acceptance did. */
const age = (message: Message): number => (message.expiresAt ? message.expiresAt.getTime() - message.createdAt.getTime() : 0);

/** Nothing is stored for a session that cannot send now, unless the caller asks to wait. */
function requireConnected(session: Session, queueIfOffline: boolean): void {
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
  if (session.status === 'connected' || queueIfOffline || session.settings.queueIfOffline) return;
  throw new AppError('SESSION_NOT_CONNECTED', {
    status: session.status,
    reason: session.reasonCode ? { code: session.reasonCode, message: session.reasonText } : null,
  });
}
