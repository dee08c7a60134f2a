/* eslint-disable max-lines -- the interface of all decisions on messages, and its verbs */
import {
  AppError,
  isId,
  messageReasons,
  newId,
  phoneOf,
  type Address,
  type FoundMessageResource,
  type KnownPerson,
  type MessageResource,
  type ObservedMessage,
  type OutputOf,
  type StoredContent,
  type Warning,
} from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Plans } from '../accounts/plans.js';
import { recordAudit } from '../audit/audit.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { lockRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import { readable } from '../db/unreadable.js';
import type { EventRow } from '../events/event.entity.js';
import type { Media } from '../media/media.js';
import type { MessageSearch } from '../search/search.js';
import { timezoneOf } from '../sessions/quiet-hours.js';
import { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { acceptInside, acceptOnce, acceptWithin, contentColumns } from './accept/accept-within.js';
import { createAcceptance, type Acceptances, type AcceptTraces } from './accept/acceptance.js';
import type { Idempotency, IdempotencyKey } from './accept/idempotency.js';
import { newRow, type NewMessage } from './accept/new-message.js';
import { createQueueLimit } from './accept/queue-limit.js';
import { parseAddressInput, parsePersonInput, requireReservedId } from './accept/recipients.js';
import { resolveSchedule, type ScheduledTime, type ScheduleInput } from './accept/schedule.js';
import type { ListQuery, timeline as timelineRoute } from './contract.js';
import { Message } from './message.entity.js';
import type { Quotas } from './quotas/quotas.js';
import { findMessage } from './read/find.js';
import { presentFound } from './read/found.js';
import { listMessages, type MessagePage } from './read/list.js';
import { idsIn, presentMessage } from './read/present.js';
import { timelineEntry } from './read/timeline.js';
import type { ContentStore } from './sealed-content.js';
import { createHeldMessages, type HeldDecision, type HeldMessages } from './send/held.js';
import { createOutcomeWaits } from './send/outcome-waits.js';
import { quietEnd, quietFields } from './send/quiet.js';
import type { MessageState } from './state.js';

export type { NewMessage } from './accept/new-message.js';

/** Messages of all accounts: accepting, finding and deciding on them. A caller reaches only the messages of its account, and of its session if it is bound to one. */
export interface Messages {
  /**
   * Accepts a message. When it resolves, the message is on disk, and after any crash it ends in one true state. Throws `RECIPIENT_NOT_SUPPORTED`,
   * `SESSION_NOT_CONNECTED`, `SESSION_SUSPENDED`, `QUEUE_FULL`, `QUOTA_EXCEEDED` and `IDEMPOTENCY_IN_PROGRESS`; then nothing is stored.
   */
  accept(session: Session, input: NewMessage, key: IdempotencyKey | null): Promise<Accepted>;
  /**
   * Accepts a message in the transaction of its caller, for a change that must commit with it; `id` is its id, so that a repeat has the same one.
   * Throws `QUEUE_FULL` and `QUOTA_EXCEEDED`; then nothing of the message was written, and the transaction may go on. The caller must have locked
   * the session's row.
   */
  acceptWithin(tx: Transaction, session: Session, input: NewMessage, id?: string): Promise<Message>;
  /** Seals the content of a message where the storage mode withholds it, so that a message of which it was deleted can be sent again. */
  contentColumns(tx: Transaction, session: Session, input: NewMessage, id: string): Promise<Partial<Message>>;
  /**
   * Accepts a message without a file inside the caller's transaction, for a session that may be offline. Returns null if it cannot be accepted: the
   * session is suspended, its queue is full, or a quota is used up.
   */
  acceptInside(tx: Transaction, session: Session, input: NewMessage): Promise<Message | null>;
  /**
   * Accepts an automatic message in the caller's transaction, which has locked the session: at most one for each `subject` of a session, whatever
   * it waits for. Returns its id, also if it was accepted before. Null: it does not fit into the queue or the quotas, and nothing is stored.
   */
  acceptOnce(tx: Transaction, session: Session, input: NewMessage, subject: string): Promise<string | null>;
  /** Throws `SESSION_SUSPENDED` or `SESSION_NOT_CONNECTED` if the session cannot send now and neither the caller nor its settings ask to wait. */
  requireSendable(session: Session, queueIfOffline: boolean): void;
  /**
   * Returns the instant of `scheduledAt` and what is to be said of it; null without it. Throws `SCHEDULE_IN_PAST` and `VALIDATION_FAILED`. See
   * accept/schedule.ts.
   */
  scheduleOf(session: Session, input: ScheduleInput): Promise<ScheduledTime | null>;
  /** Resolves to the message once it is neither `queued` nor `sending`, or waits for the end of quiet hours, or as it is after `waitMs`. Throws `MESSAGE_NOT_FOUND`. */
  outcome(id: string, waitMs: number): Promise<Message>;
  /** Ends all present and future waits of `outcome`, for the stop. */
  endWaiting(): void;

  /** Returns a message by our id or by WhatsApp's. Throws `MESSAGE_NOT_FOUND`, and `SESSION_REQUIRED` if messages of several sessions have the id. */
  find(caller: Caller, ref: string): Promise<Message>;
  /** Returns a message of any account by our id. */
  byId(id: string): Promise<Message | null>;
  /**
   * Returns messages as they leave the API, in the same order, with what is known now of the people in them. `namesVersion`: that of the page of
   * messages, which saves a statement.
   */
  present(messages: readonly Message[], namesVersion?: number): Promise<MessageResource[]>;
  /** Returns messages that were read in WhatsApp as they leave the API, in the same order. See `read/found.ts`. */
  presentFound(session: Session, found: readonly ObservedMessage[]): Promise<FoundMessageResource[]>;
  /** Returns a page of messages. `session` determines the country of numbers that begin with 0; null: the installation's country. */
  list(accountId: string, sessionId: string | null, query: ListQuery, session: Session | null): Promise<MessagePage>;
  /** Returns the changes of a message's status, oldest first. Throws like `find`. */
  timeline(caller: Caller, ref: string): Promise<OutputOf<typeof timelineRoute>>;

  /** Returns the country code of numbers that begin with 0. */
  countryOf(session: Session): string | undefined;
  /** Returns what becomes of lists and buttons in a session. */
  interactiveMode(session: Session): 'fallback' | 'reject';
  /** Parses the recipient of a message. Throws `INVALID_RECIPIENT`. */
  recipient(input: string, session: Session): Address;
  /** Parses a person, in the field `path` of a request. Throws `INVALID_RECIPIENT`, also for groups and channels. */
  person(input: string, session: Session, path: string): Address;
  /** Returns the people that the session knows among these, by `id` as it is given. `path`: the field of the request. Throws as `person`. */
  known(session: Session, named: readonly { path: string; id: string }[]): Promise<Map<string, KnownPerson>>;
  /**
   * Returns WhatsApp's id of a quoted message; null without `ref`. One of ours that is not sent yet cannot be quoted: it is refused, because a
   * reply must not leave without its quote. Throws `MESSAGE_NOT_FOUND` unless `ignoreErrors` is set.
   */
  quoted(caller: Caller, ref: string | undefined, ignoreErrors: boolean): Promise<string | null>;
  storageOf: StorageOf;
  /** Returns the content of a message, opened if it is sealed. Null if it was removed or withheld. */
  contentOf(message: Message): StoredContent | null;

  /** Queues a failed message again, under the same WhatsApp id. Throws `MESSAGE_NOT_RETRYABLE`, `CONTENT_WIPED` and `QUOTA_EXCEEDED`. */
  retry(caller: Caller, ref: string): Promise<Message>;
  /** Moves a scheduled message to another time; the end of its life moves with it. Throws `MESSAGE_NOT_SCHEDULED`, and like `scheduleOf`. */
  reschedule(caller: Caller, ref: string, input: ScheduleInput): Promise<{ message: Message; warnings: Warning[] }>;
  /** Cancels a scheduled or queued message. It becomes `uncertain` if an earlier attempt may have been sent. Throws `MESSAGE_NOT_CANCELLABLE`. */
  cancel(caller: Caller, ref: string): Promise<Message>;
  /** Settles an uncertain message as a person says. Throws `MESSAGE_NOT_UNCERTAIN`. */
  resolve(caller: Caller, ref: string, as: 'sent' | 'failed' | 'retry'): Promise<Message>;
  /**
   * Decides on all messages of a session that were accepted for an earlier WhatsApp account: `send` them as the current account, or `cancel` them.
   * `send` skips messages that may have been sent already.
   */
  decideHeld(caller: Caller, session: Session, decision: 'send' | 'cancel'): Promise<HeldDecision>;
}

export interface Accepted {
  message: Message;
  /** The message as its event shows it, in the form of the API. */
  published: MessageResource;
}

export interface MessageDefaults {
  countryCode: string | undefined;
  interactiveMode: 'fallback' | 'reject';
  /** The maximum number of queued messages of a session. */
  maxQueued: number;
}

export interface MessageParts {
  contacts: Pick<Contacts, 'people' | 'formsOf'>;
  /** Returns the events of one message, in order. */
  eventsOf: (accountId: string, messageId: string) => Promise<EventRow[]>;
  state: MessageState;
  media: Pick<Media, 'attach' | 'discard'>;
  idempotency: Idempotency;
  quotas: Quotas;
  contents: ContentStore;
  storageOf: StorageOf;
  limitsOf: Plans['limitsOf'];
  search: Pick<MessageSearch, 'find'>;
  /** Null or absent: no traces are written. */
  traces?: AcceptTraces | null;
  defaults: MessageDefaults;
}

interface Context extends Core, MessageParts {
  held: HeldMessages;
  /** Writes the message; see acceptance.ts. */
  store: Acceptances;
  /** Returns the time for a new message's id. It never goes back, so ids sort in the order of acceptance even after the clock was set back. */
  idTime: (now: Date) => number;
}

export function createMessages(core: Core, parts: MessageParts): Messages {
  const { database, clock } = core;
  const { contacts, media, idempotency, quotas, defaults, storageOf, state, traces = null } = parts;
  const enterQueue = createQueueLimit({ maxQueued: defaults.maxQueued, now: clock.monotonic });
  const store = createAcceptance(core, { contacts, media, idempotency, quotas, enterQueue, traces });
  const waits = createOutcomeWaits(core);
  const context: Context = { ...core, ...parts, held: createHeldMessages(core, { state }), store, idTime: createIdTime() };
  return {
    accept: (session, input, key) => accept(context, session, input, key),
    acceptWithin: (tx, session, input, id) => acceptWithin(context, tx, session, input, id),
    contentColumns: (tx, session, input, id) => contentColumns(context, tx, session, input, id),
    acceptInside: (tx, session, input) => acceptInside(context, tx, session, input),
    acceptOnce: (tx, session, input, subject) => acceptOnce(context, tx, session, input, subject),
    requireSendable,
    scheduleOf: (session, input) => scheduleOf(context, session, input),
    outcome: waits.outcome,
    endWaiting: waits.end,
    find: (caller, ref) => findMessage(database.reader, caller, ref),
    byId: (id) => database.reader.getRepository(Message).findOneBy({ id }),
    present: (messages, namesVersion) => present(context, messages, namesVersion),
    presentFound: (session, found) => presentFound(database.reader, contacts, session, found),
    list: (accountId, sessionId, query, session) =>
      listMessages(
        { reader: database.reader, ...parts },
        { accountId, sessionId, query, countryCode: session ? countryOf(context, session) : defaults.countryCode },
      ),
    timeline: (caller, ref) => timeline(context, caller, ref),
    interactiveMode: (session) => session.settings.interactiveMode ?? defaults.interactiveMode,
    countryOf: (session) => countryOf(context, session),
    recipient: (input, session) => parseAddressInput(input, 'recipient', countryOf(context, session)),
    person: (input, session, path) => parsePersonInput(input, path, countryOf(context, session)),
    known: (session, named) => knownPeople(context, session, named),
    quoted: (caller, ref, ignoreErrors) => quoted(context, caller, ref, ignoreErrors),
    storageOf,
    contentOf: (message) => parts.contents.open({ ...message, content: readable(message.content, null) })?.content ?? null,
    retry: (caller, ref) => retry(context, caller, ref),
    reschedule: (caller, ref, input) => reschedule(context, caller, ref, input),
    cancel: (caller, ref) => cancel(context, caller, ref),
    resolve: (caller, ref, as) => resolve(context, caller, ref, as),
    decideHeld: (caller, session, decision) => decideHeld(context, caller, session, decision),
  };
}

function createIdTime(): Context['idTime'] {
  let lastMs = 0;
  return (now) => (lastMs = now.getTime() >= lastMs ? now.getTime() : lastMs + 1);
}

async function accept(context: Context, session: Session, input: NewMessage, key: IdempotencyKey | null): Promise<Accepted> {
  const { clock, database, contacts, contents, idTime, storageOf, store } = context;
  requireReservedId(input.recipient, input.isStory);
  requireSendable(session, input.options.queueIfOffline || Boolean(input.scheduledAt));
  const now = clock.now();
  const message = newRow(newId(idTime(now)), session, input, now);
  if (message.status === 'queued' && message.reasonCode === null && !message.isUrgent) {
    const quiet = await quietEnd(context, database.reader, session);
    if (quiet) Object.assign(message, quietFields(quiet));
  }
  if ((await storageOf(session)) === 'metadata') contents.seal(message);
  // The commit needs these people. Read here, they are in the cache then.
  await contacts.people(idsIn(message));
  const published = await store.accept({ session, message, key, file: input.file });
  return { message, published };
}

function requireSendable(session: Session, queueIfOffline: boolean): void {
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED', { reason: session.reasonText });
  if (session.status === 'connected' || queueIfOffline || session.settings.queueIfOffline) return;
  throw new AppError('SESSION_NOT_CONNECTED', {
    status: session.status,
    reason: session.reasonCode ? { code: session.reasonCode, message: session.reasonText } : null,
  });
}

async function present({ contacts }: Context, messages: readonly Message[], namesVersion?: number): Promise<MessageResource[]> {
  const people = await contacts.people(messages.flatMap(idsIn), undefined, namesVersion);
  return messages.map((message) => presentMessage(message, people));
}

async function timeline({ database, eventsOf }: Context, caller: Caller, ref: string) {
  const message = await findMessage(database.reader, caller, ref);
  return (await eventsOf(message.accountId, message.id)).flatMap(timelineEntry);
}

const countryOf = ({ defaults }: Context, session: Session): string | undefined =>
  readable(session.settings, null)?.countryCode ?? defaults.countryCode;

async function knownPeople(
  context: Context,
  session: Session,
  named: readonly { path: string; id: string }[],
): Promise<Map<string, KnownPerson>> {
  if (named.length === 0) return new Map();
  const country = countryOf(context, session);
  const asked = named.map(({ path, id }) => ({ id, waId: parsePersonInput(id, path, country).id }));
  const people = await context.contacts.people(asked.map(({ waId }) => ({ sessionId: session.id, waId })));
  const known = new Map<string, KnownPerson>();
  for (const { id, waId } of asked) {
    const person = people(session.id, waId);
    if (person) known.set(id, { name: person.name, phone: person.phone ?? phoneOf(waId) });
  }
  return known;
}

async function quoted(
  { database }: Context,
  caller: Caller,
  ref: string | undefined,
  ignoreErrors: boolean,
): Promise<string | null> {
  if (!ref) return null;
  const message = await findMessage(database.reader, caller, ref).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'MESSAGE_NOT_FOUND') return null;
    throw error;
  });
  // The page may have a message that is not recorded here. For an id of WhatsApp's, the engine looks there.
  const whatsappId = message ? message.whatsappId : isId(ref) ? null : ref;
  if (whatsappId || ignoreErrors) return whatsappId;
  throw new AppError('MESSAGE_NOT_FOUND', { field: 'quotedMessageId' }, messageReasons.QUOTED_MESSAGE_NOT_FOUND);
}

