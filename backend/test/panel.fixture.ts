import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { AppError, newId, reserveWhatsappId, type MessageContent, type MessageStatus, type SessionStatus } from '@chasqui/shared';
import express from 'express';
import { Account, type Role } from '../src/accounts/account.entity.js';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { Plan } from '../src/accounts/plan.entity.js';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { AuditLog } from '../src/audit/audit.entity.js';
import { createMessageSearch } from '../src/search/search.js';
import { fingerprintOf } from '../src/admin/guard.js';
import { mountPanel } from '../src/admin/panel.js';
import type { PanelVerbs } from '../src/admin/verbs.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { deleteRows, insertRow, updateRows } from '../src/db/rows.js';
import type { UnitOfWork } from '../src/db/unit-of-work.js';
import { EventRow } from '../src/events/event.entity.js';
import { createEvents, type Events } from '../src/events/events.js';
import type { Caller } from '../src/accounts/caller.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { Worker } from '../src/whatsapp/worker.entity.js';

/**
 * The panel over a real database of its own, with verbs that do the least that a test can see: they change the row and write the
 * audit log. The real verbs have tests of their own; here it counts which one is called, by whom, and what the panel makes of it.
 */

export const passwords = {
  admin: 'correct horse battery',
  staff: 'quiet river stones',
  user: 'seven green doors',
  fresh: 'one-time-Xy7',
};

