import { newId, reserveWhatsappId, type MessageContent, type MessageStatus, type SessionStatus } from '@chasqui/shared';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import type { Database } from '../src/db/database.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import type { UnitOfWork } from '../src/db/unit-of-work.js';
import { EventRow } from '../src/events/event.entity.js';
import type { Events } from '../src/events/events.js';
import { JobLeader } from '../src/jobs/job.entity.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { countNew } from '../src/messages/usage/counts.js';
import { Session } from '../src/sessions/session.entity.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { Worker } from '../src/whatsapp/worker.entity.js';
import { png } from './panel.picture.js';

/** Rows for the panel's tests, written straight into the tables. */

export const settings: Session['settings'] = {
  autoReconnect: true,
  storeMedia: true,
  countryCode: null,
  queueIfOffline: true,
  maxQueueAgeHours: 24,
  pacing: { perMinute: 30, chatGapMs: 0, jitterMs: 0, typing: false },
};

type NewSession = Partial<Session> & { accountId: string; name: string; status: SessionStatus };
export async function addSession(write: UnitOfWork, row: NewSession): Promise<string> {
  const id = newId();
  const now = new Date();
  const rest = { liveName: row.name, settings, metadata: {}, createdAt: now, updatedAt: now };
  await write.run((tx) => insertRow(tx, Session, { ...rest, ...row, id }));
  return id;
}

interface NewMessage {
  sessionId: string;
  accountId?: string;
  text: string | null;
  chatName?: string;
  status?: MessageStatus;
  direction?: 'inbound' | 'outbound';
  reason?: [string, string] | undefined;
  at?: Date;
  content?: MessageContent;
  mediaId?: string;
}

/** One message with its events, as a domain would have written them. */
export async function addMessage(database: Database, events: Events, asked: NewMessage): Promise<string> {
  const { status = 'sent', direction = 'outbound', at = new Date(), text, reason } = asked;
  const session = await database.reader.getRepository(Session).findOneByOrFail({ id: asked.sessionId });
  const id = newId(at.getTime());
  const content: MessageContent = asked.content ?? { type: 'text', message: text ?? '' };
  await database.write.run(async (tx) => {
    await insertRow(tx, Message, {
      id,
      accountId: session.accountId,
      sessionId: session.id,
      whatsappKey: reserveWhatsappId(session.accountId, id),
      direction,
      origin: direction === 'inbound' ? 'live' : 'api',
      type: content.type,
      status,
      reasonCode: reason?.[0] ?? null,
      reasonText: reason?.[1] ?? null,
      chatId: '447400123123@c.us',
      chatType: 'private',
      chatName: asked.chatName ?? 'Ines Okafor',
      content,
      text,
      mediaId: asked.mediaId ?? null,
      mentions: [],
      attempts: direction === 'outbound' ? 1 : 0,
      createdAt: at,
      queuedAt: direction === 'outbound' ? at : null,
      sentAt: ['sent', 'delivered', 'read'].includes(status) ? new Date(at.getTime() + 900) : null,
    });
    await countNew(tx, [await tx.manager.findOneByOrFail(Message, { id })]);
    await insertEvents(tx, events, {
      accountId: session.accountId,
      sessionId: session.id,
      messageId: id,
      status,
      direction,
      at,
      reason,
    });
  });
  return id;
}

/** What happened to a message after it was sent: each is an event of it, at its time. */
export async function addMessageEvents(
  database: Database,
  messageId: string,
  happened: { type: string; at: Date; data: Record<string, unknown> }[],
): Promise<void> {
  const { accountId, sessionId } = await database.reader.getRepository(Message).findOneByOrFail({ id: messageId });
  await database.write.run(async (tx) => {
    for (const { type, at, data } of happened) {
      const cursor = ++lastCursor;
      const row = { accountId, sessionId, messageId, type, data, occurredAt: at };
      await insertRow(tx, EventRow, { ...row, cursor, id: newId(), sequence: cursor });
    }
  });
}

type Tx = Parameters<Parameters<UnitOfWork['run']>[0]>[0];
interface Way {
  accountId: string;
  sessionId: string;
  messageId: string;
  status: MessageStatus;
  direction: 'inbound' | 'outbound';
  at: Date;
  reason?: [string, string] | undefined;
}

/** Straight into the table: the catalogue would want a whole message resource, which is the messages domain's to make. */
let lastCursor = 1_000_000;
async function insertEvents(tx: Tx, _events: Events, way: Way): Promise<void> {
  const steps: [string, MessageStatus, number][] =
    way.direction === 'inbound'
      ? [['message.received', 'delivered', 0]]
      : [
          ['message.queued', 'queued', 0],
          ['message.sending', 'sending', 240],
        ];
  if (way.direction === 'outbound' && ['sent', 'delivered', 'read'].includes(way.status))
    steps.push(['message.sent', 'sent', 900]);
  if (['delivered', 'read'].includes(way.status) && way.direction === 'outbound') steps.push(['message.ack', 'delivered', 2100]);
  if (way.status === 'read') steps.push(['message.ack', 'read', 64_000]);
  if (way.status === 'failed' || way.status === 'uncertain') steps.push([`message.${way.status}`, way.status, 3000]);
  for (const [type, status, after] of steps)
    await insertRow(tx, EventRow, {
      cursor: ++lastCursor,
      id: newId(),
      accountId: way.accountId,
      sessionId: way.sessionId,
      sequence: lastCursor,
      type,
      messageId: way.messageId,
      data: {
        status,
        ...(type === 'message.sending' ? { attempt: 1 } : {}),
        reason: way.reason && status === way.status ? { code: way.reason[0], message: way.reason[1] } : null,
      },
      occurredAt: new Date(way.at.getTime() + after),
    });
}