const retry = (context: Context, caller: Caller, ref: string): Promise<Message> =>
  change(context, caller, ref, 'message.retry', async (tx, message) => {
    const { held, state } = context;
    if (message.content === null && message.sealed === null) return new AppError('CONTENT_WIPED');
    const isOurs = message.direction === 'outbound' && message.origin !== 'device';
    const fields = {
      nextAttemptAt: null,
      expiresAt: expiryOfRetry(context, message),
      ...(await held.currentAccountFields(tx, message.sessionId)),
    };
    const moved = isOurs && (await state.move(tx, message, 'queued', { from: ['failed'], fields }));
    return moved ? null : new AppError('MESSAGE_NOT_RETRYABLE', { status: message.status });
  });

async function scheduleOf({ clock, limitsOf }: Context, session: Session, input: ScheduleInput): Promise<ScheduledTime | null> {
  if (input.scheduledAt === undefined && input.timezone === undefined) return null;
  const zone = timezoneOf(session.settings, (await limitsOf(session.accountId)).timezone);
  return resolveSchedule(input, zone, clock.now());
}

async function reschedule(
  context: Context,
  caller: Caller,
  ref: string,
  input: ScheduleInput,
): Promise<{ message: Message; warnings: Warning[] }> {
  const { database, state } = context;
  const { sessionId } = await findMessage(database.reader, caller, ref);
  const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
  const time = await scheduleOf(context, session, input);
  if (!time) throw new AppError('SCHEDULE_IN_PAST');
  const message = await change(context, caller, ref, 'message.reschedule', async (tx, message) => {
    const { scheduledAt, expiresAt } = message;
    const laterMs = scheduledAt ? time.at.getTime() - scheduledAt.getTime() : 0;
    const changes = {
      scheduledAt: time.at,
      nextAttemptAt: time.at,
      expiresAt: expiresAt && new Date(expiresAt.getTime() + laterMs),
      reasonCode: null,
      reasonText: null,
    };
    const isMoved = message.status === 'scheduled' && (await state.reschedule(tx, message, changes));
    return isMoved ? null : new AppError('MESSAGE_NOT_SCHEDULED', { status: message.status });
  });
  return { message, warnings: time.warnings };
}

