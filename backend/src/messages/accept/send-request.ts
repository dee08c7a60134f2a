import {
  AppError,
  message as messageSchema,
  retryableReasons,
  validationError,
  warning,
  type Address,
  type MessageReason,
  type MessageResource,
  type Warning,
} from '@chasqui/shared';
import { handled, Reply, type RouteHttp } from '@chasqui/shared/express';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Response } from 'express';
import type { Caller } from '../../accounts/caller.js';
import { databaseRefusal } from '../../db/database-errors.js';
import { uploadOf } from '../../lib/uploads.js';
import type { OptOuts } from '../../opt-outs/opt-outs.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Sessions } from '../../sessions/sessions.js';
import type { CommonFields } from '../contract.js';
import type { GroupMention, Message } from '../message.entity.js';
import type { Messages, NewMessage } from '../messages.js';
import { presentMessage, reasonOf } from '../read/present.js';
import type { Composed } from './compose.js';
import type { EarlierCall, Idempotency, IdempotencyKey } from './idempotency.js';
import { parseGroupInput, requireReservedId } from './recipients.js';

/** The parts that a send request uses. */
export interface SendContext {
  messages: Messages;
  sessions: Sessions;
  idempotency: Idempotency;
  optOuts: Pick<OptOuts, 'among'>;
  /** How long a caller waits for the outcome unless it asks for less. */
  sendWaitMs: number;
  now: () => Date;
}

/** One request to send a message, whatever its type. */
export interface SendRequest {
  body: CommonFields;
  /** The session that the query names. */
  sessionInQuery: string | undefined;
  caller: Caller;
  http: RouteHttp;
  compose: (session: Session, recipient: Address) => Composed | Promise<Composed>;
  isStory?: boolean;
}

/**
 * Carries out a request to send: finds the session, replays the reply of an earlier call with the same `Idempotency-Key`, or composes and accepts the
 * message, waits for its outcome and stores the reply. Throws `SEND_FAILED` if the message failed while the caller waited.
 */
export async function send(context: SendContext, request: SendRequest) {
  const { sessions, idempotency } = context;
  const { body, caller, http } = request;
  const { req, res, header } = http;
  const named = namedOnce(body.sessionId, request.sessionInQuery) ?? header('X-Session-Id');
  const session = await sessions.resolve(caller, named);
  const digest = uploadOf(res)?.bytes.sha256 ?? null;
  const isDefaultSession = (!named || named === 'current') && caller.sessionId === null;
  const scope = { accountId: caller.accountId, sessionId: session.id, isDefaultSession };
  const content = { body, file: digest };
  const key = idempotency.keyOf(scope, header('Idempotency-Key'), req.method, `${req.baseUrl}${req.path}`, content);
  const earlier = key ? await idempotency.begin(key) : null;
  if (earlier) return replay(context, earlier, caller, res);
  try {
    const { message, warnings, published } = await sendOnce(context, request, session, key);
    // If the reply cannot be stored, a repeat returns the message as it is then.
    if (key)
      await storeReply(context, key, message, warnings, res).catch((error: unknown) => {
        if (!databaseRefusal(error)) throw error;
      });
    failPoint('reply.stored');
    return await answer(context, message, warnings, published);
  } finally {
    if (key) idempotency.end(key);
  }
}

interface Sent {
  message: Message;
  warnings: Warning[];
  /** The message as its event shows it. Null: it was read again since. */
  published: MessageResource | null;
}

