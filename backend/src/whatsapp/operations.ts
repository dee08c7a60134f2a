import {
  AppError,
  capability,
  compatReport,
  defineRoute,
  operationIds,
  operationRoute,
  operations,
  parseMessageKey,
  type Operation,
  type OperationId,
  type OperationOutput,
} from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import { z } from 'zod';
import type { Caller, Mount } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import { uploadOf } from '../lib/uploads.js';
import type { Media } from '../media/media.js';
import type { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import { reasonOf } from '../sessions/present.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import type { OutgoingFile } from './client.js';
import { fileOf, withoutFile, type FileFields } from './operation-file.js';
import { addressedBy, withAddresses, withMessages } from './operation-input.js';
import type { OperationResults } from './operation-results.js';
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
  method: 'post',
  path: '/sessions/:sessionId/backfill',
  summary: 'Look for missed messages; ends with the event session.backfill',
  auth: 'key',
  permission: 'messages.manage',
  params: z.object({ sessionId: z.string() }),
  body: z.strictObject({
    since: z.iso
      .datetime({ offset: true })
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
  /** Calling code of the installation, for sessions that set none. */
  countryCode: string | undefined;
}

/** Mounts every row of the operations table, and the two routes about them: backfill and capabilities. */
export function mountOperations(mount: Mount, parts: OperationParts): void {
  const { sessions, run } = parts;
  for (const id of operationIds) mountOperation(mount, parts, id);
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
    const rows = operationIds.map((id) => ({
      operation: id,
      method: operations[id].method.toUpperCase(),
      path: operationRoute(operations[id]).path,
      support: operations[id].support,
      reason: operations[id].supportReason,
      checkedAt: session?.connectedAt?.toISOString() ?? null,
    }));
    return new Reply(rows, {
      meta: {
        whatsappWebVersion: session?.whatsappWebVersion ?? null,
        compat: z.array(compatReport).parse(session?.compat ?? []),
      },
    });
  });
}

function mountOperation<Id extends OperationId>(mount: Mount, parts: OperationParts, id: Id): void {
  const row: Operation = operations[id];
  const result = parts.results[id];
  mount(operationRoute(row), async ({ params, query, body }, caller, { header, res }) => {
    const { sessionId, ...rest } = params as Record<string, string>;
    const { session, message } =
      row.scope === 'message'
        ? await ofMessage(parts, caller, rest['messageId']!, header('X-Session-Id'))
        : { session: await requireConnected(parts.sessions, caller, sessionId!), message: null };
    if (row.scope === 'message') delete rest['messageId'];
    const file = row.file
      ? await fileOf(parts.media, caller, row.file, { fields: body as FileFields, upload: uploadOf(res) })
      : null;
    const countryCode = session.settings.countryCode ?? parts.countryCode;
    const fields = row.file ? withoutFile(body as object) : (body as object);
    const given = { ...rest, ...(query as object), ...fields, ...(message ? namedBy(message) : {}) };
    const named = await withMessages(row, given, (ref) => whatsappIdOf(parts.messages, caller, session, ref));
    const input = { ...withAddresses(row, named, countryCode), ...(row.takesCountry && countryCode ? { countryCode } : {}) };
    const answer = await audited(parts, { caller, session, row, input, message }, () =>
      runWithRetry(parts.run, session, id, input, file),
    );
    const output = row.output.parse(answer) as OperationOutput<Id>;
    const reply = result ? await result({ session, caller, input, output, message, countryCode }) : output;
    return new Reply(row.reply.parse(reply), { status: row.status });
  });
}

/** The message, which WhatsApp must have, and its session. */
async function ofMessage({ messages, sessions }: OperationParts, caller: Caller, ref: string, named: string | undefined) {
  const sessionId = named ? (await sessions.resolve(caller, named)).id : caller.sessionId;
  const message = await messages.find({ ...caller, sessionId }, ref);
  if (!message.whatsappId)
    throw new AppError(
      'MESSAGE_NOT_FOUND',
      { status: message.status },
      'WhatsApp does not have this message: it was not sent yet.',
    );
  return { session: await requireConnected(sessions, caller, message.sessionId), message };
}

/** WhatsApp's id of a message of this session, by our id or by its own. WhatsApp also has messages that are not stored here. */
async function whatsappIdOf(messages: Messages, caller: Caller, session: Session, ref: string): Promise<string> {
  if (parseMessageKey(ref)) return ref;
  const { whatsappId, status } = await messages.find({ ...caller, sessionId: session.id }, ref);
  if (!whatsappId)
    throw new AppError('MESSAGE_NOT_FOUND', { status }, 'WhatsApp does not have this message: it was not sent yet.');
  return whatsappId;
}

const namedBy = ({ whatsappId, chatId }: Message) => ({ whatsappId, chatId });

interface Audited {
  caller: Caller;
  session: Session;
  row: Operation;
  input: Record<string, unknown>;
  message: Message | null;
}

/** Runs a change and writes who made it. Also when its effect is unknown: it may have happened. */
async function audited(
  { database, clock }: OperationParts,
  { caller, session, row, input, message }: Audited,
  run: () => Promise<unknown>,
) {
  if (!row.isAudited) return run();
  const write = async (changes: Record<string, unknown>): Promise<void> => {
    const object = message ? { objectType: 'message', objectId: message.id } : { objectType: 'session', objectId: session.id };
    const about = message ? {} : { about: addressedBy(row, input) };
    const entry = { action: row.id, ...object, accountId: session.accountId, changes: { ...about, ...changes }, at: clock.now() };
    await database.write.run((tx) => recordAudit(tx, caller, entry));
  };
  try {
    const answer = await run();
    await write({});
    return answer;
  } catch (error) {
    if (error instanceof AppError && error.code === 'OPERATION_TIMEOUT' && error.details['effect'] !== 'none')
      await write({ effect: error.details['effect'] });
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

/** If the worker stops answering, a read is retried once; a write fails with effect `unknown`, because it may have happened. */
async function runWithRetry(
  run: Gateway['run'],
  session: Session,
  id: OperationId,
  input: Record<string, unknown>,
  file: OutgoingFile | null,
): Promise<unknown> {
  const { effect } = operations[id];
  const stoppedAnswering = (error: unknown): boolean =>
    error instanceof AppError && error.code === 'WORKER_UNAVAILABLE' && error.details['reached'] === true;
  for (let tries = effect === 'read' ? 2 : 1; ; tries -= 1) {
    try {
      return await run(session, id, input, deadlineMs, file);
    } catch (error) {
      if (!stoppedAnswering(error)) throw error;
      const isTimeout = error instanceof AppError && ['TIMEOUT', 'ECONNABORTED'].includes(String(error.details['cause']));
      if (tries > 1 && !isTimeout) continue;
      throw new AppError('OPERATION_TIMEOUT', { operation: id, effect: effect === 'read' ? 'none' : 'unknown' });
    }
  }
}
