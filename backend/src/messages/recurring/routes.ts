import { isMediaType, type MessageContent, type Warning } from '@chasqui/shared';
import { Reply, type RouteHttp } from '@chasqui/shared/express';
import type { Caller, Mount } from '../../accounts/caller.js';
import type { Media } from '../../media/media.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Sessions } from '../../sessions/sessions.js';
import type { Templates } from '../../templates/templates.js';
import { composeMedia, composeTyped, type Composed } from '../accept/compose.js';
import { composeTemplate } from '../accept/compose-template.js';
import { requireReservedId } from '../accept/recipients.js';
import type { LaterMessage, MediaBody } from '../contract.js';
import type { Messages } from '../messages.js';
import * as contract from './contract.js';
import { presentSchedule } from './present.js';
import type { ScheduledTemplate } from './schedule.entity.js';
import type { ComposedMessage, Schedules } from './schedules.js';

interface Context {
  schedules: Schedules;
  messages: Messages;
  sessions: Sessions;
  media: Media;
  templates: Templates;
}

/** Mounts the routes of recurring schedules. */
export function mountSchedules(mount: Mount, context: Context): void {
  const { schedules, sessions } = context;
  mount(contract.list, async ({ query }, caller) => {
    const sessionId = query.sessionId ? (await sessions.find(caller, query.sessionId)).id : undefined;
    const { status, limit, cursor } = query;
    const { schedules: found, nextCursor } = await schedules.list(caller, { sessionId, status, limit, cursor });
    return new Reply(found.map(presentSchedule), { meta: { limit, nextCursor } });
  });
  mount(contract.create, async ({ body }, caller, http) => {
    const { sessionId, message, timezone = null, endsAt = null, maxOccurrences = null, name, cron } = body;
    const session = await sessions.resolve(caller, sessionId ?? http.header('X-Session-Id'));
    const composed = await compose(context, session, message, caller, http);
    const fields = { name, cron, timezone, endsAt: endsAt === null ? null : new Date(endsAt), maxOccurrences };
    return reply(await schedules.create(caller, session, fields, composed), composed.warnings);
  });
  mount(contract.read, async ({ params }, caller) => presentSchedule(await schedules.find(caller, params.scheduleId)));
  mount(contract.update, async ({ params, body }, caller, http) => {
    const { message, endsAt, ...rest } = body;
    const { schedule } = await schedules.find(caller, params.scheduleId);
    const composed = message
      ? await compose(context, await sessions.find(caller, schedule.sessionId), message, caller, http)
      : null;
    const end = endsAt === undefined ? {} : { endsAt: endsAt === null ? null : new Date(endsAt) };
    const fields = Object.fromEntries(Object.entries({ ...rest, ...end }).filter(([, value]) => value !== undefined));
    return reply(await schedules.update(caller, params.scheduleId, fields, composed), composed?.warnings ?? []);
  });
  mount(contract.remove, async ({ params }, caller) => {
    await schedules.remove(caller, params.scheduleId);
    return { id: params.scheduleId, deleted: true as const };
  });
  mount(contract.pause, async ({ params }, caller) => presentSchedule(await schedules.pause(caller, params.scheduleId)));
  mount(contract.resume, async ({ params }, caller) => presentSchedule(await schedules.resume(caller, params.scheduleId)));
}

const reply = (view: Parameters<typeof presentSchedule>[0], warnings: Warning[]) =>
  new Reply(presentSchedule(view), { warnings });

/** Checks the message like that of a send, with the same errors, and stores its file. */
async function compose(
  context: Context,
  session: Session,
  message: LaterMessage,
  caller: Caller,
  { res }: RouteHttp,
): Promise<ComposedMessage> {
  const { messages } = context;
  const recipient = messages.recipient(message.recipient, session);
  requireReservedId(recipient);
  const { mentions: named = [], quotedMessageId: quoted, ignoreQuoteErrors = false, urgent: isUrgent = false } = message;
  const mentions = named.map((mention, index) => messages.person(mention, session, `mentions.${index}`).id);
  const quotedMessageId = await messages.quoted({ ...caller, sessionId: session.id }, quoted, ignoreQuoteErrors);
  const { template, ...composed } = await composeContent(context, session, message, caller, res);
  const { file, warnings = [] } = composed;
  const content: MessageContent = composed.content;
  const contents = { content, ...(template ? { template } : {}), mentions, quotedMessageId, ignoreQuoteErrors };
  return { ...contents, recipient: recipient.id, isUrgent, file, warnings: [...warnings, ...(file?.warnings ?? [])] };
}

async function composeContent(
  context: Context,
  session: Session,
  message: LaterMessage,
  caller: Caller,
  res: RouteHttp['res'],
): Promise<Composed & { template?: ScheduledTemplate }> {
  if (message.type === 'template') {
    const { version: used, ...composed } = await composeTemplate(context, session, message, caller, res);
    const { templateId: id, version, type, content: fields } = used;
    return { ...composed, template: { id, version, type, fields, variables: message.variables } };
  }
  return isWithFile(message)
    ? composeMedia(context, session, message, caller, res)
    : composeTyped(context, session, message.type, message);
}

type FileMessage = Extract<LaterMessage, Pick<MediaBody, 'mediaUrl'>> & { type: MediaBody['type'] };
const isWithFile = (message: LaterMessage): message is FileMessage => isMediaType(message.type);