export async function addEvent(
  write: UnitOfWork,
  row: { accountId: string; sessionId: string; type: string; data: Record<string, unknown> },
) {
  const cursor = ++lastCursor;
  await write.run((tx) =>
    insertRow(tx, EventRow, { ...row, cursor, id: newId(), sequence: cursor, messageId: null, occurredAt: new Date() }),
  );
}

type NewKey = { accountId: string; sessionId: string | null; name: string; permissions: string[] };
export async function addKey(write: UnitOfWork, row: NewKey): Promise<string> {
  const id = newId();
  const hash = `hash-of-${id}`;
  await write.run((tx) =>
    insertRow(tx, ApiKey, { ...row, id, hash, prefix: 'cq_live_9f3', lastFour: 'x7Qa', createdAt: new Date() }),
  );
  return id;
}

export async function addImage(write: UnitOfWork, accountId: string, mimetype = 'image/png'): Promise<string> {
  const id = newId();
  const row = {
    id,
    accountId,
    state: 'stored' as const,
    mimetype,
    size: png.length,
    filename: 'receipt.png',
    createdAt: new Date(),
  };
  await write.run((tx) => insertRow(tx, MediaFile, row));
  return id;
}

export async function addWorker(write: UnitOfWork, row: Partial<Worker> & { id: string }): Promise<void> {
  // An hour ahead: no test lasts until this worker would be silent, unless it says so.
  const lastHeartbeatAt = new Date(Date.now() + 3_600_000);
  const rest = { url: 'http://worker.invalid', bootId: newId(), version: '0.1.0', capacity: 50, lastHeartbeatAt };
  await write.run((tx) => insertRow(tx, Worker, { ...rest, ...row }));
}

/** A backend that runs the jobs. It renews its term in the future: no test lasts until it would be missing, unless it says so. */
export const addLeader = (write: UnitOfWork, renewedAt = new Date('2100-01-01T00:00:00Z')): Promise<unknown> =>
  write.run((tx) => updateRows(tx, JobLeader, { id: 'leader' }, { term: 1, owner: newId(), renewedAt }));

/** An endpoint whose receiver has been failing, with one delivery that arrived and one that did not. */
export async function addWebhook(write: UnitOfWork, accountId: string, url: string): Promise<string> {
  const [id, now] = [newId(), new Date()];
  await write.run(async (tx) => {
    await insertRow(tx, Webhook, {
      id,
      accountId,
      url,
      events: ['message.*'],
      types: {},
      secret: 'sealed',
      failures: 12,
      failingSince: new Date(now.getTime() - 600_000),
      openUntil: new Date(now.getTime() + 40_000),
      createdAt: now,
      updatedAt: now,
    });
    for (const [cursor, type, status, statusCode] of [
      [1, 'message.queued', 'delivered', 204],
      [2, 'message.sent', 'failed', 500],
    ] as const) {
      const deliveryId = newId();
      await insertRow(tx, WebhookDelivery, {
        id: deliveryId,
        webhookId: id,
        accountId,
        eventCursor: cursor,
        eventId: newId(),
        type,
        status,
        attempts: 1,
        statusCode,
        createdAt: now,
      });
      await insertRow(tx, WebhookAttempt, {
        id: newId(),
        deliveryId,
        webhookId: id,
        at: now,
        durationMs: 31,
        statusCode,
        requestHeaders: {},
        requestBody: `{"event":"${type}"}`,
        response: statusCode === 500 ? 'upstream is down' : '',
      });
    }
  });
  return id;
}

/** One delivery of an event, with an attempt for each status code; it is delivered if the last one is a success. */
export async function addDelivery(
  { write }: Database,
  { codes, ...row }: { webhookId: string; accountId: string; type: string; codes: number[] },
): Promise<string> {
  const [id, now, cursor] = [newId(), new Date(), ++lastCursor];
  const { accountId, webhookId, type } = row;
  const last = codes.at(-1)!;
  const event = { cursor, id: newId(), accountId, sessionId: null, sequence: cursor, type, messageId: null, data: {} };
  await write.run(async (tx) => {
    await insertRow(tx, EventRow, { ...event, occurredAt: now });
    const outcome = {
      status: last < 300 ? ('delivered' as const) : ('failed' as const),
      attempts: codes.length,
      statusCode: last,
    };
    await insertRow(tx, WebhookDelivery, { ...row, ...outcome, id, eventCursor: cursor, eventId: event.id, createdAt: now });
    for (const [index, statusCode] of codes.entries())
      await insertRow(tx, WebhookAttempt, {
        id: newId(),
        deliveryId: id,
        webhookId,
        at: new Date(now.getTime() + index),
        durationMs: 31,
        statusCode,
        requestHeaders: { 'x-chasqui-event': type, 'x-chasqui-signature': '…' },
        requestBody: `{"event":"${type}"}`,
        response: statusCode < 300 ? '' : '{"error":"down"}',
      });
  });
  return id;
}

/** Jobs and backups about which there is nothing to say. */
export const noUpkeep = {
  jobs: { list: () => Promise.resolve([]), hasLeader: () => Promise.resolve(true) },
  backups: { health: () => Promise.resolve({ schedule: null, hasKey: false, problem: null, lastReadyAt: null }) },
};
