import { createHash } from 'node:crypto';
import {
  allows,
  AppError,
  retryableReasons,
  validationError,
  warning,
  type InputOf,
  type MediaType,
  type MessageContent,
  type MessageReason,
  type MessageResource,
  type Warning,
} from '@chasqui/shared';
import { handled, Reply, type RouteHttp } from '@chasqui/shared/express';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Response } from 'express';
import { databaseRefusal } from '../db/database-errors.js';
import type { Caller, Mount } from '../accounts/caller.js';
import type { Media, MediaSource, StoredFile } from '../media/media.js';
import { uploadOf } from '../lib/uploads.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { cardsOf } from './accept/cards.js';
import * as contract from './contract.js';
import { checkChannel, checkFileOptions } from './accept/file-options.js';
import type { Idempotency, IdempotencyKey } from './accept/idempotency.js';
import type { Message } from './message.entity.js';
import type { Messages } from './messages.js';
import { reasonOf } from './read/present.js';
import type { Quotas } from './quotas/quotas.js';
import { requireReservedId } from './accept/recipients.js';

interface Deps {
  messages: Messages;
  sessions: Sessions;
  media: Media;
  idempotency: Idempotency;
  quotas: Quotas;
  sendWaitMs: number;
  now: () => Date;
}

/** What every send takes, whatever its type. */
interface CommonBody {
  sessionId?: string | undefined;
  recipient: string;
  quotedMessageId?: string | undefined;
  ignoreQuoteErrors?: boolean | undefined;
  mentions?: string[] | undefined;
  expiresAt?: string | undefined;
  async?: boolean | undefined;
  queueIfOffline?: boolean | undefined;
}

interface Http extends RouteHttp {
  /** Of the session, when it is named in the query. */
  sessionId?: string | undefined;
}
interface Composed {
  content: MessageContent;
  file: StoredFile | null;
}
type Compose = (session: Session) => Promise<Composed>;
/** What was sent to one of the routes, with the type that the route stands for; of a file the type may be left to its bytes. */
type ContentBody = contract.SendAny | (InputOf<typeof contract.sendMedia>['body'] & { type?: MediaType | undefined });

