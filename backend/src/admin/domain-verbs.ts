import { AppError } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { Accounts } from '../accounts/accounts.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import type { Plans } from '../accounts/plans.js';
import { makeOneTimePassword } from '../accounts/secrets.js';
import { readCsv } from '../bulk/accept/csv.js';
import type { Bulk, NewJob } from '../bulk/bulk.js';
import { parts as backupParts } from '../backups/archive/members.js';
import type { Backups } from '../backups/backups.js';
import { defaultGapMs, maxRecipients } from '../bulk/contract.js';
import type { Database } from '../db/database.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import type { Messages } from '../messages/messages.js';
import type { Schedules } from '../messages/recurring/schedules.js';
import type { Privacy } from '../privacy/privacy.js';
import { type Session } from '../sessions/session.entity.js';
import { signingScript } from '../sessions/passkeys.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { Sessions } from '../sessions/sessions.js';
import type { Templates } from '../templates/templates.js';
import type { EndpointSecrets } from '../webhooks/endpoint-secrets.js';
import type { WebhookDispatcher } from '../webhooks/send/dispatcher.js';
import type { DeliveryExplorer } from '../webhooks/explorer.js';
import type { WebhookHistory } from '../webhooks/history.js';
import { testEvent } from '../webhooks/payload.js';
import { Webhook } from '../webhooks/webhook.entity.js';
import type { Webhooks } from '../webhooks/webhooks.js';
import { optOutVerbs, templateVerbs } from './template-opt-out-verbs.js';
import { glanceAt } from './glance.js';
import { fingerprintOf } from './guard.js';
import { messageVerbs } from './message-verbs.js';
import { privacyVerbs } from './privacy-verbs.js';
import { scheduleVerbs } from './schedule-verbs.js';
import type { Gateway } from '../whatsapp/worker-gateway.js';
import type { PanelJob, PanelVerbs, ShownOnce, TestOutcome } from './verbs.js';
import { previewWebhook } from './webhook-preview.js';

export interface Domains {
  database: Database;
  clock: Clock;
  accounts: Accounts;
  keys: ApiKeys;
  plans: Plans;
  webhooks: Webhooks;
  explorer: DeliveryExplorer;
  endpointSecrets: Pick<EndpointSecrets, 'read' | 'shown'>;
  history: WebhookHistory;
  dispatcher: Pick<WebhookDispatcher, 'tryOut'>;
  sessions: Sessions;
  messages: Messages;
  bulk: Bulk;
  schedules: Schedules;
  media: Media;
  thumbnails: Pick<Thumbnails, 'send'>;
  templates: Templates;
  optOuts: OptOuts;
  backups: Backups;
  privacy: Privacy;
  countryCode: string | undefined;
  /** Runs an operation in the page of a session. */
  run: Gateway['run'];
}

/** How long the old secret of an endpoint also signs after a rotation. */
const secretOverlapHours = 24;

/**
 * Implements the panel's verbs with the verbs of the domains, which REST uses too. A person at the panel acts for the account that owns the
 * object: the caller keeps the person's name, credential and address, and has that account's id.
 */
export function createPanelVerbs(domains: Domains): PanelVerbs {
  return {
    auth: authVerbs(domains),
    sessions: sessionVerbs(domains),
    messages: messageVerbs(domains),
    bulk: bulkVerbs(domains),
    schedules: scheduleVerbs(domains),
    accounts: accountVerbs(domains),
    keys: keyVerbs(domains),
    plans: planVerbs(domains),
    webhooks: webhookVerbs(domains),
    templates: templateVerbs(domains),
    optOuts: optOutVerbs(domains),
    backups: {
      create: async (caller) => ({ id: (await domains.backups.create(caller, backupParts)).id }),
      remove: (caller, id) => domains.backups.remove(caller, id),
      file: (caller, id) => domains.backups.file(caller, id),
    },
    privacy: privacyVerbs(domains),
    lists: {
      recordDownload: (caller, table, download) =>
        writeAuditEntry(domains, caller, {
          action: 'list.download',
          objectType: 'list',
          objectId: table,
          changes: { ...download },
        }),
    },
    media: {
      send: (res, file, range) => domains.media.send(res, file, range),
      sendThumbnail: (res, messageId) => domains.thumbnails.send(res, messageId, false),
    },
  };
}

