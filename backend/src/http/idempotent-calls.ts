import { AppError, type AnyRoute } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { handled, type MountOptions, type Rendered, type RouteHttp } from '@chasqui/shared/express';
import { z } from 'zod';
import type { Caller } from '../accounts/caller.js';
import type { Core } from '../core.js';
import { deleteRows, insertRow, isConflict, updateRows } from '../db/rows.js';
import { databaseRefusal } from '../db/database-errors.js';
import { IdempotencyRecord } from '../messages/accept/idempotency.entity.js';
import { deleteExpired, type Idempotency, type IdempotencyKey } from '../messages/accept/idempotency.js';
import type { StoredReplies } from '../messages/accept/stored-replies.js';

/** How long another backend may still run the first call. No replayed route takes longer. */
const maxRunMs = 120_000;

export interface ErrorReply {
  status: number;
  body: object;
}

type CallCore = Pick<Core, 'database' | 'clock' | 'log'>;

export interface IdempotentCallParts {
  idempotency: Pick<Idempotency, 'keyOf'>;
  replies: Pick<StoredReplies, 'seal' | 'open'>;
  /** How long a reply is stored. */
  hours: number;
  /** Returns the reply of an error, as the server would send it. */
  presentError: (error: AppError, requestId: string) => ErrorReply;
}

interface Context extends CallCore, IdempotentCallParts {
  /** The calls that run in this process, by their record's key. */
  running: Set<string>;
}

type Run = () => Promise<Rendered | typeof handled>;

/**
 * `Idempotency-Key` on the routes whose contract says `replayed`. Sends keep their record in the commit of the message
 * (messages/accept/idempotency.ts); here it is written before the route runs and completed with its reply:
 *
 * | the process dies | on disk | a repeat of the call |
 * | --- | --- | --- |
 * | before the record | nothing | is the first one |
 * | while the route runs | a record without a reply | 504 `OPERATION_TIMEOUT` with `effect: "unknown"`: it is unknown whether it was done |
 * | after the effect, before the reply is stored | the same | the same |
 * | a moment ago, on PostgreSQL | the same | 409 `IDEMPOTENCY_IN_PROGRESS` for two minutes: another backend may still run the call |
 * | after the reply was stored | the reply | the reply, with `Idempotency-Replayed: true` |
 *
 * A refusal had no effect: its record is deleted, and the same key may be used again. `SEND_FAILED` had an effect (a message was attempted), so it
 * is stored. Replies may show a secret once, so all of them are stored sealed.
 *
 * Returns the `around` option of `createMount`.
 */
export function createIdempotentCalls(
  { database, clock, log }: CallCore,
  { idempotency, replies, hours, presentError }: IdempotentCallParts,
): NonNullable<MountOptions<Caller>['around']> {
  const context: Context = { database, clock, log, idempotency, replies, hours, presentError, running: new Set() };
  return (route, caller, http, run) => (route.idempotency === 'replayed' ? runOnce(context, route, caller, http, run) : run());
}

async function runOnce(
  context: Context,
  route: AnyRoute,
  caller: Caller,
  http: RouteHttp & { body: unknown },
  run: Run,
): Promise<Rendered | typeof handled> {
  const { running } = context;
  const call = callOf(context, route, caller, http);
  if (!call) return run();
  const name = JSON.stringify(recordKeyOf(call));
  if (running.has(name)) throw new AppError('IDEMPOTENCY_IN_PROGRESS', { retryAfterSeconds: 1 });
  running.add(name);
  try {
    const shownMessage = route.path.includes('/:messageId') ? messageIdIn : () => null;
    return (await earlierReply(context, call)) ?? (await runFirst(context, call, shownMessage, caller, run));
  } finally {
    running.delete(name);
  }
}

/** Returns the key of the call's record. Null: the request has no Idempotency-Key. */
function callOf(
  { idempotency }: Context,
  route: AnyRoute,
  caller: Caller,
  http: RouteHttp & { body: unknown },
): IdempotencyKey | null {
  const session = route.headers.includes('X-Session-Id') ? (http.header('X-Session-Id') ?? null) : null;
  const scope = { accountId: caller.accountId, sessionId: caller.sessionId ?? '', isDefaultSession: false };
  const { method, originalUrl } = http.req;
  // A reply may contain what only its caller may read, such as the secret of a webhook: other permissions make it another request.
  const request = { body: http.body, session, permissions: [...caller.permissions].sort() };
  return idempotency.keyOf(scope, http.header('Idempotency-Key'), method, originalUrl, request);
}

