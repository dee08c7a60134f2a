import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { AnyRoute } from '@chasqui/shared';
import { listen } from '@chasqui/shared/express';
import { createStopper, type Stopper } from '@chasqui/shared/process';
import { createAccounts, type FirstAdmin } from './accounts/accounts.js';
import { createApiKeys } from './accounts/api-keys.js';
import { createCredentialChanges } from './lib/credential-changes.js';
import { createKeyUsage } from './accounts/key-usage.js';
import { mountKeys } from './accounts/keys.routes.js';
import { createPlans } from './accounts/plans.js';
import { createAccountPresenter } from './accounts/present.js';
import { mountAccounts } from './accounts/routes.js';
import { createTokens } from './accounts/tokens.js';
import { createPanelVerbs } from './admin/domain-verbs.js';
import type { mountPanel } from './admin/panel.js';
import { mountStaff } from './admin/staff.js';
import type { Config } from './config.js';
import { openDatabase, type Database, type DatabaseLocation } from './db/database.js';
import { guardFor, type GuardMode } from './db/transaction-guard.js';
import { openPresence } from './db/presence.js';
import { createSharedClock } from './db/shared-clock.js';
import { createStoredWindows } from './db/stored-windows.js';
import { createEvents } from './events/events.js';
import { createEventLog } from './events/log.js';
import { createReadingOf, mountEvents } from './events/routes.js';
import { serveSockets } from './events/socket.js';
import { createStreams } from './events/streams.js';
import { createTickets } from './events/tickets.js';
import { startWake } from './events/wake.js';
import { createFailures, describeError, type Failures } from './failures/failures.js';
import { createAuthentication } from './http/authentication.js';
import type { Caller } from './accounts/caller.js';
import { mountDocuments } from './http/documents.js';
import { createDrain } from './http/drain.js';
import { mountHealth } from './http/health.js';
import { createRequestLimits } from './http/request-limits.js';
import { createIdempotentCalls } from './http/idempotent-calls.js';
import { createServer, presentError } from './http/server.js';
import { admitTickets, createStreamCredentials } from './events/stream-credentials.js';
import { createReseal } from './jobs/reseal.js';
import { createRetention } from './jobs/retention.js';
import { startSweep } from './jobs/sweep.js';
import { systemClock, type Clock } from './lib/clock.js';
import { createEgress } from './lib/egress.js';
import { createLog, errorFields, type Log } from './lib/log.js';
import { openFilesLimit } from './lib/open-files.js';
import { createSafeFetch } from './lib/safe-fetch.js';
import { createSealer } from './lib/sealer.js';
import { createSharedWindows } from './lib/shared-windows.js';
import { restrictDataFolder } from './lib/private-files.js';
import { acquireExclusive } from './lib/exclusive.js';
import { createLocalWindows } from './lib/windows.js';
import { createVoiceConverter } from './media/voice.js';
import { createMedia } from './media/media.js';
import { createUploadReader } from './lib/uploads.js';
import { createArrivals } from './messages/receive/arrivals.js';
import { createContentStore } from './messages/sealed-content.js';
import { createDispatcher } from './messages/send/dispatcher.js';
import { createIdempotency } from './messages/accept/idempotency.js';
import type { Core } from './core.js';
import { createContacts } from './contacts/contacts.js';
import { createMessages } from './messages/messages.js';
import { createPacing } from './messages/send/pacing.js';
import { createQuotas } from './messages/quotas/quotas.js';
import { mountMessages } from './messages/routes.js';
import { createMessageState } from './messages/state.js';
import { claimLeaseMs, connectionLimits, defaultSettings, defaultStreamTimes, limitFigures, webhookOptions } from './options.js';
import { createPrivacy } from './privacy/privacy.js';
import { mountPrivacy } from './privacy/routes.js';
import { createMessageSearch } from './search/search.js';
import { createSessions } from './sessions/sessions.js';
import { mountSessions } from './sessions/routes.js';
import { createSessionState } from './sessions/state.js';
import { createStorageOf } from './sessions/storage-mode.js';
import { createStoredReplies } from './messages/accept/stored-replies.js';
import { endOfDeletedSessions } from './webhooks/deleted-sessions.js';
import { createDeliveries } from './webhooks/deliveries.js';
import { createWebhookDispatcher } from './webhooks/send/dispatcher.js';
import { createWebhookHistory } from './webhooks/history.js';
import { createPost } from './webhooks/send/post.js';
import { mountWebhooks } from './webhooks/routes.js';
import { createWebhooks } from './webhooks/webhooks.js';
import { createWorkerClient } from './whatsapp/client.js';
import { createFetcher } from './whatsapp/fetcher.js';
import { createGate } from './whatsapp/gate.js';
import { createHeartbeats } from './whatsapp/heartbeats.js';
import { createInbox } from './whatsapp/inbox.js';
import { mountOperations } from './whatsapp/operations.js';
import { createPlacement } from './whatsapp/placement.js';
import { mountInternal } from './whatsapp/routes.js';
import { mountWorkers } from './whatsapp/workers.js';
import { version } from './version.js';