async function sendOnce(
  { messages, optOuts, sendWaitMs, now }: SendContext,
  { body, caller, http: { header, res }, compose, isStory = false }: SendRequest,
  session: Session,
  key: IdempotencyKey | null,
): Promise<Sent> {
  const { ignoreQuoteErrors = false, queueIfOffline = false, urgent: isUrgent = false } = body;
  const schedule = await messages.scheduleOf(session, body);
  const scheduledAt = schedule?.at ?? null;
  // A session that cannot send is refused before anything is looked up, read or fetched for it. It need not be connected for a later time.
  messages.requireSendable(session, queueIfOffline || schedule !== null);
  const recipient = messages.recipient(body.recipient, session);
  requireReservedId(recipient, isStory);
  const mentions = (body.mentions ?? []).map((mention, index) => messages.person(mention, session, `mentions.${index}`).id);
  const groupMentions = mentionedGroups(body);
  const quotedMessageId =
    body.quotedMessageId === undefined
      ? null
      : await messages.quoted({ ...caller, sessionId: session.id }, body.quotedMessageId, ignoreQuoteErrors);
  const expiresAt = body.expiresAt === undefined ? null : new Date(body.expiresAt);
  requireFuture(expiresAt, scheduledAt ?? now());
  const { content, file, forward = null, templateId = null, warnings: changes = [] } = await compose(session, recipient);
  const named = groupMentions.length > 0 ? { groupMentions } : {};
  const options = { quotedMessageId, ignoreQuoteErrors, mentions, queueIfOffline, forward, ...named };
  const input: NewMessage = {
    recipient,
    options,
    quotedMessageId,
    content,
    file,
    isStory,
    origin: 'api',
    requestId: caller.requestId,
    apiKeyId: caller.isPasswordLogin ? null : caller.credential.id,
    templateId,
    expiresAt,
    scheduledAt,
    isUrgent,
  };
  const waitMs = scheduledAt ? 0 : waitOf(header('Prefer'), body.async, sendWaitMs, res);
  // A caller that waits is refused above the session's pace. A message that can wait is queued and paced.
  if (waitMs > 0) await caller.charge?.('session_send', `send:${session.id}`, session.settings.pacing.perMinute, 60_000);
  const isOptedOut = (await optOuts.among(session.accountId, [recipient.id])).size > 0;
  const { message: accepted, published } = await messages.accept(session, input, key);
  const isEarlier = expiresAt !== null && accepted.expiresAt !== null && accepted.expiresAt < expiresAt;
  const said = [...(schedule?.warnings ?? []), ...changes, ...(file?.warnings ?? [])];
  const warnings = [
    ...said,
    ...(isEarlier ? [warning('EXPIRES_EARLIER')] : []),
    ...(isOptedOut ? [warning('RECIPIENT_OPTED_OUT')] : []),
  ];
  if (waitMs === 0 || accepted.reasonCode === 'QUIET_HOURS') return { message: accepted, warnings, published };
  const message = await messages.outcome(accepted.id, waitMs).catch((error: unknown) => {
    // The message is on disk and will be sent. After an error, the caller would send it again under another id.
    if (databaseRefusal(error)) return accepted;
    throw error;
  });
  return { message, warnings, published: null };
}

/**
 * Returns the reply that shows a message as it is. `published`: the message as its event shows it, if nothing has happened since. Throws `SEND_FAILED`
 * if it failed.
 */
export async function answer(
  context: Pick<SendContext, 'messages'>,
  message: Message,
  warnings: Warning[] = [],
  published: MessageResource | null = null,
) {
  if (isRefused(message)) throw sendFailed(message);
  const status = statusOf(message);
  if (published) return new Reply(published, { status, warnings, parsedBy: messageSchema });
  return new Reply(await presentAccepted(context, message), { status, warnings });
}

/** An accepted message is answered as accepted also while the database cannot be read; then without what is known of its people besides. */
const presentAccepted = (context: Pick<SendContext, 'messages'>, message: Message): Promise<MessageResource> =>
  presentOne(context, message).catch((error: unknown) => {
    if (databaseRefusal(error)) return presentMessage(message);
    throw error;
  });

export const presentOne = async ({ messages }: Pick<SendContext, 'messages'>, message: Message): Promise<MessageResource> =>
  (await messages.present([message]))[0]!;