const cancel = (context: Context, caller: Caller, ref: string): Promise<Message> =>
  change(context, caller, ref, 'message.cancel', async (tx, message) => {
    const moved = await context.state.move(tx, message, 'cancelled', { from: ['scheduled', 'queued'] });
    return moved ? null : new AppError('MESSAGE_NOT_CANCELLABLE', { status: message.status });
  });

const resolve = (context: Context, caller: Caller, ref: string, as: 'sent' | 'failed' | 'retry'): Promise<Message> =>
  change(context, caller, ref, `message.resolve_${as}`, async (tx, message) => {
    const moved = await settle(context, tx, message, as);
    return moved ? null : new AppError('MESSAGE_NOT_UNCERTAIN', { status: message.status });
  });

/** A retry may wait as long as the message could at first. */
const expiryOfRetry = ({ clock }: Context, { expiresAt, createdAt, scheduledAt }: Message): Date | null =>
  expiresAt && new Date(clock.now().getTime() + expiresAt.getTime() - (scheduledAt ?? createdAt).getTime());

async function settle(context: Context, tx: Transaction, message: Message, as: 'sent' | 'failed' | 'retry'): Promise<boolean> {
  const { held, state } = context;
  const from = ['uncertain'] as const;
  switch (as) {
    case 'sent':
      return state.move(tx, message, 'sent', { from });
    case 'failed':
      return state.move(tx, message, 'failed', { from, reason: 'SETTLED_AS_FAILED', fields: { hasUncertainAttempt: true } });
    case 'retry': {
      const accepted = await held.currentAccountFields(tx, message.sessionId);
      const fields = {
        nextAttemptAt: null,
        hasUncertainAttempt: true,
        expiresAt: expiryOfRetry(context, message),
        ...accepted,
      };
      return state.move(tx, message, 'queued', { from, reason: 'SETTLED_AS_RETRY', fields });
    }
  }
}