export interface Backend {
  url: string;
  log: Log;
  database: Database;
  failures: Failures;
  routes: readonly AnyRoute[];
  /** Resolves to the names of the steps that failed or did not end in time. */
  close(): Promise<readonly string[]>;
}

/** How long running sends and deliveries may delay a stop. What is cut off is looked into by the next start. */
const workStopMs = 10_000;

/** Replacements for tests, and what main.ts hands in: importing AdminJS takes seconds, and most tests do without. */
interface Overrides {
  clock?: Clock;
  /** The clock of this machine, from which the backend's own is derived. */
  machineClock?: Clock;
  log?: Log;
  port?: number;
  /** Hears, at the very first start, what is to be shown once. */
  showFirstAdminPassword?: (first: FirstAdmin) => void;
  mountPanel?: typeof mountPanel;
  streamTimes?: Partial<typeof defaultStreamTimes>;
  /** When what is out of date is looked through for the first time. */
  firstSweepMs?: number;
  /** What reading through the pool inside a transaction does. */
  guard?: GuardMode;
}

/** Starts a backend. A start that fails closes what it had opened. */
export async function startBackend(config: Config, over: Overrides = {}): Promise<Backend> {
  const log = over.log ?? createLog(config.LOG_LEVEL);
  const stopper = createStopper(log);
  try {
    return await buildBackend(config, over, log, stopper);
  } catch (error) {
    await stopper.stop();
    throw error;
  }
}

/** Backends that share a database share its clock; on SQLite there is one backend, and its machine's clock is as good. */
async function clockFor(database: Database, base: Clock, log: Log, stopper: Stopper): Promise<Clock> {
  if (database.dialect === 'sqlite') return base;
  const shared = createSharedClock({ base, database, log });
  stopper.add('connections', 'shared clock', () => shared.stop());
  await shared.read();
  return shared;
}