const actingFor = (caller: Caller, accountId: string): Caller => ({ ...caller, accountId });

type AuditEntry = { action: string; objectType: string; objectId: string; accountId?: string; changes?: Record<string, unknown> };

/**
 * Writes the audit entry of a verb whose domain writes none. It runs after the commit of that verb: a change without an entry is better than an
 * entry without a change.
 */
const writeAuditEntry = ({ database, clock }: Domains, caller: Caller, entry: AuditEntry): Promise<void> =>
  database.write.run((tx) => recordAudit(tx, caller, { ...entry, at: clock.now() }));

function authVerbs(domains: Domains): PanelVerbs['auth'] {
  const { database, accounts } = domains;
  const auditLogin = (caller: Caller, action: string): Promise<void> =>
    writeAuditEntry(domains, caller, { action, objectType: 'account', objectId: caller.accountId });
  return {
    async signIn({ login, password, ip }) {
      // By e-mail address, as REST does. An unknown name is passed on: it fails there, is counted, and takes the same time.
      const byName = login.includes('@') ? null : await database.reader.getRepository(Account).findOneBy({ username: login });
      const account = await accounts.authenticatePassword(byName?.email ?? login, password, ip);
      return { accountId: account.id, fingerprint: fingerprintOf(account) };
    },
    readFirstLink: (token, request) => accounts.chooseFirstPassword(token, null, request),
    async useFirstLink(token, next, request) {
      const account = await accounts.chooseFirstPassword(token, next, request);
      return { account, fingerprint: fingerprintOf(account) };
    },
    replaceOneTimePassword: async (caller, next) => ({
      fingerprint: fingerprintOf(await accounts.replaceOneTimePassword(caller, next)),
    }),
    recordLogin: (caller) => auditLogin(caller, 'panel.login'),
    recordLogout: (caller) => auditLogin(caller, 'panel.logout'),
    changePassword: async (caller, input) => ({ fingerprint: fingerprintOf(await accounts.changePassword(caller, input)) }),
  };
}

function sessionVerbs(domains: Domains): PanelVerbs['sessions'] {
  const { sessions } = domains;
  const on = async <T>(caller: Caller, id: string, run: (owner: Caller, session: Session) => Promise<T>): Promise<T> => {
    const session = await find(id);
    return run(actingFor(caller, session.accountId), session);
  };
  const find = async (id: string): Promise<Session> => {
    const session = await sessions.byId(id);
    if (!session) throw new AppError('SESSION_NOT_FOUND');
    return session;
  };
  return {
    glance: async (id, kind) => glanceAt(domains.run, await find(id), kind),
    health: async (id) => sessions.health(await find(id)),
    async create(caller, { accountId, name, deviceName, phoneNumber }) {
      if (!(await domains.accounts.find(accountId))) throw new AppError('ACCOUNT_NOT_FOUND');
      const input = { name, ...(deviceName ? { deviceName } : {}), phoneNumber };
      const created = await sessions.create(actingFor(caller, accountId), input);
      return { id: created.id };
    },
    rename: (caller, id, name) =>
      on(caller, id, async (owner, session) => void (await sessions.update(owner, session, { name }))),
    remove: (caller, id) => on(caller, id, (owner, session) => sessions.remove(owner, session)),
    start: (caller, id) => on(caller, id, async (owner, session) => void (await sessions.start(owner, session))),
    stop: (caller, id) => on(caller, id, async (owner, session) => void (await sessions.stop(owner, session, false))),
    logout: (caller, id) => on(caller, id, async (owner, session) => void (await sessions.stop(owner, session, true))),
    restart: (caller, id) => on(caller, id, async (owner, session) => void (await sessions.restart(owner, session))),
    suspend: (caller, id, reason) => on(caller, id, (owner, session) => sessions.suspend(owner, session, reason)),
    resume: (caller, id) => on(caller, id, (owner, session) => sessions.resume(owner, session)),
    setLimits: (caller, id, changes) =>
      on(caller, id, async (owner, session) => void (await sessions.update(owner, session, { settings: changes }))),
    setSettings: (caller, id, settings) =>
      on(caller, id, async (owner, session) => void (await sessions.update(owner, session, { settings }))),
    unthrottle: (caller, id) => on(caller, id, async (owner, session) => void (await sessions.unthrottle(owner, session))),
    passkeyScript: (caller, id) =>
      on(caller, id, async (_owner, session) => {
        const waiting = await sessions.passkey(session);
        return { script: signingScript(waiting), expiresAt: new Date(waiting.expiresAt) };
      }),
    answerPasskey: (caller, id, answer) => on(caller, id, (owner, session) => sessions.answerPasskey(owner, session, answer)),
    pairingCode: (caller, id, phoneNumber) =>
      on(caller, id, async (owner, session) => {
        const { code, expiresAt } = await sessions.pairingCode(owner, session, phoneNumber);
        return { code, expiresAt: new Date(expiresAt) };
      }),
  };
}