async function replay(context: SendContext, earlier: EarlierCall, caller: Caller, res: Response) {
  res.set('Idempotency-Replayed', 'true');
  if ('status' in earlier) return (void res.status(earlier.status).type('json').send(earlier.body), handled);
  return answer(context, await context.messages.find(caller, earlier.messageId));
}

async function storeReply(
  context: SendContext,
  key: IdempotencyKey,
  message: Message,
  warnings: Warning[],
  res: Response,
): Promise<void> {
  const { idempotency } = context;
  const requestId: unknown = res.locals['requestId'];
  if (isRefused(message)) {
    const { code, details, message: sentence, status } = sendFailed(message);
    const reply = { success: false, error: { code, message: sentence, details }, requestId };
    return idempotency.store(key, status, JSON.stringify(reply));
  }
  const data = await presentOne(context, message);
  const reply = { success: true, data, ...(warnings.length > 0 ? { warnings } : {}), requestId };
  await idempotency.store(key, statusOf(message), JSON.stringify(reply));
}

const statusOf = (message: Message): number => (['sent', 'delivered', 'read', 'played'].includes(message.status) ? 200 : 202);

/** Whether the message failed for a reason that is an error to its caller. That it expired before it was handed over is not: its status shows it. */
const isRefused = ({ status, reasonCode }: Message): boolean => status === 'failed' && reasonCode !== 'EXPIRED';

function sendFailed(message: Message): AppError {
  const retryable = retryableReasons.has(message.reasonCode as MessageReason);
  return new AppError(
    'SEND_FAILED',
    { reason: message.reasonCode, retryable, message: { id: message.id, status: message.status } },
    reasonOf(message)?.message,
  );
}

/** The groups that the words of a request mention. Throws `INVALID_RECIPIENT`, and `VALIDATION_FAILED` for one that no text of the request names. */
function mentionedGroups(body: CommonFields): GroupMention[] {
  const words = Object.values(body).filter((value) => typeof value === 'string');
  return (body.groupMentions ?? []).map(({ id: ref, name }, index) => {
    const path = `groupMentions.${index}.id`;
    const { id } = parseGroupInput(ref, path);
    if (words.some((text) => text.includes(`@${id}`))) return { id, name };
    const message = `The text does not mention this group. Write @${id} where the name is to be shown.`;
    throw validationError([{ path, code: 'NOT_IN_TEXT', message }]);
  });
}

function requireFuture(expiresAt: Date | null, sendAt: Date): void {
  if (expiresAt === null || expiresAt > sendAt) return;
  const message =
    'expiresAt is not later than the time of the send: the message would never be sent. Give a later time, or leave it out.';
  throw validationError([{ path: 'expiresAt', code: 'IN_THE_PAST', message }]);
}

/**
 * Returns how long the caller waits for the outcome: `Prefer: respond-async` and `wait=N` (seconds), or `async` in the body. The reply's header
 * names the preference that was applied (RFC 7240), which may be shorter than the one that was sent.
 */
function waitOf(prefer = '', isAsync: boolean | undefined, defaultMs: number, res: Response): number {
  if (/\brespond-async\b/.test(prefer)) return (void res.set('Preference-Applied', 'respond-async'), 0);
  if (isAsync) return 0;
  const seconds = /\bwait=(\d{1,4})\b/.exec(prefer)?.[1];
  if (seconds === undefined) return defaultMs;
  const waitMs = Math.min(Number(seconds) * 1000, defaultMs);
  res.set('Preference-Applied', `wait=${Math.floor(waitMs / 1000)}`);
  return waitMs;
}

/** Returns the session that body or query name. Throws `VALIDATION_FAILED` if they name different sessions. */
function namedOnce(inBody: string | undefined, inQuery: string | undefined): string | undefined {
  if (inBody === undefined || inQuery === undefined || inBody === inQuery) return inBody ?? inQuery;
  const message = 'Body and query name different sessions. Send one of the two.';
  throw validationError([{ path: 'sessionId', code: 'AMBIGUOUS', message }]);
}