export function mountMessages(mount: Mount, deps: Deps): void {
  const { messages, sessions, media, idempotency } = deps;

  const present = async (message: Message): Promise<MessageResource> => (await messages.present([message]))[0]!;

  /** The way of every send: whose session, to whom, what, accepted, and then the wait for what becomes of it. */
  async function send(body: CommonBody, caller: Caller, http: Http, compose: Compose) {
    const { req, res, header } = http;
    const named = namedOnce(body.sessionId, http.sessionId) ?? header('X-Session-Id');
    const session = await sessions.resolve(caller, named);
    const file = uploadOf(res)?.bytes;
    const digest = file ? createHash('sha256').update(file).digest('hex') : null;
    const isDefaultSession = (!named || named === 'current') && caller.sessionId === null;
    const scope = { accountId: caller.accountId, sessionId: session.id, isDefaultSession };
    const content = { body, file: digest };
    const key = idempotency.keyOf(scope, header('Idempotency-Key'), req.method, `${req.baseUrl}${req.path}`, content);
    const earlier = key ? await idempotency.begin(key) : null;
    if (earlier) return replay(earlier, caller, res);
    try {
      const { message, warnings } = await sendOnce(body, session, caller, http, compose, key);
      // Without the stored reply a repeat gets the message as it is then.
      if (key)
        await remember(key, message, warnings, res).catch((error: unknown) => {
          if (!databaseRefusal(error)) throw error;
        });
      failPoint('reply.stored');
      return await answer(message, warnings);
    } finally {
      if (key) idempotency.end(key);
    }
  }

  async function sendOnce(
    body: CommonBody,
    session: Session,
    caller: Caller,
    { header, res }: Http,
    compose: Compose,
    key: IdempotencyKey | null,
  ): Promise<{ message: Message; warnings: Warning[] }> {
    const { ignoreQuoteErrors = false, queueIfOffline = false } = body;
    // A session that cannot send is refused before anything is looked up, read or fetched for it.
    messages.mayAccept(session, queueIfOffline);
    const recipient = messages.recipient(body.recipient, session);
    requireReservedId(recipient);
    const mentions = (body.mentions ?? []).map((mention, index) => messages.person(mention, session, `mentions.${index}`).id);
    const quotedMessageId = await messages.quoted({ ...caller, sessionId: session.id }, body.quotedMessageId, ignoreQuoteErrors);
    const expiresAt = body.expiresAt === undefined ? null : new Date(body.expiresAt);
    requireFuture(expiresAt, deps.now());
    const { content, file } = await compose(session);
    const wish = {
      recipient,
      options: { quotedMessageId, ignoreQuoteErrors, mentions, queueIfOffline },
      quotedMessageId,
      expiresAt,
      origin: 'api' as const,
      content,
      file,
    };
    const wait = waitOf(header('Prefer'), body.async, deps.sendWaitMs, res);
    // Who waits is refused above the pace; who can wait is queued and paced.
    if (wait > 0) await caller.charge?.('session_send', `send:${session.id}`, session.settings.pacing.perMinute, 60_000);
    const accepted = await messages.accept(session, wish, key);
    const isEarlier = expiresAt !== null && accepted.expiresAt !== null && accepted.expiresAt < expiresAt;
    const warnings = [...(file?.warnings ?? []), ...(isEarlier ? [warning('EXPIRES_EARLIER')] : [])];
    if (wait === 0) return { message: accepted, warnings };
    const message = await messages.outcome(accepted.id, wait).catch((error: unknown) => {
      // It is on disk and will be sent. Answered with an error, the caller would send it again under another id.
      if (databaseRefusal(error)) return accepted;
      throw error;
    });
    return { message, warnings };
  }

  async function answer(message: Message, warnings: Warning[] = []) {
    if (isRefused(message)) throw sendFailed(message);
    return new Reply(await present(message), { status: statusOf(message), warnings });
  }

  async function replay(earlier: { messageId: string } | { status: number; body: string }, caller: Caller, res: Response) {
    res.set('Idempotency-Replayed', 'true');
    if ('status' in earlier) return (void res.status(earlier.status).type('json').send(earlier.body), handled);
    return answer(await messages.find(caller, earlier.messageId));
  }

  async function remember(
    key: NonNullable<ReturnType<Idempotency['keyOf']>>,
    message: Message,
    warnings: Warning[],
    res: Response,
  ): Promise<void> {
    const requestId: unknown = res.locals['requestId'];
    if (isRefused(message)) {
      const { code, details, message: words, status } = sendFailed(message);
      return idempotency.store(
        key,
        status,
        JSON.stringify({ success: false, error: { code, message: words, details }, requestId }),
      );
    }
    await idempotency.store(
      key,
      statusOf(message),
      JSON.stringify({ success: true, data: await present(message), ...(warnings.length > 0 ? { warnings } : {}), requestId }),
    );
  }

  /** What each type is made of. Files are read, checked and on disk before the message is accepted. */
  async function compose(session: Session, body: ContentBody, caller: Caller, { res }: Http): Promise<Composed> {
    checkChannel(messages.recipient(body.recipient, session), body.type ?? 'document', {
      viewOnce: 'viewOnce' in body && body.viewOnce === true,
      quotes: body.quotedMessageId !== undefined,
    });
    switch (body.type) {
      case 'text': {
        const linkPreview = body.linkPreview === false ? { linkPreview: false } : {};
        return { content: { type: 'text', message: body.message, ...linkPreview }, file: null };
      }
      case 'location': {
        const { latitude, longitude, name = null, address = null } = body;
        return { content: { type: 'location', latitude, longitude, name, address }, file: null };
      }
      case 'contact':
        return { content: { type: 'contact', contacts: cardsOf(body.contacts, messages.countryOf(session)) }, file: null };
      case 'poll': {
        const { question, options, multiple = false } = body;
        return { content: { type: 'poll', question, options, multiple }, file: null };
      }
      default: {
        checkFileOptions(body.type ?? null, body);
        const type = body.asDocument ? 'document' : body.type;
        const { mimetype, filename } = body;
        const isSealed = (await messages.storageOf(session)) === 'metadata';
        const owner = { ...caller, mayRead: allows(caller.permissions, 'messages.receive') };
        const file = await media.receive(owner, sourceOf(body, res), { mimetype, filename, type, isSealed });
        try {
          // What the bytes say the type is may not have an option either.
          if (type === undefined) checkFileOptions(file.kind, body);
          return { content: mediaContent(type ?? file.kind, file, body), file };
        } catch (error) {
          await media.discard(file);
          throw error;
        }
      }
    }
  }

  mount(contract.sendText, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, { type: 'text', ...body }, caller, http)),
  );
  mount(contract.sendLocation, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, { type: 'location', ...body }, caller, http)),
  );
  mount(contract.sendContact, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, { type: 'contact', ...body }, caller, http)),
  );
  mount(contract.sendPoll, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, { type: 'poll', ...body }, caller, http)),
  );
  mount(contract.sendMedia, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, body, caller, http)),
  );
  mount(contract.sendAny, ({ body, query }, caller, http) =>
    send(body, caller, { ...http, ...query }, (session) => compose(session, body, caller, http)),
  );

  const list = async ({ query }: { query: contract.ListQuery }, caller: Caller) => {
    const named = query.sessionId ? await sessions.find(caller, query.sessionId) : null;
    const own = caller.sessionId ? await sessions.byId(caller.sessionId) : null;
    const found = await messages.list(caller.accountId, named?.id ?? caller.sessionId, query, named ?? own);
    return new Reply(await messages.present(found.messages), { meta: found.meta, warnings: found.warnings });
  };
  mount(contract.listMessages, list);
  mount(contract.listAll, list);
  mount(contract.quota, async ({ query }, caller, { header }) => {
    const session = await sessions.resolve(caller, query.sessionId ?? header('X-Session-Id'));
    const limits = (await deps.quotas.view(session)).map((view) => ({ ...view, resetAt: view.resetAt.toISOString() }));
    return { limits, tightest: limits[0]?.scope ?? null };
  });
  /** The caller as it reaches one message: in the session that the request names, when it names one. */
  const within = async (caller: Caller, { header }: Http): Promise<Caller> => {
    const named = header('X-Session-Id');
    return named ? { ...caller, sessionId: (await sessions.resolve(caller, named)).id } : caller;
  };
  mount(contract.read, async ({ params }, caller, http) =>
    present(await messages.find(await within(caller, http), params.messageId)),
  );
  mount(contract.timeline, async ({ params }, caller, http) => messages.timeline(await within(caller, http), params.messageId));
  mount(contract.mediaFile, async ({ params }, caller, http) => {
    const { res, header } = http;
    const message = await messages.find(await within(caller, http), params.messageId);
    const file = message.mediaId ? await media.find(message.accountId, message.mediaId) : null;
    if (!file) throw new AppError('MEDIA_NOT_FOUND');
    await media.send(res, file, header('Range'));
    return handled;
  });
  mount(contract.decideHeld, async ({ params, body }, caller) =>
    messages.decideHeld(caller, await sessions.find(caller, params.sessionId), body.decision),
  );
  mount(contract.retry, async ({ params }, caller, http) => {
    const { id } = await messages.retry(await within(caller, http), params.messageId);
    return answer(await messages.outcome(id, deps.sendWaitMs));
  });
  mount(contract.cancel, async ({ params }, caller, http) =>
    present(await messages.cancel(await within(caller, http), params.messageId)),
  );
  mount(contract.resolve, async ({ params, body }, caller, http) =>
    present(await messages.resolve(await within(caller, http), params.messageId, body.as)),
  );
}

