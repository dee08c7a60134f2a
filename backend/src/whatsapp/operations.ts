import {
  AppError,
  capability,
  compatReport,
  defineRoute,
  instant,
  operationIds,
  isId,
  operationRoute,
  operationRoutes,
  operations,
  parseMessageKey,
  type Capability,
  type Operation,
  type OperationId,
  type OperationOutput,
  type SelfCheck,
} from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import { z } from 'zod';
import type { Caller, Mount } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Database } from '../db/database.js';
import { readable } from '../db/unreadable.js';
import type { Clock } from '../lib/clock.js';
import { uploadOf } from '../lib/uploads.js';
import type { Media } from '../media/media.js';
import type { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import { reasonOf } from '../sessions/present.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { outputOf, type OutgoingFile } from './client.js';
import { fileOf, withoutFile, type FileFields } from './operation-file.js';
import { addressedBy, withAddresses, withMessages } from './operation-input.js';
import { operationChecks, type LocalRuns, type OperationResults } from './operation-results.js';
import type { Gateway } from './worker-gateway.js';

export const capabilities = defineRoute({
  id: 'capabilities',
  method: 'get',
  path: '/capabilities',
  summary: 'What the current WhatsApp Web can do, and the state of each patch (meta.compat)',
  auth: 'key',
  permission: 'instance.info',
  query: z.strictObject({ sessionId: z.string().max(64).optional() }),
  reply: z.array(capability),
  errors: ['SESSION_NOT_FOUND'],
});

export const backfill = defineRoute({
  id: 'sessions.backfill',
  examples: { 'What was missed': {}, 'Since a time': { since: '2026-05-01T00:00:00Z' } },
  method: 'post',
  path: '/sessions/:sessionId/backfill',
  summary: 'Look for missed messages; ends with the event session.backfill',
  auth: 'key',
  permission: 'messages.manage',
  params: z.object({ sessionId: z.string() }),
  body: z.strictObject({
    since: instant
      .optional()
      .describe('The start of the search; by default, and at the earliest, 7 days ago. At most 1,000 messages of each chat.'),
  }),
  status: [202],
  reply: z.object({ started: z.literal(true) }),
  errors: ['SESSION_NOT_FOUND', 'SESSION_NOT_CONNECTED', 'SESSION_SUSPENDED', 'WORKER_UNAVAILABLE'],
});

const deadlineMs = 30_000;

export interface OperationParts {
  database: Pick<Database, 'write'>;
  clock: Clock;
  sessions: Sessions;
  messages: Messages;
  media: Pick<Media, 'read'>;
  run: Gateway['run'];
  results: OperationResults;
  local: LocalRuns;
  /** Calling code of the installation, for sessions that set none. */
  countryCode: string | undefined;
}

/** Mounts every row of the operations table, and the two routes about them: backfill and capabilities. */
export function mountOperations(mount: Mount, parts: OperationParts): void {
  const { sessions, run } = parts;
  for (const id of inMountingOrder(operationIds)) mountOperation(mount, parts, id);
  mount(backfill, async ({ params, body }, caller) => {
    const session = await requireConnected(sessions, caller, params.sessionId);
    const since = body.since ? { since: new Date(body.since).toISOString() } : {};
    await run(session, 'session.backfill', since, deadlineMs);
    return new Reply({ started: true as const }, { status: 202 });
  });
  mount(capabilities, async ({ query }, caller) => {
    const session = await sessions.resolve(caller, query.sessionId).catch((error: unknown) => {
      // The table alone answers for an account without a session.
      if (error instanceof AppError && !query.sessionId) return null;
      throw error;
    });
    return new Reply(capabilitiesOf(readable(session?.selfCheck ?? null, null)), {
      meta: {
        whatsappWebVersion: session?.whatsappWebVersion ?? null,
        compat: z.array(compatReport).parse(readable(session?.compat ?? null, null) ?? []),
      },
    });
  });
}

/** What a session can do, by the last check of its page; null: by the operations table alone. */
export const capabilitiesOf = (check: SelfCheck | null): Capability[] =>
  operationIds.map((id) => ({
    operation: id,
    method: operations[id].method.toUpperCase(),
    path: operationRoute(operations[id]).path,
    ...supportOf(id, check),
  }));

/** What the page can do, as it was checked. What was not checked is as the table says, without a time. */
function supportOf(id: OperationId, check: SelfCheck | null): Pick<Capability, 'support' | 'reason' | 'checkedAt'> {
  const { support, supportReason: reason } = operations[id];
  if (!check || check.unchecked.includes(id)) return { support, reason, checkedAt: null };
  const { checkedAt } = check;
  const missing = check.missing[id] ?? [];
  if (missing.length > 0) return { support: 'unsupported', reason: `WhatsApp Web has no ${missing.join(', ')}.`, checkedAt };
  // A check of an earlier version has no parts.
  const broken = check.partial?.[id] ?? [];
  if (broken.length === 0 || support === 'unsupported') return { support, reason, checkedAt };
  const sentences = broken.map(({ part, missing: names }) => `Not for ${part}: WhatsApp Web has no ${names.join(', ')}.`);
  return { support: 'degraded', reason: [...(reason === null ? [] : [reason]), ...sentences].join(' '), checkedAt };
}

/** A path with a fixed word comes before one with a parameter in its place: `/groups/invite-info` before `/groups/:groupId`. */
function inMountingOrder(ids: readonly OperationId[]): OperationId[] {
  const sortable = (id: OperationId): string => operationRoute(operations[id]).path.replaceAll(':', '\uffff');
  return [...ids].sort((one, other) => (sortable(one) < sortable(other) ? -1 : 1));
}

/** The metadata of a page of a list with cursors. */
function pageMetaOf({ cursorAfter }: Operation, input: Readonly<Record<string, unknown>>, output: unknown): object | null {
  if (!cursorAfter) return null;
  const rows = output as never[];
  const { limit, offset, cursor } = input;
  const nextCursor = rows.length > 0 && rows.length === limit ? cursorAfter(rows.at(-1)!) : null;
  return { limit, ...(cursor === undefined ? { offset } : {}), nextCursor };
}

function mountOperation<Id extends OperationId>(mount: Mount, parts: OperationParts, id: Id): void {
  const row: Operation = operations[id];
  const result = parts.results[id];
  for (const route of operationRoutes(row))
    mount(route, async ({ params, query, body }, caller, { header, res }) => {
      const fields = row.file ? withoutFile(body as object) : (body as object);
      const { sessionId, messageId, rest } = separate(row, { ...params, ...(query as object), ...fields });
      // Below a session the path names it.
      const named = sessionId === undefined ? header('X-Session-Id') : undefined;
      const local = messageId === undefined ? null : parts.local[id]?.(rest);
      if (local) {
        const message = await findNamed(parts, caller, messageId!, named);
        const reply = await audited(parts, { caller, row, input: rest, message }, () => local(message));
        return new Reply(row.reply.parse(reply), { status: row.status });
      }
      const { session, message, ...target } = await targetOf(
        parts,
        caller,
        { sessionId, messageId, chatId: rest['chatId'] },
        named,
      );
      operationChecks[id]?.(caller, rest);
      const file = await fileOf(parts.media, caller, row, { fields: body as FileFields, upload: uploadOf(res) });
      const countryCode = countryOf(parts, session);
      const withIds = await withMessages(row, rest, (ref) => whatsappIdOf(parts.messages, caller, session, ref));
      const input = {
        ...withAddresses(row, withIds, countryCode),
        ...target.named,
        ...(row.takesCountry && countryCode ? { countryCode } : {}),
      };
      const output = (await audited(parts, { caller, session, row, input, message }, () =>
        runWithRetry(parts.run, session, id, input, file),
      )) as OperationOutput<Id>;
      const reply = result ? await result({ session, caller, input, output, message, countryCode }) : output;
      const meta = pageMetaOf(row, input, output);
      return new Reply(route.reply.parse(reply), { status: row.status, ...(meta ? { meta } : {}) });
    });
}

/** The country of numbers without one. Where the settings of the session are damaged, that of the installation. */
const countryOf = (parts: OperationParts, { settings }: Session): string | undefined =>
  readable(settings, null)?.countryCode ?? parts.countryCode;

/** The parameters of a request's path, its query and its body, as one object. */
type RequestValues = Record<string, unknown> & { sessionId?: string | undefined; messageId?: string | undefined };

/** Separates the session and the message of a request from its other fields. In an operation of a session, `messageId` is an ordinary field. */
function separate({ scope }: Operation, all: Record<string, unknown>) {
  const { sessionId, messageId, ...rest } = all as RequestValues;
  const isAboutMessage = scope !== 'session';
  return {
    sessionId,
    messageId: isAboutMessage ? messageId : undefined,
    rest: isAboutMessage || messageId === undefined ? rest : { ...rest, messageId },
  };
}

/** Returns the session of a request, the message that it names, and the fields by which the worker finds that message. */
async function targetOf(
  parts: OperationParts,
  caller: Caller,
  { sessionId, messageId, chatId }: RequestValues,
  named: string | undefined,
) {
  if (sessionId === undefined) {
    const message = await findNamed(parts, caller, messageId!, named);
    return { session: await requireConnected(parts.sessions, caller, message.sessionId), message, named: namedBy(message) };
  }
  const session = await requireConnected(parts.sessions, caller, sessionId);
  if (messageId === undefined) return { session, message: null, named: {} };
  const countryCode = countryOf(parts, session);
  const inChat = withAddresses({ addresses: { chatId: 'chat' } }, { chatId }, countryCode);
  const found = await findInChat(parts, caller, session, { ref: messageId, chatId: String(inChat['chatId']) });
  return { session, ...found };
}

/** Finds the message. `named` is the header `X-Session-Id`: if it is set, only that session is searched. */
async function findNamed({ messages, sessions }: OperationParts, caller: Caller, ref: string, named: string | undefined) {
  const sessionId = named ? (await sessions.resolve(caller, named)).id : caller.sessionId;
  return messages.find({ ...caller, sessionId }, ref);
}

/** Returns WhatsApp's id of a message, for our id or for WhatsApp's own. WhatsApp also has messages that are not recorded here. */
async function whatsappIdOf(messages: Messages, caller: Caller, session: Session, ref: string): Promise<string> {
  if (parseMessageKey(ref)) return ref;
  const { whatsappId, status } = await messages.find({ ...caller, sessionId: session.id }, ref);
  if (!whatsappId)
    throw new AppError('MESSAGE_NOT_FOUND', { status }, 'WhatsApp does not have this message: it was not sent yet.');
  return whatsappId;
}

/** Finds a message of a chat. WhatsApp's id is accepted even if the message is not recorded here. Throws `MESSAGE_NOT_FOUND`, also for another chat. */
async function findInChat(
  { messages }: OperationParts,
  caller: Caller,
  session: Session,
  { ref, chatId }: { ref: string; chatId: string },
): Promise<{ message: Message | null; named: ReturnType<typeof namedBy> }> {
  const message = await messages.find({ ...caller, sessionId: session.id }, ref).catch((error: unknown) => {
    if (error instanceof AppError && error.code === 'MESSAGE_NOT_FOUND' && !isId(ref)) return null;
    throw error;
  });
  if (message) {
    const contact = readable(message.contact, null);
    if (!isIn(chatId, [message.chatId, contact?.lid, contact?.id])) throw new AppError('MESSAGE_NOT_FOUND');
    return { message, named: namedBy(message) };
  }
  const parsed = parseMessageKey(ref);
  if (!parsed || !isIn(chatId, [parsed.chatId])) throw new AppError('MESSAGE_NOT_FOUND');
  return { message: null, named: { whatsappId: ref, chatId } };
}

/** Whether a chat has one of these ids. A person's number and LID may belong together without our knowing it. Then the worker decides. */
function isIn(chatId: string, ids: readonly (string | null | undefined)[]): boolean {
  if (ids.includes(chatId)) return true;
  const server = /@(c\.us|lid)$/.exec(chatId)?.[1];
  const people = ids.filter((id) => /@(c\.us|lid)$/.test(id ?? ''));
  return server !== undefined && people.length > 0 && !people.some((id) => id!.endsWith(`@${server}`));
}

function namedBy({ whatsappId, chatId, status }: Message) {
  if (whatsappId) return { whatsappId, chatId };
  throw new AppError('MESSAGE_NOT_FOUND', { status }, 'WhatsApp does not have this message: it was not sent yet.');
}

interface Audited {
  caller: Caller;
  /** Absent if the message is enough. */
  session?: Session;
  row: Operation;
  input: Record<string, unknown>;
  message: Message | null;
}

/** Runs a change and writes an audit entry, also when its effect is unknown, because the change may have happened. */
async function audited(
  { database, clock }: OperationParts,
  { caller, session, row, input, message }: Audited,
  run: () => Promise<unknown>,
) {
  if (!row.isAudited) return run();
  const write = async (changes: Record<string, unknown>): Promise<void> => {
    const object = message ? { objectType: 'message', objectId: message.id } : { objectType: 'session', objectId: session!.id };
    const about = message ? {} : { about: addressedBy(row, input) ?? input['chatId'] ?? null };
    const { accountId } = message ?? session!;
    const entry = { action: row.id, ...object, accountId, changes: { ...about, ...changes }, at: clock.now() };
    await database.write.run((tx) => recordAudit(tx, caller, entry));
  };
  try {
    const answer = await run();
    await write({});
    return answer;
  } catch (error) {
    const effect = error instanceof AppError ? error.details['effect'] : undefined;
    if (effect !== undefined && effect !== 'none') await write({ effect });
    throw error;
  }
}

/** Returns the session of the caller. Throws `SESSION_SUSPENDED` or `SESSION_NOT_CONNECTED` unless it is connected. */
async function requireConnected(sessions: Sessions, caller: Caller, ref: string): Promise<Session> {
  const session = await sessions.find(caller, ref);
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED');
  if (session.status !== 'connected')
    throw new AppError('SESSION_NOT_CONNECTED', { status: session.status, reason: reasonOf(session) });
  return session;
}

/**
 * If the worker stops answering, or answers in another form than the contract's, a read is retried once; a write fails with effect `unknown`,
 * because it may have happened.
 */
async function runWithRetry(
  run: Gateway['run'],
  session: Session,
  id: OperationId,
  input: Record<string, unknown>,
  file: OutgoingFile | null,
): Promise<unknown> {
  const { effect, output } = operations[id];
  const stoppedAnswering = (error: unknown): boolean =>
    error instanceof AppError && error.code === 'WORKER_UNAVAILABLE' && error.details['reached'] === true;
  for (let tries = effect === 'read' ? 2 : 1; ; tries -= 1) {
    try {
      return outputOf(output as z.ZodType, await run(session, id, input, deadlineMs, file));
    } catch (error) {
      if (!stoppedAnswering(error)) throw error;
      const isTimeout = error instanceof AppError && ['TIMEOUT', 'ECONNABORTED'].includes(String(error.details['cause']));
      if (tries > 1 && !isTimeout) continue;
      const { cause } = (error as AppError).details;
      throw new AppError('OPERATION_TIMEOUT', {
        operation: id,
        effect: effect === 'read' ? 'none' : 'unknown',
        ...(cause === 'UNEXPECTED_REPLY' ? { cause } : {}),
      });
    }
  }
}