/** Returns the reply of an earlier call; null: this is the first one. Throws for a call that still runs, and for one whose effect is unknown. */
async function earlierReply({ database, clock, replies }: Context, call: IdempotencyKey): Promise<Rendered | null> {
  const record = await database.reader.getRepository(IdempotencyRecord).findOneBy(recordKeyOf(call));
  if (!record || record.expiresAt <= clock.now()) return null;
  if (record.requestHash !== call.requestHash) throw new AppError('IDEMPOTENCY_KEY_REUSED');
  const reply = openReply(replies, record);
  if (reply) return reply;
  // Its reply contained a message or named a contact, and was removed with them.
  if (record.messageId !== null || (record.status !== null && record.body === null)) throw new AppError('CONTENT_WIPED');
  const age = clock.now().getTime() - record.createdAt.getTime();
  if (database.dialect === 'postgres' && record.status === null && age >= 0 && age < maxRunMs)
    throw new AppError('IDEMPOTENCY_IN_PROGRESS', { retryAfterSeconds: 5 });
  throw new AppError(
    'OPERATION_TIMEOUT',
    { effect: 'unknown' },
    'The first request with this Idempotency-Key was interrupted, and it is unknown whether it was carried out. Check the object, and repeat the request with a new key if it was not.',
  );
}

/** Returns null when there is no reply, or no key of ENCRYPTION_KEYS opens it. */
function openReply(replies: Context['replies'], { status, body, ...record }: IdempotencyRecord): Rendered | null {
  if (status === null || body === null) return null;
  try {
    return { status, headers: { 'Idempotency-Replayed': 'true' }, body: replies.open(body, record) };
  } catch {
    return null;
  }
}

async function runFirst(
  context: Context,
  call: IdempotencyKey,
  shownMessage: (body: string) => string | null,
  caller: Caller,
  run: Run,
): Promise<Rendered | typeof handled> {
  await reserve(context, call);
  try {
    const reply = await run();
    failPoint('call.done');
    if (reply !== handled) await storeReply(context, call, reply, shownMessage(reply.body));
    return reply;
  } catch (error) {
    if (error instanceof AppError && hadNoEffect(error)) await release(context, call);
    if (error instanceof AppError && error.code === 'SEND_FAILED') {
      const reply = context.presentError(error, caller.requestId);
      const body = JSON.stringify(reply.body);
      await storeReply(context, call, { status: reply.status, headers: {}, body }, shownMessage(body));
    }
    throw error;
  }
}

async function reserve({ database, clock, hours }: Context, call: IdempotencyKey): Promise<void> {
  const now = clock.now();
  const { requestHash, isDefaultSession } = call;
  try {
    await database.write.run(async (tx) => {
      await deleteExpired(tx, call, now);
      await insertRow(tx, IdempotencyRecord, {
        ...recordKeyOf(call),
        requestHash,
        isDefaultSession,
        messageId: null,
        status: null,
        body: null,
        createdAt: now,
        expiresAt: new Date(now.getTime() + hours * 3_600_000),
      });
    });
  } catch (error) {
    // Closes: two backends run one request at the same time. The second insert conflicts with the row of the first.
    if (isConflict(error)) throw new AppError('IDEMPOTENCY_IN_PROGRESS', { retryAfterSeconds: 5 });
    throw error;
  }
}

/** `messageId`: the message that the reply shows. When that is erased, so is the reply (privacy/erasure.ts). */
async function storeReply(
  { database, replies, log }: Context,
  call: IdempotencyKey,
  { status, body }: Rendered,
  messageId: string | null,
): Promise<void> {
  try {
    const sealed = replies.seal(body, call);
    await database.write.run((tx) => updateRows(tx, IdempotencyRecord, recordKeyOf(call), { status, body: sealed, messageId }));
  } catch (error) {
    // The call had its effect: the caller gets the reply, and a repeat gets the answer that the effect is unknown.
    if (!databaseRefusal(error)) throw error;
    log.warn('The reply to an Idempotency-Key could not be stored.', { accountId: call.accountId });
  }
}

async function release({ database }: Context, call: IdempotencyKey): Promise<void> {
  await database.write
    .run((tx) => deleteRows(tx, IdempotencyRecord, recordKeyOf(call)))
    .catch((error: unknown) => {
      if (!databaseRefusal(error)) throw error;
    });
}

/** Returns the id of the message in a reply or in the details of SEND_FAILED. */
function messageIdIn(body: string): string | null {
  const parsed = shownSchema.safeParse(JSON.parse(body));
  return parsed.success ? (parsed.data.data?.id ?? parsed.data.error?.details.message.id ?? null) : null;
}
const withId = z.object({ id: z.string() });
const shownSchema = z.object({
  data: withId.optional(),
  error: z.object({ details: z.object({ message: withId }) }).optional(),
});

type RecordKey = Pick<IdempotencyKey, 'accountId' | 'sessionId' | 'key'>;
const recordKeyOf = ({ accountId, sessionId, key }: RecordKey): RecordKey => ({ accountId, sessionId, key });

/** Whether an error is a refusal or happened before any effect. Every other error may have had an effect. */
function hadNoEffect({ status, code }: AppError): boolean {
  return status < 500 || ['WORKER_UNAVAILABLE', 'WORKER_CAPACITY', 'WORKER_MEMORY', 'OVERLOADED', 'SHUTTING_DOWN'].includes(code);
}