function bulkVerbs({ bulk, sessions }: Domains): PanelVerbs['bulk'] {
  const sessionOf = async (id: string): Promise<Session> => {
    const session = await sessions.byId(id);
    if (!session) throw new AppError('SESSION_NOT_FOUND');
    return session;
  };
  const jobOf = (input: PanelJob): { job: NewJob; columns: string[] } => {
    const { rows, columns } = readCsv(input.csv, {}, maxRecipients);
    const content: NewJob['content'] = { type: 'text', fields: { message: input.message }, media: null };
    const scheduledAt = input.scheduledAt === null ? null : new Date(input.scheduledAt);
    const { name, checkNumbers } = input;
    return { job: { name, content, file: null, recipients: rows, gapMs: defaultGapMs, checkNumbers, scheduledAt }, columns };
  };
  const change = (verb: 'pause' | 'resume' | 'cancel' | 'retry') => async (caller: Caller, id: string) => {
    const job = await bulk.byId(id);
    if (!job) throw new AppError('BULK_JOB_NOT_FOUND');
    await bulk[verb](actingFor(caller, job.accountId), job);
  };
  return {
    async check(_caller, input) {
      const { job, columns } = jobOf(input);
      return { ...(await bulk.check(await sessionOf(input.sessionId), job)), columns };
    },
    async create(caller, input) {
      const session = await sessionOf(input.sessionId);
      const { id } = await bulk.create(actingFor(caller, session.accountId), session, jobOf(input).job, null);
      return { id };
    },
    pause: change('pause'),
    resume: change('resume'),
    cancel: change('cancel'),
    retry: change('retry'),
  };
}

function accountVerbs({ accounts }: Domains): PanelVerbs['accounts'] {
  return {
    async create(caller, input): Promise<ShownOnce> {
      const secret = makeOneTimePassword();
      const { account } = await accounts.create(caller, { ...input, password: secret, mustChangePassword: true });
      return { id: account.id, secret };
    },
    setRole: (caller, id, role) => accounts.setRole(caller, id, role),
    setLimits: async (caller, id, changes) => void (await accounts.govern(caller, id, changes)),
    setTimezone: async (caller, id, timezone) => void (await accounts.update(caller, id, { timezone })),
    activate: (caller, id) => accounts.setActive(caller, id, true),
    deactivate: (caller, id) => accounts.setActive(caller, id, false),
    async resetPassword(caller, id) {
      const secret = makeOneTimePassword();
      await accounts.setPassword(caller, id, secret, { mustChange: true });
      return { id, secret };
    },
  };
}

function planVerbs({ plans }: Domains): PanelVerbs['plans'] {
  return {
    create: async (caller, input) => ({ id: (await plans.create(caller, input)).id }),
    update: async (caller, id, input) => void (await plans.update(caller, id, input)),
    remove: (caller, id) => plans.remove(caller, id),
  };
}