const statusOf = (message: Message): number => (['sent', 'delivered', 'read', 'played'].includes(message.status) ? 200 : 202);

/** Whether it failed for a reason that is told as an error. That it expired before it was handed over is the caller's wish: its state says so. */
const isRefused = ({ status, reasonCode }: Message): boolean => status === 'failed' && reasonCode !== 'EXPIRED';

function requireFuture(expiresAt: Date | null, now: Date): void {
  if (expiresAt === null || expiresAt > now) return;
  const message = 'expiresAt has passed: the message would never be sent. Give a later time, or leave it out.';
  throw validationError([{ path: 'expiresAt', code: 'IN_THE_PAST', message }]);
}

function sendFailed(message: Message): AppError {
  const retryable = retryableReasons.has(message.reasonCode as MessageReason);
  return new AppError(
    'SEND_FAILED',
    { reason: message.reasonCode, retryable, message: { id: message.id, status: message.status } },
    reasonOf(message)?.message,
  );
}

/** `Prefer: respond-async` and `wait=N` (seconds), or `async` in the body; the reply names what was honoured (RFC 7240). */
function waitOf(prefer = '', isAsync: boolean | undefined, defaultMs: number, res: Response): number {
  if (/\brespond-async\b/.test(prefer)) return (void res.set('Preference-Applied', 'respond-async'), 0);
  if (isAsync) return 0;
  const seconds = /\bwait=(\d{1,4})\b/.exec(prefer)?.[1];
  if (seconds === undefined) return defaultMs;
  const waitMs = Math.min(Number(seconds) * 1000, defaultMs);
  // What is honoured, which may be less than what was preferred.
  res.set('Preference-Applied', `wait=${Math.floor(waitMs / 1000)}`);
  return waitMs;
}

