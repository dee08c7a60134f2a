/* eslint-disable max-lines -- one world in memory, with a stand-in for each verb of the panel */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, newId, parseRecipient } from '@chasqui/shared';
import express from 'express';
import { Account, type Role } from '../src/accounts/account.entity.js';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { Plan } from '../src/accounts/plan.entity.js';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { AuditLog } from '../src/audit/audit.entity.js';
import type { Backup } from '../src/backups/backup.entity.js';
import { jobTimes } from '../src/jobs/due.js';
import { createJobs } from '../src/jobs/jobs.js';
import { createMessageSearch } from '../src/search/search.js';
import { fingerprintOf } from '../src/admin/guard.js';
import { createOverview } from '../src/admin/overview.js';
import { mountPanel } from '../src/admin/panel.js';
import type { GlanceRow, PanelVerbs } from '../src/admin/verbs.js';
import { openDatabase, type Database } from '../src/db/database.js';
import { previewWebhook } from '../src/admin/webhook-preview.js';
import { filterWith } from '../src/webhooks/filter.js';
import { requireTransform } from '../src/webhooks/payload.js';
import { deleteRows, insertRow, readRows, updateRows } from '../src/db/rows.js';
import type { UnitOfWork } from '../src/db/unit-of-work.js';
import { createEvents, type Events } from '../src/events/events.js';
import type { Caller } from '../src/accounts/caller.js';
import { systemClock } from '../src/lib/clock.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { createDeliveryExplorer } from '../src/webhooks/explorer.js';
import { Webhook, WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { createPlans } from '../src/accounts/plans.js';
import { createStatistics } from '../src/statistics/statistics.js';
import { png } from './panel.picture.js';
import { noContacts } from './support/contacts.js';
import { addKey, addLeader, addMessage, addSession, settings } from './panel.rows.js';

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
  const backups = createBackups(folder);
  const verbs = recorded(fakeVerbs(database, events, backups), calls, failures);
  const app = express();
  const log = {
    error: (message: string, fields?: Record<string, unknown>) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`),
  };
  const quiet = { error: log.error, warn: () => undefined, info: () => undefined, debug: () => undefined, isDebug: false };
  const search = createMessageSearch({ database, log: quiet, report: () => undefined });
  const bulk = { byId: async () => null, present: async () => [], recipients: async () => ({ rows: [], total: 0 }) };
  const statistics = createStatistics(
    { database, clock },
    {
      plans: createPlans({ database, clock }),
      sessions: { present: () => null as never },
      contacts: noContacts,
      quotas: { usageOf: () => Promise.resolve({ today: 0, thisMonth: 0 }) },
    },
  );
  const jobs = createJobs({ database, clock }, { times: jobTimes({}, 'UTC'), wake: () => undefined });
  await addLeader(database.write);
  const panel = mountPanel(app, {
    database,
    verbs,
    search,
    bulk,
    jobs,
    statistics,
    overview: createOverview({ reader: database.reader, clock, jobs, backups, times: { lateMs: 7_000, lostMs: 30_000 } }),
    backups,
    events,
    clock,
    log,
    version: '0.1.0',
    secureCookies,
  });
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
  const wrapped = Object.fromEntries(
    Object.entries(verbs).map(([group, part]) => [group, wrap(group, part as object)]),
  ) as unknown as PanelVerbs;
  // The one verb that answers without a promise.
  return { ...wrapped, schedules: { ...wrapped.schedules, next: verbs.schedules.next } };
}

const glanceRows: GlanceRow[] = [
  { id: '447400123123@c.us', title: 'Ines Okafor', detail: 'Is the rye loaf back?', unread: 2, at: Date.now() - 240_000 },
  { id: '120363041111111111@g.us', title: 'Harbour team', detail: 'See you on Friday.', unread: 0, at: Date.now() - 7_200_000 },
];

/** Backups as rows in memory, all with the same file. */
function createBackups(folder: string) {
  const rows: Backup[] = [];
  const file = join(folder, 'chasqui-2026.backup');
  writeFileSync(file, 'sealed');
  return {
    rows,
    list: () => Promise.resolve([...rows]),
    health: () => Promise.resolve({ schedule: null, hasKey: true, problem: null, lastReadyAt: null }),
    add(): string {
      const now = new Date();
      const made = { trigger: 'manual' as const, parts: [], host: 'here', file, size: 6, sha256: null, verified: true };
      const rest = { contents: null, errorCode: null, errorText: null, createdAt: now, finishedAt: now };
      rows.unshift({ ...made, ...rest, id: newId(), status: 'ready' });
      return rows[0]!.id;
    },
  };
}

function fakeVerbs(database: Database, events: Events, backups: ReturnType<typeof createBackups>): PanelVerbs {
  const { reader, write } = database;
  const explorer = createDeliveryExplorer({ database, clock: systemClock }, { subscriptions: { wake: () => undefined } });
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
      // Links are tested with the real accounts (first-link.test.ts).
      readFirstLink: async () => Promise.reject(new AppError('INVALID_CREDENTIALS')),
      useFirstLink: async () => Promise.reject(new AppError('INVALID_CREDENTIALS')),
      async replaceOneTimePassword(caller, next) {
        const account = await reader
          .getRepository(Account)
          .createQueryBuilder('a')
          .addSelect(['a.passwordHash', 'a.jwtSecret'])
          .where({ id: caller.accountId })
          .getOneOrFail();
        const changes = { passwordHash: `fake:${next}`, mustChangePassword: false };
        await write.run((tx) => updateRows(tx, Account, { id: caller.accountId }, changes));
        return { fingerprint: fingerprintOf({ ...account, ...changes }) };
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
    backups: {
      async create(caller) {
        const id = backups.add();
        await audit(caller, 'backup.create', 'backup', id);
        return { id };
      },
      async remove(caller, id) {
        backups.rows.splice(
          backups.rows.findIndex((row) => row.id === id),
          1,
        );
        await audit(caller, 'backup.delete', 'backup', id);
      },
      file(_caller, id) {
        const row = backups.rows.find((one) => one.id === id);
        return row ? Promise.resolve(row.file) : Promise.reject(new AppError('BACKUP_NOT_FOUND'));
      },
    },
    privacy: {
      exportContact: (caller) => audit(caller, 'contact.export', 'contact', 'export-1').then(() => ({ id: 'export-1' })),
      eraseContact: (caller) => audit(caller, 'contact.erase', 'contact', 'erasure-1').then(() => ({ id: 'erasure-1' })),
      archive: () => Promise.reject(new AppError('EXPORT_NOT_FOUND')),
    },
    lists: { recordDownload: (caller, table) => audit(caller, 'list.download', 'list', table) },
    sessions: {
      async create(caller, { accountId, name }) {
        const id = await addSession(write, { accountId, name, status: 'disconnected' });
        await audit(caller, 'session.created', 'session', id);
        return { id };
      },
      rename: (caller, id, name) => moved('session.renamed', { name, liveName: name })(caller, id),
      remove: (caller, id) => moved('session.removed', { deletedAt: new Date(), liveName: id })(caller, id),
      start: moved('session.started', { desired: 'running', status: 'initializing' }),
      stop: moved('session.stopped', { desired: 'stopped', status: 'disconnected' }),
      logout: moved('session.logged_out', { desired: 'stopped', status: 'disconnected', phoneNumber: null }),
      restart: moved('session.restarted', { status: 'initializing' }),
      suspend: moved('session.suspended', { status: 'suspended' }),
      resume: moved('session.resumed', { status: 'disconnected' }),
      pairingCode: () => Promise.resolve({ code: 'K7Q2M9XA', expiresAt: new Date(Date.now() + 60_000) }),
      passkeyScript: () => Promise.resolve({ script: '(async () => {})();', expiresAt: new Date(Date.now() + 60_000) }),
      answerPasskey: () => Promise.resolve(),
      glance: (_id, kind) => Promise.resolve(kind === 'chats' ? glanceRows : []),
      health: () =>
        Promise.resolve({
          stale: false,
          lastRoundTripAt: new Date().toISOString(),
          roundTripMs: 12,
          canaryAt: new Date().toISOString(),
          recoveryStep: null,
          restrictions: [{ kind: 'reach_out_lock', message: 'WhatsApp lets this account write to no new chats.', until: null }],
          throttle: { factor: 0.5, until: new Date(Date.now() + 3_600_000).toISOString(), reason: 'reach_out_lock' },
          linkedDevices: { count: 3, checkedAt: new Date().toISOString() },
          loginCopy: { bytes: 4_300_000, copiedAt: new Date().toISOString() },
          selfCheck: null,
        }),
      setLimits: (caller, id, changes) =>
        moved('session.limits', { settings: { ...settings, ...changes } as Session['settings'] })(caller, id),
      setSettings: (caller, id, changes) =>
        moved('session.settings', { settings: { ...settings, ...changes } as Session['settings'] })(caller, id),
      unthrottle: moved('session.unthrottle', { throttle: null }),
    },
    messages: {
      readRecipient: ({ recipient }) => {
        const result = parseRecipient(recipient);
        if (result.ok) return Promise.resolve(result.address);
        const fields = [{ path: 'recipient', code: 'INVALID_RECIPIENT', message: result.message }];
        return Promise.reject(new AppError('INVALID_RECIPIENT', { fields }, result.message));
      },
      receipts: () => {
        const contact = { id: '5511999990001@c.us', phone: '+5511999990001', lid: null, name: 'Ana' };
        const receipt = { contact, at: new Date().toISOString() };
        const remaining = { delivered: 0, read: 1, played: 2 };
        return Promise.resolve({ delivered: [receipt], read: [receipt], played: [], remaining });
      },
      async resendTo(caller, id, recipient) {
        const { sessionId, text, content } = await reader.getRepository(Message).findOneByOrFail({ id });
        const copy = await addMessage(database, events, { sessionId, text, chatName: recipient, content: content as never });
        await audit(caller, 'message.sent', 'message', copy);
        return { id: copy };
      },
      async sendText(caller, sessionId, { recipient, message }) {
        const id = await addMessage(database, events, { sessionId, text: message, chatName: recipient, status: 'sent' });
        await audit(caller, 'message.sent', 'message', id);
        return { id };
      },
      retry: marked('message.retried', { status: 'queued' }),
      reschedule: (caller, id, { scheduledAt }) =>
        marked('message.rescheduled', { scheduledAt: new Date(scheduledAt) })(caller, id),
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
    bulk: {
      check: async () => ({
        total: 1,
        accepted: 1,
        skipped: {},
        isAcceptable: true,
        issues: [],
        columns: ['phone'],
        preview: null,
        estimatedEndAt: null,
      }),
      async create(caller) {
        const id = newId();
        await audit(caller, 'bulk.create', 'bulk_job', id);
        return { id };
      },
      pause: (caller, id) => audit(caller, 'bulk.pause', 'bulk_job', id),
      resume: (caller, id) => audit(caller, 'bulk.resume', 'bulk_job', id),
      cancel: (caller, id) => audit(caller, 'bulk.cancel', 'bulk_job', id),
      retry: (caller, id) => audit(caller, 'bulk.retry', 'bulk_job', id),
    },
    schedules: {
      create: () => Promise.resolve({ id: newId() }),
      change: () => Promise.resolve(),
      next: () => [1, 2, 3, 4, 5].map((days) => new Date(Date.now() + days * 86_400_000)),
      pause: () => Promise.resolve(),
      resume: () => Promise.resolve(),
      delete: () => Promise.resolve(),
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
      setTimezone: (caller, id, timezone) => changed('account.timezone', { timezone })(caller, id),
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
      async create(_caller, { accountId, sessionId, url, events: names, headers, filter, transform, retry }) {
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
            headers: headers ? JSON.stringify(headers) : null,
            filter: filter ?? null,
            transform: transform ?? null,
            retry: retry ?? null,
            secret: 'sealed',
            createdAt: now,
            updatedAt: now,
          }),
        );
        return { id, secret: 'whsec_shown_once' };
      },
      test: () => Promise.resolve({ ok: true, statusCode: 204, durationMs: 12, error: null }),
      tryDraft: () => Promise.resolve({ ok: false, statusCode: 401, durationMs: 9, error: null }),
      async preview(_caller, draft) {
        requireTransform(draft.transform);
        return previewWebhook(reader, { ...draft, filter: draft.filter && filterWith(draft.filter) });
      },
      async headerNames(id) {
        const [row] = await readRows(reader, Webhook, 'id = ?', [id], ['headers']);
        return row?.headers ? Object.keys(JSON.parse(row.headers) as object) : [];
      },
      enable: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, Webhook, { id }, { isActive: true, disabledReason: null }))),
      disable: async (_caller, id) =>
        void (await write.run((tx) => updateRows(tx, Webhook, { id }, { isActive: false, disabledReason: 'BY_REQUEST' }))),
      async update(_caller, id, { events: names, headers, ...fields }) {
        const sealed = headers ? { headers: JSON.stringify(headers) } : {};
        await write.run((tx) => updateRows(tx, Webhook, { id }, { ...fields, ...sealed, events: names }));
      },
      rotate: (_caller, id) => Promise.resolve({ id, secret: 'whsec_rotated' }),
      async remove(_caller, id) {
        await write.run((tx) => updateRows(tx, Webhook, { id }, { deletedAt: new Date() }));
      },
      redeliverFailed: async (_caller, id) => ({
        queued: await write.run((tx) =>
          updateRows(tx, WebhookDelivery, { webhookId: id, status: 'failed' }, { status: 'pending' }),
        ),
      }),
      deliveries: (filter, page) => explorer.list({ all: true }, filter, page),
      countDeliveries: (filter) => explorer.count({ all: true }, filter),
      resend: (caller, which) => explorer.resend(caller, { all: true }, which),
    },
    templates: {
      create: () => Promise.resolve({ id: 'template' }),
      update: () => Promise.resolve(),
      remove: () => Promise.resolve(),
      preview: (_accountId, { content }) =>
        Promise.resolve({ variables: ['name'], missing: [], text: String(content['message']) }),
    },
    optOuts: {
      add: () => Promise.resolve({ id: 'optout' }),
      import: () => Promise.resolve({ added: 1, known: 0, invalid: [] }),
      remove: () => Promise.resolve(),
      setKeywords: () => Promise.resolve(),
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
      async sendThumbnail(res) {
        res.type('image/png').send(png);
        return Promise.resolve();
      },
    },
  };
}
