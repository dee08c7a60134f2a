import { AppError, isMediaType, mediaOf, requestTypes, type Address } from '@chasqui/shared';
import { handled, Reply, type RouteHttp } from '@chasqui/shared/express';
import type { Caller, Mount } from '../accounts/caller.js';
import { readable } from '../db/unreadable.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import type { Session } from '../sessions/session.entity.js';
import type { Templates } from '../templates/templates.js';
import { composeForward, composeMedia, composeStory, composeTyped, storyChat } from './accept/compose.js';
import { composeTemplate } from './accept/compose-template.js';
import { answer, presentOne, send, type SendContext } from './accept/send-request.js';
import * as contract from './contract.js';
import type { Quotas } from './quotas/quotas.js';

interface RouteContext extends SendContext {
  media: Media;
  thumbnails: Pick<Thumbnails, 'send'>;
  quotas: Quotas;
  templates: Templates;
}

/** Mounts the routes of messages. */
export function mountMessages(mount: Mount, context: RouteContext): void {
  mountSends(mount, context);
  mountReads(mount, context);
  mountDecisions(mount, context);
}

function mountSends(mount: Mount, context: RouteContext): void {
  for (const type of requestTypes)
    mount(contract.sendTyped[type], ({ body, query }, caller, http) => {
      const compose: Compose = (session, recipient) => composeTyped(context, session, type, body, recipient);
      return send(context, { body, sessionInQuery: query.sessionId, caller, http, compose });
    });
  mount(contract.sendMedia, ({ body, query }, caller, http) => {
    const compose: Compose = (session) => composeMedia(context, session, body, caller, http.res);
    return send(context, { body, sessionInQuery: query.sessionId, caller, http, compose });
  });
  const composeAny = (session: Session, recipient: Address, body: contract.AnyBody, caller: Caller, { res }: RouteHttp) => {
    if (body.type === 'template') return composeTemplate(context, session, body, caller, res);
    if (isWithFile(body)) return composeMedia(context, session, body, caller, res);
    return composeTyped(context, session, body.type, body, recipient);
  };
  mount(contract.sendAny, ({ body, query }, caller, http) => {
    const compose: Compose = (session, recipient) => composeAny(session, recipient, body, caller, http);
    return send(context, { body, sessionInQuery: query.sessionId, caller, http, compose });
  });
  mount(contract.sendGroup, ({ body, query }, caller, http) => {
    const compose: Compose = (session, recipient) => {
      requireGroup(recipient, body.recipient);
      return composeAny(session, recipient, body, caller, http);
    };
    return send(context, { body, sessionInQuery: query.sessionId, caller, http, compose });
  });
  mount(contract.postStory, ({ params, body }, caller, http) => {
    const compose: Compose = (session) => composeStory(context, session, body, caller, http.res);
    const toAll = { ...body, recipient: storyChat, sessionId: params.sessionId };
    return send(context, { body: toAll, sessionInQuery: undefined, caller, http, compose, isStory: true });
  });
  mount(contract.forward, async ({ params, body }, caller, http) => {
    const original = await context.messages.find(await inNamedSession(context, caller, http), params.messageId);
    const compose: Compose = (session) => composeForward(context, session, original, body.recipient, caller);
    const ofOriginal = { ...body, sessionId: original.sessionId };
    return send(context, { body: ofOriginal, sessionInQuery: undefined, caller, http, compose });
  });
}

function requireGroup({ kind }: Address, input: string): void {
  if (kind === 'group') return;
  const message = 'This is not the id of a group (…@g.us). Send to people with POST /api/v1/messages/send.';
  throw new AppError('INVALID_RECIPIENT', { input, fields: [{ path: 'groupId', code: 'INVALID_RECIPIENT', message }] }, message);
}

type Compose = Parameters<typeof send>[1]['compose'];
type AnyMediaBody = Extract<contract.AnyBody, contract.MediaBody>;
const isWithFile = (body: contract.AnyBody): body is AnyMediaBody => isMediaType(body.type);

function mountReads(mount: Mount, context: RouteContext): void {
  const { messages, sessions, media, quotas } = context;
  const list = async ({ query }: { query: contract.ListQuery }, caller: Caller) => {
    const named = query.sessionId === undefined ? null : await sessions.find(caller, query.sessionId);
    const own = caller.sessionId ? await sessions.byId(caller.sessionId) : null;
    const page = await messages.list(caller.accountId, named?.id ?? caller.sessionId, query, named ?? own);
    return new Reply(await messages.present(page.messages, page.namesVersion), { meta: page.meta, warnings: page.warnings });
  };
  mount(contract.listMessages, list);
  mount(contract.listAll, list);
  mount(contract.listOfSession, ({ params: { sessionId }, query }, caller) => list({ query: { ...query, sessionId } }, caller));
  mount(contract.quota, async ({ query }, caller, { header }) => {
    const session = await sessions.resolve(caller, query.sessionId ?? header('X-Session-Id'));
    const limits = (await quotas.view(session)).map((view) => ({ ...view, resetAt: view.resetAt.toISOString() }));
    return { limits, tightest: limits[0]?.scope ?? null };
  });
  mount(contract.read, async ({ params }, caller, http) =>
    presentOne(context, await messages.find(await inNamedSession(context, caller, http), params.messageId)),
  );
  mount(contract.timeline, async ({ params }, caller, http) =>
    messages.timeline(await inNamedSession(context, caller, http), params.messageId),
  );
  mount(contract.mediaFile, async ({ params }, caller, http) => {
    const { res, header } = http;
    const message = await messages.find(await inNamedSession(context, caller, http), params.messageId);
    const file = message.mediaId ? await media.find(message.accountId, message.mediaId) : null;
    if (!file) throw new AppError('MEDIA_NOT_FOUND');
    await media.send(res, file, header('Range'));
    return handled;
  });
  mount(contract.thumbnail, async ({ params }, caller, http) => {
    const { id, content } = await messages.find(await inNamedSession(context, caller, http), params.messageId);
    const stored = readable(content, null);
    await context.thumbnails.send(http.res, id, Boolean(stored && mediaOf(stored)?.thumbnailUrl));
    return handled;
  });
}

function mountDecisions(mount: Mount, context: RouteContext): void {
  const { messages, sessions, sendWaitMs } = context;
  mount(contract.decideHeld, async ({ params, body }, caller) =>
    messages.decideHeld(caller, await sessions.find(caller, params.sessionId), body.decision),
  );
  mount(contract.retry, async ({ params }, caller, http) => {
    const { id } = await messages.retry(await inNamedSession(context, caller, http), params.messageId);
    return answer(context, await messages.outcome(id, sendWaitMs));
  });
  mount(contract.cancel, async ({ params }, caller, http) =>
    presentOne(context, await messages.cancel(await inNamedSession(context, caller, http), params.messageId)),
  );
  mount(contract.reschedule, async ({ params, body }, caller, http) => {
    const bound = await inNamedSession(context, caller, http);
    const { message, warnings } = await messages.reschedule(bound, params.messageId, body);
    return new Reply(await presentOne(context, message), { warnings });
  });
  mount(contract.resolve, async ({ params, body }, caller, http) =>
    presentOne(context, await messages.resolve(await inNamedSession(context, caller, http), params.messageId, body.as)),
  );
}

/** The caller, bound to the session that the request's header names if it names one. */
async function inNamedSession({ sessions }: RouteContext, caller: Caller, { header }: RouteHttp): Promise<Caller> {
  const named = header('X-Session-Id');
  return named ? { ...caller, sessionId: (await sessions.resolve(caller, named)).id } : caller;
}