/** The session that body and query name. Throws when they name two. */
function namedOnce(inBody: string | undefined, inQuery: string | undefined): string | undefined {
  if (inBody === undefined || inQuery === undefined || inBody === inQuery) return inBody ?? inQuery;
  const message = 'Body and query name different sessions. Send one of the two.';
  throw validationError([{ path: 'sessionId', code: 'AMBIGUOUS', message }]);
}

function sourceOf(
  body: { mediaUrl?: string | undefined; mediaBase64?: string | undefined; mediaId?: string | undefined },
  res: Response,
): MediaSource {
  const upload = uploadOf(res);
  const given: MediaSource[] = [
    ...(upload ? [upload] : []),
    ...(body.mediaUrl ? [{ url: body.mediaUrl }] : []),
    ...(body.mediaBase64 ? [{ base64: body.mediaBase64 }] : []),
    ...(body.mediaId ? [{ mediaId: body.mediaId }] : []),
  ];
  if (given.length === 1) return given[0]!;
  const message =
    given.length === 0
      ? 'Send a file: a multipart part `file`, mediaUrl, mediaBase64 or mediaId.'
      : 'Send the file in one way only.';
  throw new AppError(
    'VALIDATION_FAILED',
    { fields: [{ path: 'file', code: given.length === 0 ? 'REQUIRED' : 'AMBIGUOUS', message }] },
    message,
  );
}

function mediaContent(
  type: MediaType,
  file: StoredFile,
  body: {
    caption?: string | undefined;
    viewOnce?: boolean | undefined;
    hd?: boolean | undefined;
    gif?: boolean | undefined;
    stickerName?: string | undefined;
    stickerAuthor?: string | undefined;
  },
): MessageContent {
  const media = { id: file.id, mimetype: file.mimetype, size: file.size, filename: file.filename, sha256: file.sha256 };
  const caption = body.caption ?? null;
  const { viewOnce, hd, gif, stickerName, stickerAuthor } = body;
  switch (type) {
    case 'image':
      return { type, media, caption, viewOnce, hd };
    case 'video':
      return { type, media, caption, viewOnce, hd, gif };
    case 'document':
      return { type, media, caption };
    case 'sticker':
      return { type, media, stickerName, stickerAuthor };
    case 'audio':
    case 'voice':
      return { type, media };
  }
}