function webhookVerbs(domains: Domains): PanelVerbs['webhooks'] {
  const { database, accounts, sessions, webhooks, endpointSecrets, history, explorer, dispatcher, clock } = domains;
  const everywhere = { all: true } as const;
  const on = async <T>(caller: Caller, id: string, run: (owner: Caller, webhook: Webhook) => Promise<T>): Promise<T> => {
    const row = await database.reader.getRepository(Webhook).findOneBy({ id, deletedAt: IsNull() });
    if (!row) throw new AppError('WEBHOOK_NOT_FOUND');
    return run(actingFor(caller, row.accountId), row);
  };
  const tryOut = async (webhook: Webhook): Promise<TestOutcome> => {
    const { ok, statusCode, durationMs, error } = await dispatcher.tryOut(webhook, testEvent(clock.now()));
    return { ok, statusCode, durationMs, error };
  };
  return {
    async create(caller, { accountId, sessionId, ...input }) {
      if (!(await accounts.find(accountId))) throw new AppError('ACCOUNT_NOT_FOUND');
      if (sessionId && (await sessions.byId(sessionId))?.accountId !== accountId) throw new AppError('SESSION_NOT_FOUND');
      const { webhook, secret } = await webhooks.create(actingFor(caller, accountId), input, sessionId);
      return { id: webhook.id, secret };
    },
    update: (caller, id, input) => on(caller, id, async (owner, webhook) => void (await webhooks.update(owner, webhook, input))),
    rotate: (caller, id) =>
      on(caller, id, async (owner, webhook) => {
        const { secret } = await webhooks.rotate(owner, webhook, secretOverlapHours);
        return { id, secret };
      }),
    remove: (caller, id) => on(caller, id, (owner, webhook) => webhooks.remove(owner, webhook)),
    test: (caller, id) => on(caller, id, async () => tryOut(await endpointSecrets.read(id))),
    async tryDraft(caller, { accountId, webhookId, ...input }) {
      if (!(await accounts.find(accountId))) throw new AppError('ACCOUNT_NOT_FOUND');
      if (webhookId === null) return tryOut(webhooks.draft(actingFor(caller, accountId), input, null));
      return on(caller, webhookId, async (owner) => tryOut(webhooks.draft(owner, input, await endpointSecrets.read(webhookId))));
    },
    async preview(caller, input) {
      const { events, filter, transform } = input;
      const draft = webhooks.draft(actingFor(caller, input.accountId), { events, filter, transform }, null);
      return previewWebhook(database.reader, { ...input, filter: draft.filter });
    },
    headerNames: async (id) => (await endpointSecrets.shown(id)).headers,
    enable: (caller, id) =>
      on(caller, id, async (owner, webhook) => {
        const enabled = await webhooks.enable(owner, webhook);
        if (webhook.disabledAt) await history.recover(enabled, webhook.disabledAt);
      }),
    disable: (caller, id) =>
      on(caller, id, async (owner, webhook) => void (await webhooks.update(owner, webhook, { active: false }))),
    redeliverFailed: (caller, id) =>
      on(caller, id, async (owner, webhook) => ({ queued: await history.redeliverFailed(owner, webhook) })),
    deliveries: (filter, page) => explorer.list(everywhere, filter, page),
    countDeliveries: (filter) => explorer.count(everywhere, filter),
    resend: (caller, which) => explorer.resend(caller, everywhere, which),
  };
}

function keyVerbs({ database, keys, accounts, sessions }: Domains): PanelVerbs['keys'] {
  const find = async (id: string): Promise<ApiKey> => {
    const row = await database.reader.getRepository(ApiKey).findOneBy({ id, deletedAt: IsNull() });
    if (!row) throw new AppError('KEY_NOT_FOUND');
    return row;
  };
  return {
    async create(caller, { accountId, ...input }) {
      const { sessionId } = input;
      if (!(await accounts.find(accountId))) throw new AppError('ACCOUNT_NOT_FOUND');
      if (sessionId && (await sessions.byId(sessionId))?.accountId !== accountId) throw new AppError('SESSION_NOT_FOUND');
      const { row, key } = await keys.create(actingFor(caller, accountId), input);
      return { id: row.id, secret: key };
    },
    async setActive(caller, id, isActive) {
      const { accountId } = await find(id);
      await keys.update(actingFor(caller, accountId), accountId, { id }, { isActive });
    },
    async setRateLimit(caller, id, rateLimit) {
      const { accountId } = await find(id);
      await keys.update(actingFor(caller, accountId), accountId, { id }, { rateLimit });
    },
    async revoke(caller, id) {
      const { accountId } = await find(id);
      await keys.revoke(actingFor(caller, accountId), accountId, { id });
    },
    async regenerate(caller, id) {
      const { accountId } = await find(id);
      const { row, key } = await keys.regenerate(actingFor(caller, accountId), accountId, { id });
      return { id: row.id, secret: key };
    },
  };
}