/** The only place that constructs and wires. Each part registers how it is stopped as soon as it is open. */
async function buildBackend(config: Config, over: Overrides, log: Log, stopper: Stopper): Promise<Backend> {
  const streamTimes = { ...defaultStreamTimes, ...over.streamTimes };
  const releaseLock = 'file' in config.database ? acquireExclusive(join(config.dataDir, 'backend.lock')) : () => undefined;
  stopper.add('locks', 'backend lock', releaseLock);
  restrictDataFolder(config.dataDir);
  const database = await openDatabase(config.database, { log, guard: over.guard ?? guardFor(config.NODE_ENV, log) });
  stopper.add('data', 'database', () => database.close());
  const clock = over.clock ?? (await clockFor(database, over.machineClock ?? systemClock, log, stopper));
  const presence = await openPresence({ location: config.database, database, owner: randomUUID(), log });
  stopper.add('data', 'presence', () => presence.close());

  const failures = createFailures({ database, clock, log });
  const { report } = failures;
  stopper.add('connections', 'failure records', () => failures.stop());
  const sealer = createSealer(config.encryptionKeys);
  const egress = createEgress({ allow: config.EGRESS_ALLOW });
  const deliveries = createDeliveries({ database, owner: presence.owner });
  const webhooks = createWebhooks({
    database,
    deliveries,
    sealer,
    egress,
    clock,
    rules: {
      maxPerSession: config.MAX_WEBHOOKS_PER_SESSION,
      maxPerAccount: config.MAX_WEBHOOKS_PER_ACCOUNT,
      httpsOnly: config.NODE_ENV === 'production',
    },
    report,
  });
  const events = createEvents({
    clock,
    deliver: webhooks.deliver,
    listenerFailed: (error, { type, accountId, sessionId }) => {
      log.error('A listener of events failed; the others got the event.', { type, sessionId, ...errorFields(error) });
      report({ kind: 'listener', subject: type, accountId, sessionId, ...describeError(error) });
    },
  });
  const core: Core = { database, events, clock, log, report };
  const credentials = createCredentialChanges();
  const keys = createApiKeys({
    database,
    clock,
    events,
    credentials,
    rules: {
      maxPerSession: config.MAX_KEYS_PER_SESSION,
      expiryDays: config.KEY_EXPIRY_DAYS,
      autoRotation: config.KEY_AUTO_ROTATION,
      noticeDays: config.KEY_EXPIRY_NOTICE_DAYS,
    },
    report,
  });
  const keyUsage = createKeyUsage({ database, clock });
  // A database that is away loses these counts, and nothing else.
  stopper.add('connections', 'key usage', () => keyUsage.flush().catch(() => undefined));
  const plans = createPlans({ database, clock });
  const storageOf = createStorageOf({ installation: config.MESSAGE_CONTENT_STORAGE, limitsOf: plans.limitsOf });
  const contacts = createContacts(core, { storageOf });
  const tokens = createTokens({ database, clock, secret: config.jwtSecret, hours: config.JWT_EXPIRES_IN, credentials });
  const windows = config.REDIS_URL ? createSharedWindows({ url: config.REDIS_URL, clock, log }) : createLocalWindows(clock);
  stopper.add('connections', 'request limits', () => windows.close());
  // Requests are counted by each backend without Redis; failed logins are rare and are shared through the database then.
  const loginWindows = config.REDIS_URL || database.dialect === 'sqlite' ? windows : createStoredWindows({ database, log });
  const accounts = createAccounts({
    database,
    clock,
    keys,
    credentials,
    windows: loginWindows,
    timezone: config.QUOTA_TIMEZONE,
    forgetNames: contacts.forgetNames,
  });
  credentials.subscribe(plans.forget);
  const limits = createRequestLimits(windows, limitFigures(config), keyUsage);
  const safeFetch = createSafeFetch(egress);
  const contents = createContentStore(sealer);
  const media = createMedia(core, {
    dir: config.mediaDir,
    maxBytes: config.MAX_FILE_SIZE,
    allowed: config.ALLOWED_FILE_TYPES,
    safeFetch,
    convertVoice: createVoiceConverter({ ffmpeg: config.FFMPEG_PATH, maxBytes: config.MAX_FILE_SIZE }),
    sealer,
  });

  const retention = createRetention({
    database,
    media,
    clock,
    days: { messages: config.MESSAGE_RETENTION_DAYS, media: config.MEDIA_RETENTION_DAYS, events: config.EVENT_RETENTION_DAYS },
    report,
  });
  const replies = createStoredReplies({ database, sealer });
  const reseal = createReseal({ database, sealer, webhooks, contents, media, replies, log, report });
  const eventLog = createEventLog({ database, clock, oldestAvailable: retention.oldestAvailable });

  const client = createWorkerClient({ serviceKey: config.serviceKey });
  stopper.add('connections', 'worker client', () => client.close());
  const leaseMs = config.LEASE_SECONDS * 1000;
  const placement = createPlacement({
    database,
    clock,
    client,
    urls: config.workerUrls,
    aliveMs: Math.max(leaseMs, config.HEARTBEAT_SECONDS * 3_000),
  });
  const gate = createGate({
    client,
    placement,
    media,
    contents,
    storageOf,
    sendDeadlineMs: config.SEND_DEADLINE_MS,
    leaseMs,
  });
  const sessionState = createSessionState({ events, clock });
  const sessions = createSessions({
    database,
    events,
    state: sessionState,
    clock,
    gate,
    limitsOf: plans.limitsOf,
    revokeKeys: keys.revokeOfSession,
    forgetNames: contacts.forgetNames,
    defaults: {
      settings: defaultSettings(config),
      countryCode: config.DEFAULT_COUNTRY_CODE,
      initWaitMs: config.INIT_WAIT_MS,
      leaseMs,
    },
  });

  const quotas = createQuotas({ database, events, clock, defaultDaily: config.DEFAULT_DAILY_MESSAGE_LIMIT });
  const messageState = createMessageState({ events, contacts, quotas, clock, wipeFile: (tx, id) => media.remove(tx, [id]) });
  const idempotency = createIdempotency({ database, clock, hours: config.IDEMPOTENCY_HOURS });
  const search = createMessageSearch(core);
  const messages = createMessages({
    database,
    events,
    contacts,
    eventsOf: eventLog.ofMessage,
    state: messageState,
    media,
    idempotency,
    quotas,
    report,
    contents,
    storageOf,
    search,
    clock,
    defaults: { countryCode: config.DEFAULT_COUNTRY_CODE, maxQueued: config.MAX_QUEUED_PER_SESSION },
  });
  const arrivals = createArrivals({ events, contacts, state: messageState, media, clock });
  const dispatcher = createDispatcher({
    database,
    events,
    state: messageState,
    pacing: createPacing(Math.random),
    clock,
    log,
    transport: gate,
    presence,
    report,
    options: {
      pollMs: 500,
      leaseMs: claimLeaseMs(config.SEND_DEADLINE_MS),
      graceMs: config.UNCERTAIN_GRACE_MS,
      maxRetries: config.MESSAGE_MAX_RETRIES,
      retryIntervalMs: config.MESSAGE_RETRY_INTERVAL * 60_000,
    },
  });
  const { post, close: closePosts } = createPost(egress);
  stopper.add('connections', 'webhook connections', closePosts);
  const webhookDispatcher = createWebhookDispatcher({
    database,
    deliveries,
    presence,
    post,
    open: webhooks.open,
    disable: webhooks.disable,
    reportBacklog: webhooks.reportBacklog,
    clock,
    log,
    options: webhookOptions(config, openFilesLimit()),
  });
  webhooks.connect({ wake: webhookDispatcher.wake, events, formsOf: contacts.formsOf });
  const webhookHistory = createWebhookHistory({
    database,
    eventLog,
    clock,
    chatIdsOf: webhooks.chatIdsOf,
    wake: webhookDispatcher.wake,
  });
  const privacy = createPrivacy(core, {
    contacts,
    search,
    messages,
    media,
    replies,
    webhooks,
    presence,
    dir: join(config.dataDir, 'exports'),
    countryCode: config.DEFAULT_COUNTRY_CODE,
  });
  const heartbeats = createHeartbeats({
    database,
    state: sessionState,
    storageOf,
    clock,
    log,
    leaseMs,
    wipeLeft: sessions.wipeLeft,
    report,
  });
  const inbox = createInbox({ database, events, state: sessionState, contacts, arrivals, storageOf, clock, log, report });
  const fetcher = createFetcher({
    database,
    events,
    media,
    arrivals,
    client,
    placement,
    clock,
    log,
    maxBytes: config.MAX_INBOUND_FILE_SIZE,
    report,
  });

  await accounts.ensureFirstAdmin({
    email: config.ADMIN_EMAIL,
    password: config.ADMIN_PASSWORD,
    maxSessions: config.MAX_SESSIONS,
    tell: over.showFirstAdminPassword ?? (() => undefined),
  });
  const streamCredentials = createStreamCredentials({ database, keys, clock });
  const tickets = createTickets({ database, clock });
  const streams = createStreams({
    events,
    eventLog,
    checkCredential: streamCredentials.check,
    log,
    options: { ...streamTimes, maxPerCredential: config.MAX_STREAMS_PER_KEY },
  });
  stopper.add('intake', 'event streams', () => streams.close());
  credentials.subscribe(streams.check);
  const identify = createAuthentication({ accounts, keys, tokens, credentials, serviceKey: config.serviceKey });
  const authenticate = limits.around(admitTickets(identify, { tickets, checkCredential: streamCredentials.check }));
  const http = createServer({
    authenticate,
    identify,
    readUpload: createUploadReader({ maxFileSize: config.MAX_FILE_SIZE }),
    maxFileSize: config.MAX_FILE_SIZE,
    around: createIdempotentCalls({
      database,
      idempotency,
      replies,
      clock,
      hours: config.IDEMPOTENCY_HOURS,
      log,
      presentError,
    }),
    trustProxy: config.TRUST_PROXY,
    corsOrigins: config.CORS_ORIGINS,
    log,
  });
  stopper.add('intake', 'new requests', () => http.shutDown());
  mountHealth(http.app, {
    database,
    lockLog: events.lock,
    dataDir: config.dataDir,
    redis: config.REDIS_URL ? windows.isShared : null,
    recentFailures: failures.recent,
    workers: async () => {
      const [known, alive] = await Promise.all([placement.known(), placement.alive()]);
      return { known: known.length, alive: alive.length, degraded: alive.filter(({ degraded }) => degraded).length };
    },
  });
  mountDocuments(http.app, () => http.publicRoutes, config.PUBLIC_URL);
  const panelVerbs = createPanelVerbs({
    database,
    clock,
    accounts,
    keys,
    plans,
    sessions,
    messages,
    media,
    webhooks,
    history: webhookHistory,
    dispatcher: webhookDispatcher,
  });
  const secureCookies = config.SECURE_COOKIES;
  const panel = over.mountPanel?.(http.app, { database, verbs: panelVerbs, search, events, clock, log, version, secureCookies });
  stopper.add('intake', 'panel streams', () => panel?.close());
  const sessionIdOf = async (caller: Caller, named: string): Promise<string> => (await sessions.find(caller, named)).id;
  const presentAccount = createAccountPresenter({ keys, plans });
  mountAccounts(http.mount, { accounts, keys, tokens, present: presentAccount, registration: config.REGISTRATION });
  mountKeys(http.mount, { keys, usage: keyUsage, limits, sessionIdOf });
  mountStaff(http.mount, { database, accounts, plans, sessions, quotas, present: presentAccount });
  mountWorkers(http.mount, { database, clock });
  mountSessions(http.mount, { sessions });
  mountMessages(http.mount, { messages, sessions, media, idempotency, quotas, sendWaitMs: config.SEND_WAIT_MS, now: clock.now });
  const streamCredentialOf = streamCredentials.of;
  mountEvents(http.mount, { eventLog, streams, tickets, streamCredentialOf, sessionIdOf, beatMs: streamTimes.beatMs });
  mountWebhooks(http.mount, {
    webhooks,
    history: webhookHistory,
    dispatcher: webhookDispatcher,
    deliveries,
    sessions,
    eventLog,
    clock,
  });
  mountPrivacy(http.mount, { privacy });
  mountOperations(http.mount, { sessions, contacts, run: gate.run, countryCode: config.DEFAULT_COUNTRY_CODE });
  mountInternal(http.mountInternal, { inbox, heartbeats, now: clock.now });
  http.finish();

  const server = listen(http.app, over.port ?? config.PORT, config.HOST, connectionLimits(config, openFilesLimit()));
  const drain = createDrain(server);
  await once(server, 'listening');
  stopper.add('work', 'running requests', () => drain.stop(), workStopMs);
  const { port } = server.address() as AddressInfo;
  const readingOf = createReadingOf(sessionIdOf);
  const closeSockets = serveSockets(server, {
    app: http.app,
    streams,
    authenticate,
    streamCredentialOf,
    readingOf,
    log,
    pingMs: streamTimes.pingMs,
  });
  stopper.add('intake', 'WebSockets', closeSockets);
  const wake = await startWake({ ...location(config.database), database, events, credentials, log });
  // After the last outcomes are told.
  stopper.add('connections', 'wake-ups', () => wake.stop());
  dispatcher.start();
  // Callers that wait for an outcome have it, or are told that their message is queued.
  stopper.add('work', 'message dispatcher', () => dispatcher.stop().finally(messages.endWaiting), workStopMs);
  heartbeats.start();
  stopper.add('work', 'heartbeats', () => heartbeats.stop());
  fetcher.start();
  stopper.add('work', 'media fetcher', () => fetcher.stop(), workStopMs);
  await search.start();
  stopper.add('work', 'search index', () => search.stop());
  privacy.start();
  stopper.add('work', 'privacy jobs', () => privacy.stop(), workStopMs);
  webhookDispatcher.start();
  stopper.add('work', 'webhook dispatcher', () => webhookDispatcher.stop(), workStopMs);
  const sweep = startSweep({
    tasks: [
      { name: 'inbox.prune', run: inbox.prune },
      { name: 'contacts.names', run: contacts.forgetNamesLeft },
      { name: 'idempotency.prune', run: idempotency.prune },
      { name: 'keys.announce', run: keys.announceEnding },
      { name: 'retention.messages', run: retention.ofMessages },
      { name: 'retention.files', run: retention.ofFiles },
      { name: 'retention.events', run: retention.ofEvents },
      {
        name: 'webhooks.log',
        run: () => webhookHistory.clear(null, new Date(clock.now().getTime() - config.WEBHOOK_LOG_RETENTION_DAYS * 86_400_000)),
      },
      { name: 'webhooks.deletedSessions', run: () => endOfDeletedSessions({ database, clock, forget: webhooks.forget }) },
      { name: 'media.sweep', run: () => media.sweep() },
      { name: 'reseal', run: reseal.run },
      { name: 'privacy.prune', run: privacy.prune },
      { name: 'failures.prune', run: failures.prune },
    ],
    log,
    report,
    times: over.firstSweepMs === undefined ? {} : { firstMs: over.firstSweepMs },
  });
  await keys.announceEnding().catch((error: unknown) => {
    log.error('Keys that expire soon could not be announced; it is tried again in a minute.', errorFields(error));
  });
  stopper.add('work', 'cleanup tasks', () => sweep.stop());
  log.info('The backend is ready.', { port, database: database.dialect });

  return {
    url: `http://127.0.0.1:${port}`,
    log,
    database,
    failures,
    routes: http.publicRoutes,
    async close() {
      const unfinished = await stopper.stop();
      log.info('The backend has stopped.');
      return unfinished;
    },
  };
}

/** SQLite has no other backend to wake. */
const location = (database: DatabaseLocation): { url: string | null; schema?: string | undefined } =>
  'url' in database ? { url: database.url, schema: database.schema } : { url: null };
