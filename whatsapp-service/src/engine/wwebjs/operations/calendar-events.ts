import type { OperationInput } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import type { RawMessage } from '../translate.js';
import { change } from './change.js';
import { need } from './context.js';
import { observeAll } from './observed.js';

/** Changes of own calendar events: their fields, and that they are cancelled. */

/** The changes of an event, with times in seconds. Absent: as it is. Null: removed. */
interface EventChange {
  whatsappId: string;
  name?: string | undefined;
  description?: string | null | undefined;
  startTime?: number | undefined;
  endTime?: number | null | undefined;
  location?: string | null | undefined;
  callType?: 'none' | 'voice' | 'video' | undefined;
  cancelled: boolean;
}

/** An event as WhatsApp's own function takes it. */
interface WholeEvent {
  name: string;
  description: string | null;
  startTime: number;
  endTime: number | null;
  location: string | null;
  callType: 'none' | 'voice' | 'video';
  isEventCanceled: boolean;
}

export const editEvent = change('messages.edit', {
  needs: [need('WAWebSendEventEditMsgAction', 'sendEventEditMessage')],
  prepare: changeOf,
  before: wholeEvent,
  act: sendEvent,
  effect: showsEvent,
  done: async ({ whatsappId }, context) => {
    const raw = await context.inPage(eventModel, { whatsappId });
    return { message: (await observeAll([raw], context))[0]! };
  },
});

const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1_000);

function changeOf(input: OperationInput<'messages.edit'>): EventChange {
  const { whatsappId, name, description, startsAt, endsAt, location, callType, cancelled = false } = input;
  return {
    whatsappId,
    name,
    description: description === '' ? null : description,
    startTime: startsAt === undefined ? undefined : secondsOf(startsAt),
    endTime: typeof endsAt === 'string' ? secondsOf(endsAt) : endsAt,
    location: location === '' ? null : location,
    callType,
    cancelled,
  };
}

/** Runs in the page. The event with the changes: WhatsApp's own function sends all fields. Refuses what WhatsApp would ignore. */
async function wholeEvent(core: PageCore, given: EventChange): Promise<WholeEvent> {
  const message = await core.requireMessage(given.whatsappId);
  const invalid = (path: string, code: string, text: string): never =>
    core.refuse('VALIDATION_FAILED', { fields: [{ path, code, message: text }] });
  if (message.type !== 'event_creation') invalid('messageId', 'NOT_AN_EVENT', 'This message is not a calendar event.');
  if (!message.id.fromMe) core.refuse('MESSAGE_NOT_EDITABLE', { reason: 'It is not an own message.' });
  const { whatsappId: _, cancelled, ...changes } = given;
  const isChanged = Object.values(changes).some((value) => value !== undefined);
  if (message.isEventCanceled && isChanged) core.refuse('MESSAGE_NOT_EDITABLE', { reason: 'The event is cancelled.' });
  const link = String(message.eventJoinLink ?? '');
  const callType = /\/(voice|video)\//.exec(link)?.[1] as 'voice' | 'video' | undefined;
  const kept = <T>(change: T | undefined, present: T): T => (change === undefined ? present : change);
  const startTime = kept(given.startTime, Number(message.eventStartTime));
  const endTime = kept(given.endTime, message.eventEndTime ? Number(message.eventEndTime) : null);
  if (endTime !== null && endTime <= startTime)
    invalid(given.endTime === undefined ? 'startsAt' : 'endsAt', 'BEFORE_START', 'The event would end before it starts.');
  return {
    name: kept(given.name, String(message.eventName ?? '')),
    description: kept(given.description, message.eventDescription ?? null),
    startTime,
    endTime,
    location: kept(given.location, message.eventLocation?.name ?? null),
    callType: kept(given.callType, callType ?? 'none'),
    isEventCanceled: cancelled || Boolean(message.isEventCanceled),
  };
}

/** Runs in the page. */
async function sendEvent(core: PageCore, { whatsappId }: EventChange, event: WholeEvent): Promise<void> {
  const message = await core.requireMessage(whatsappId);
  const { description, endTime, location, ...fields } = event;
  await core.module('WAWebSendEventEditMsgAction').sendEventEditMessage(
    {
      ...fields,
      description: description ?? undefined,
      endTime: endTime ?? undefined,
      location: location ?? undefined,
    },
    message,
  );
}

/** Runs in the page. */
async function showsEvent(core: PageCore, { whatsappId }: EventChange, event: WholeEvent): Promise<boolean> {
  const message = await core.requireMessage(whatsappId);
  const link = String(message.eventJoinLink ?? '');
  const isLinked = event.callType === 'none' ? link === '' : link.includes(`/${event.callType}/`);
  return (
    isLinked &&
    message.eventName === event.name &&
    (message.eventDescription || null) === event.description &&
    Number(message.eventStartTime) === event.startTime &&
    (message.eventEndTime ? Number(message.eventEndTime) : null) === event.endTime &&
    (message.eventLocation?.name || null) === event.location &&
    Boolean(message.isEventCanceled) === event.isEventCanceled
  );
}

/** Runs in the page. A page that does not tell the time of the change gets the present one: the event was changed just now. */
async function eventModel(core: PageCore, { whatsappId }: { whatsappId: string }): Promise<RawMessage> {
  const model = core.modelOf(await core.requireMessage(whatsappId));
  return { ...model, latestEditSenderTimestampMs: model.latestEditSenderTimestampMs ?? Date.now() };
}