/** A picture of 320 by 200: a till receipt of no shop. PNG by hand: signature, IHDR, IDAT, IEND. */
const picture = { width: 320, height: 200 };
const png = drawReceipt();
function drawReceipt(): Buffer {
  const { width, height } = picture;
  const line = (y: number): Buffer => {
    const isText = y > 24 && y < 170 && y % 18 < 8;
    const end = 60 + (((y - (y % 18)) * 37) % 170);
    return Buffer.from([
      0,
      ...Array.from({ length: width }, (_, x) => (isText && x > 34 && x < end ? 70 : x < 12 || x > 308 ? 214 : 248)),
    ]);
  };
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([size, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, (_, y) => line(y))));
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}
function crc32(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** A zone in which it is six in the evening now: "today" then has had a day, whenever the tests run. */
function eveningZone(): string {
  const ahead = (18 - new Date().getUTCHours() + 24) % 24;
  return ahead <= 14 ? `Etc/GMT-${ahead}` : `Etc/GMT+${24 - ahead}`;
}

export interface World {
  url: string;
  database: Database;
  events: Events;
  /** What was called, in order: `sessions.start`. */
  calls: { verb: string; caller: Caller; args: unknown[] }[];
  accounts: Record<keyof typeof passwords, string>;
  /** Makes the next call of a verb fail. */
  failNext: (verb: string, error: unknown) => void;
  close(): Promise<void>;
}

export async function startWorld({ secureCookies = false } = {}): Promise<World> {
  await bundlePanel();
  const folder = mkdtempSync(join(tmpdir(), 'panel-'));
  const database = await openDatabase({ file: join(folder, 'panel.sqlite') });
  const clock = { now: () => new Date(), monotonic: () => performance.now() };
  const events = createEvents({ clock });
  const calls: World['calls'] = [];
  const failures = new Map<string, unknown>();
  const accounts = await seedAccounts(database.write);
  const verbs = recorded(fakeVerbs(database, events), calls, failures);
  const app = express();
  const log = {
    error: (message: string, fields?: Record<string, unknown>) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
  };
  const quiet = { error: log.error, warn: () => undefined, info: () => undefined, debug: () => undefined, isDebug: false };
  const search = createMessageSearch({ database, log: quiet, report: () => undefined });
  const panel = mountPanel(app, { database, verbs, search, events, clock, log, version: '0.1.0', secureCookies });
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    database,
    events,
    calls,
    accounts,
    failNext: (verb, error) => void failures.set(verb, error),
    async close() {
      panel.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await database.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function seedAccounts(write: UnitOfWork): Promise<World['accounts']> {
  const now = new Date();
  const rows: [keyof typeof passwords, string, Role][] = [
    ['admin', 'mara', 'admin'],
    ['staff', 'tomas', 'staff'],
    ['user', 'bakery', 'user'],
    ['fresh', 'first', 'admin'],
  ];
  const ids = {} as World['accounts'];
  await write.run(async (tx) => {
    for (const [key, username, role] of rows) {
      ids[key] = newId(now.getTime());
      await insertRow(tx, Account, {
        id: ids[key],
        username,
        email: `${username}@example.org`,
        passwordHash: `fake:${passwords[key]}`,
        mustChangePassword: key === 'fresh',
        jwtSecret: `jwt-secret-of-${username}`,
        role,
        timezone: eveningZone(),
        createdAt: now,
        updatedAt: now,
      });
    }
  });
  return ids;
}

/** Writes down every call, and lets a test make one fail. */
function recorded(verbs: PanelVerbs, calls: World['calls'], failures: Map<string, unknown>): PanelVerbs {
  const wrap = (group: string, part: object): object =>
    Object.fromEntries(
      Object.entries(part as Record<string, (...args: unknown[]) => Promise<unknown>>).map(([name, verb]) => [
        name,
        async (...args: unknown[]) => {
          const key = `${group}.${name}`;
          if (failures.has(key)) {
            const error = failures.get(key);
            failures.delete(key);
            throw error;
          }
          calls.push({ verb: key, caller: args[0] as Caller, args: args.slice(1) });
          return verb(...args);
        },
      ]),
    );
  return Object.fromEntries(
    Object.entries(verbs).map(([group, part]) => [group, wrap(group, part as object)]),
  ) as unknown as PanelVerbs;
}

function fakeVerbs(database: Database, events: Events): PanelVerbs {
  const { reader, write } = database;
  const audit = (caller: Caller, action: string, objectType: string, objectId: string): Promise<void> =>
    write.run((tx) =>
      insertRow(tx, AuditLog, {
        id: newId(),
        at: new Date(),
        accountId: caller.accountId,
        actorType: 'panel',
        actorName: caller.credential.name,
        action,
        objectType,
        objectId,
        changes: {},
        ip: caller.ip,
        requestId: caller.requestId,
      }),
    );
  const moved = (action: string, changes: Partial<Session>) => async (caller: Caller, id: string) => {
    await write.run((tx) => updateRows(tx, Session, { id }, changes));
    await audit(caller, action, 'session', id);
  };
  const marked = (action: string, changes: Partial<Message>) => async (caller: Caller, id: string) => {
    await write.run((tx) => updateRows(tx, Message, { id }, changes));
    await audit(caller, action, 'message', id);
  };
  const changed = (action: string, changes: Partial<Account>) => async (caller: Caller, id: string) => {
    await write.run((tx) => updateRows(tx, Account, { id }, changes));
    await audit(caller, action, 'account', id);
  };
  const failedLogins = new Map<string, number>();
  return {
    auth: {
      async signIn({ login, password }) {
        if ((failedLogins.get(login) ?? 0) >= 10) throw new AppError('RATE_LIMITED', { retryAfterSeconds: 900 });
        const account = await reader
          .getRepository(Account)
          .createQueryBuilder('a')
          .addSelect(['a.passwordHash', 'a.jwtSecret'])
          .where('a.email = :login OR a.username = :login', { login })
          .getOne();
        if (account?.passwordHash !== `fake:${password}`) {
          failedLogins.set(login, (failedLogins.get(login) ?? 0) + 1);
          throw new AppError('INVALID_CREDENTIALS');
        }
        if (!account.isActive) throw new AppError('ACCOUNT_INACTIVE');
        return { accountId: account.id, fingerprint: fingerprintOf(account) };
      },
      recordLogin: (caller) => audit(caller, 'panel.login', 'account', caller.accountId),
      recordLogout: (caller) => audit(caller, 'panel.logout', 'account', caller.accountId),
      async changePassword(caller, { current, next }) {
        const account = await reader
          .getRepository(Account)
          .createQueryBuilder('a')
          .addSelect(['a.passwordHash', 'a.jwtSecret'])
          .where({ id: caller.accountId })
          .getOneOrFail();
        if (account.passwordHash !== `fake:${current}`) throw new AppError('INVALID_CREDENTIALS');
        const changes = { passwordHash: `fake:${next}`, mustChangePassword: false };
        await write.run((tx) => updateRows(tx, Account, { id: caller.accountId }, changes));
        return { fingerprint: fingerprintOf({ ...account, ...changes }) };
      },
    },
    sessions: {
      async create(caller, { accountId, name }) {
        const id = await addSession(write, { accountId, name, status: 'disconnected' });
        await audit(caller, 'session.created', 'session', id);
        return { id };
      },
      start: moved('session.started', { desired: 'running', status: 'initializing' }),
      stop: moved('session.stopped', { desired: 'stopped', status: 'disconnected' }),
      logout: moved('session.logged_out', { desired: 'stopped', status: 'disconnected', phoneNumber: null }),
      restart: moved('session.restarted', { status: 'initializing' }),
      suspend: moved('session.suspended', { status: 'suspended' }),
      resume: moved('session.resumed', { status: 'disconnected' }),
      pairingCode: () => Promise.resolve({ code: 'K7Q2M9XA', expiresAt: new Date(Date.now() + 60_000) }),
      setLimits: (caller, id, changes) =>
        moved('session.limits', { settings: { ...settings, ...changes } as Session['settings'] })(caller, id),
    },
    messages: {
      async sendText(caller, sessionId, { recipient, message }) {
        const id = await addMessage(database, events, { sessionId, text: message, chatName: recipient, status: 'sent' });
        await audit(caller, 'message.sent', 'message', id);
        return { id };
      },
      retry: marked('message.retried', { status: 'queued' }),
      cancel: marked('message.cancelled', { status: 'cancelled' }),
      async decideHeld(caller, id, decision) {
        const { linkedAccountNumber } = await reader.getRepository(Session).findOneByOrFail({ id });
        const held = { sessionId: id, status: 'queued' as const, linkedAccountNumber: 1 };
        const changes = decision === 'send' ? { linkedAccountNumber } : { status: 'cancelled' as const };
        await write.run((tx) =>
          updateRows(tx, Message, decision === 'send' ? { ...held, hasUncertainAttempt: false } : held, changes),
        );
        await audit(caller, `message.held_${decision}`, 'session', id);
      },
      resolve: (caller, id, as) => marked('message.resolved', { status: as === 'retry' ? 'queued' : as })(caller, id),
    },
    accounts: {
      async create(caller, input) {
        const id = newId();
        const now = new Date();
        await write.run((tx) =>
          insertRow(tx, Account, { ...input, id, passwordHash: 'fake:once', jwtSecret: 'x', createdAt: now, updatedAt: now }),
        );
        await audit(caller, 'account.created', 'account', id);
        return { id, secret: 'one-time-7Hq' };
      },
      setRole: (caller, id, role) => changed('account.role', { role })(caller, id),
      setLimits: (caller, id, changes) => changed('account.limits', changes)(caller, id),
      activate: changed('account.activated', { isActive: true }),
      deactivate: changed('account.deactivated', { isActive: false }),
      resetPassword: async (caller, id) => {
        await changed('account.password_reset', { passwordHash: 'fake:once', mustChangePassword: true })(caller, id);
        return { id, secret: 'once' };
      },
    },
    keys: {
      create: (_caller, input) => addKey(write, input).then((id) => ({ id, secret: 'cq_live_shown_once' })),
      setActive: async (_caller, id, isActive) => void (await write.run((tx) => updateRows(tx, ApiKey, { id }, { isActive }))),
      setRateLimit: async (_caller, id, rateLimit) =>
        void (await write.run((tx) => updateRows(tx, ApiKey, { id }, { rateLimit }))),
      revoke: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, ApiKey, { id }, { isActive: false, deletedAt: new Date() }))),
      regenerate: (_caller, id) => Promise.resolve({ id, secret: 'cq_live_made_again' }),
    },
    webhooks: {
      async create(_caller, { accountId, sessionId, url, events: names }) {
        const id = newId();
        const now = new Date();
        await write.run((tx) =>
          insertRow(tx, Webhook, {
            id,
            accountId,
            sessionId,
            url,
            events: names,
            types: {},
            secret: 'sealed',
            createdAt: now,
            updatedAt: now,
          }),
        );
        return { id, secret: 'whsec_shown_once' };
      },
      test: () => Promise.resolve({ ok: true, statusCode: 204, durationMs: 12, error: null }),
      enable: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, Webhook, { id }, { isActive: true, disabledReason: null }))),
      disable: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, Webhook, { id }, { isActive: false, disabledReason: 'BY_REQUEST' }))),
      redeliverFailed: async (_caller, id) =>
        void (await write.run((tx) =>
          updateRows(tx, WebhookDelivery, { webhookId: id, status: 'failed' }, { status: 'pending' }),
        )),
      redeliver: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, WebhookDelivery, { id }, { status: 'pending' }))),
    },
    plans: {
      async create(_caller, input) {
        const id = newId();
        const now = new Date();
        await write.run((tx) => insertRow(tx, Plan, { ...input, id, createdAt: now, updatedAt: now }));
        return { id };
      },
      update: async (_caller, id, input) =>
        void (await write.run((tx) => updateRows(tx, Plan, { id }, { ...input, updatedAt: new Date() }))),
      remove: async (_caller, id) => void (await write.run((tx) => deleteRows(tx, Plan, { id }))),
    },
    media: {
      async send(res, file) {
        res.type(file.mimetype).send(png);
        return Promise.resolve();
      },
    },
  };
}

const settings: Session['settings'] = {
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
  reason?: [string, string];
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

type Tx = Parameters<Parameters<UnitOfWork['run']>[0]>[0];
interface Way {
  accountId: string;
  sessionId: string;
  messageId: string;
  status: MessageStatus;
  direction: 'inbound' | 'outbound';
  at: Date;
  reason?: [string, string];
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
  const rest = { url: 'http://worker.invalid', bootId: newId(), version: '0.1.0', capacity: 50, lastHeartbeatAt: new Date() };
  await write.run((tx) => insertRow(tx, Worker, { ...rest, ...row }));
}

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