/** Changes one message in a transaction, from its row as it is then. `run` returns the error if the message cannot be changed. */
async function change(
  { database, clock }: Context,
  caller: Caller,
  ref: string,
  action: string,
  run: (tx: Transaction, message: Message) => Promise<AppError | null>,
): Promise<Message> {
  const { id, sessionId } = await findMessage(database.reader, caller, ref);
  return database.write.run(async (tx) => {
    // Closes: another writer changes the message after it is read. Every change of a status locks the session first.
    await lockRows(tx, Session, [sessionId]);
    // Closes: a retention run or an erasure deletes the message after it was found.
    const message = await tx.manager.findOneBy(Message, { id });
    if (!message) throw new AppError('MESSAGE_NOT_FOUND');
    const error = await run(tx, message);
    if (error) throw error;
    const { id: objectId, accountId } = message;
    await recordAudit(tx, caller, { action, objectType: 'message', objectId, accountId, at: clock.now() });
    return message;
  });
}

async function decideHeld(
  { database, clock, held }: Context,
  caller: Caller,
  session: Session,
  decision: 'send' | 'cancel',
): Promise<HeldDecision> {
  const decided = await held.decide(session.id, decision);
  const { id: objectId, accountId } = session;
  const entry = { action: `message.held_${decision}`, objectType: 'session', objectId, changes: { ...decided }, accountId };
  // Written after the last commit, because the number is known only then. A change without an entry is better than an entry without a change.
  await database.write.run((tx) => recordAudit(tx, caller, { ...entry, at: clock.now() }));
  return decided;
}
