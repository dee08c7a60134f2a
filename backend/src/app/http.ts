import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defineRoute, type AnyRoute } from '@chasqui/shared';
import {
  answeredSentence,
  createAnsweredFormat,
  listen,
  logAnswered,
  type Answered,
  type LoggedRequest,
} from '@chasqui/shared/express';
import { countAnswered, serveMetrics } from '@chasqui/shared/metrics';
import { createLineLimit, createLineWriter } from '@chasqui/shared/process';
import { traceRequests } from '@chasqui/shared/tracing';
import type { Request, Response } from 'express';
import { z } from 'zod';
import type { Authenticate, Caller } from '../accounts/caller.js';
import { mountKeys } from '../accounts/keys.routes.js';
import { createAccountPresenter } from '../accounts/present.js';
import { mountAccounts } from '../accounts/routes.js';
import { createPanelVerbs } from '../admin/domain-verbs.js';
import type { Bulk } from '../bulk/bulk.js';
import { mountBulk } from '../bulk/routes.js';
import { createOverview, type OverviewReader } from '../admin/overview.js';
import { mountOverview } from '../admin/overview.routes.js';
import { mountStaff } from '../admin/staff.js';
import { createReadingOf, mountEvents } from '../events/routes.js';
import { serveSockets } from '../events/socket.js';
import { admitTickets, createStreamCredentials } from '../events/stream-credentials.js';
import { createStreams } from '../events/streams.js';
import { createTickets } from '../events/tickets.js';
import { startWake } from '../events/wake.js';
import { createAuthentication } from '../http/authentication.js';
import { mountDocuments } from '../http/documents.js';
import { createDrain, type Drain } from '../http/drain.js';
import { mountHealth } from '../http/health.js';
import { createIdempotentCalls } from '../http/idempotent-calls.js';
import { createServer, presentError } from '../http/server.js';
import { openFilesLimit } from '../lib/open-files.js';
import { createUploadReader } from '../lib/uploads.js';
import { mountMedia } from '../media/routes.js';
import { mountConversations } from '../messages/conversations/routes.js';
import { mountSchedules } from '../messages/recurring/routes.js';
import { mountMessages } from '../messages/routes.js';
import { mountOptOuts } from '../opt-outs/routes.js';
import { registerCollectors } from '../metrics/collectors.js';
import { connectionLimits, defaultStreamTimes } from '../options.js';
import type { Backups } from '../backups/backups.js';
import { mountBackups } from '../backups/routes.js';
import { mountPrivacy } from '../privacy/routes.js';
import type { Privacy } from '../privacy/privacy.js';
import { mountSessions } from '../sessions/routes.js';
import { mountStatistics } from '../statistics/routes.js';
import { mountTemplates } from '../templates/routes.js';
import { version } from '../version.js';
import { mountWebhooks } from '../webhooks/routes.js';
import { createLocalRuns, createOperationResults } from '../whatsapp/operation-results.js';
import { mountOperations } from '../whatsapp/operations.js';
import { mountInternal } from '../whatsapp/routes.js';
import { mountWorkers } from '../whatsapp/workers.js';
import { mountJobs } from '../jobs/routes.js';
import type { Jobs } from '../jobs/jobs.js';
import type { Access } from './access.js';
import { notifyLocation, type Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import type { Overrides } from './overrides.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';
import type { WebhookParts } from './webhooks.js';

/** All modules that serve a route. */
interface Modules {
  core: Foundation;
  access: Access;
  parts: SessionParts;
  messaging: Messaging;
  bulk: Bulk;
  webhookParts: WebhookParts;
  privacy: Privacy;
  jobs: Jobs;
  backups: Backups;
}

export interface HttpParts {
  routes: readonly AnyRoute[];
  /** The port on which the server listens. Known once the lifecycle has started. */
  port(): number;
}

/** Builds the HTTP server with every route, the panel, the event streams and WebSockets. It listens when the lifecycle starts. */
export function createHttp(modules: Modules, over: Overrides): HttpParts {
  const { core, access } = modules;
  const { config, log, lifecycle } = core;
  const streaming = createStreaming(modules, over);
  const http = createServerParts(modules, streaming, over);
  const heartbeatMs = config.HEARTBEAT_SECONDS * 1_000;
  const overview = createOverview({
    reader: core.database.reader,
    clock: core.clock,
    jobs: modules.jobs,
    backups: modules.backups,
    times: { lateMs: heartbeatMs + 2_000, lostMs: Math.max(modules.parts.leaseMs, heartbeatMs * 3) },
  });
  lifecycle.add('new requests', { phase: 'intake', stop: () => http.shutDown() });
  mountMachinery(http, modules, over, streaming, overview);
  mountPublicRoutes(http, modules, streaming, overview);
  mountInternal(http.mountInternal, {
    inbox: modules.messaging.inbox,
    heartbeats: modules.messaging.heartbeats,
    now: core.clock.now,
  });
  http.finish();

  let server: Server | undefined;
  let drain: Drain | undefined;
  let closeSockets: (() => Promise<void>) | undefined;
  lifecycle.add('HTTP server', {
    phase: 'intake',
    start: async () => {
      server = listen(http.app, over.port ?? config.PORT, config.HOST, connectionLimits(config, openFilesLimit()));
      drain = createDrain(server);
      await once(server, 'listening');
      closeSockets = serveSockets(server, {
        app: http.app,
        streams: streaming.streams,
        authenticate: streaming.authenticate,
        streamCredentialOf: streaming.streamCredentials.of,
        readingOf: streaming.readingOf,
        log,
        pingMs: streaming.times.pingMs,
      });
    },
    stop: () => closeSockets?.(),
  });
  lifecycle.add('running requests', { phase: 'work', stop: () => drain?.stop(), withinMs: workStopMs });
  let wake: Awaited<ReturnType<typeof startWake>> | undefined;
  lifecycle.add('wake-ups', {
    // Stops after the last outcomes are published.
    phase: 'connections',
    start: async () => {
      wake = await startWake(core, { ...notifyLocation(config.database), credentials: access.credentials });
    },
    stop: () => wake?.stop(),
  });
  return { routes: http.publicRoutes, port: () => (server?.address() as AddressInfo).port };
}

/** Builds the check of who may open an event stream, and the streams. */
function createStreaming({ core, access, parts, messaging }: Modules, over: Overrides) {
  const { config, lifecycle } = core;
  const { accounts, keys, tokens, browser, credentials, limits } = access;
  const times = { ...defaultStreamTimes, ...over.streamTimes };
  const streamCredentials = createStreamCredentials(core, { keys, browser });
  const tickets = createTickets(core);
  const checkCredential = streamCredentials.check;
  const streams = createStreams(core, {
    eventLog: messaging.eventLog,
    checkCredential,
    options: { ...times, maxPerCredential: config.MAX_STREAMS_PER_KEY },
  });
  lifecycle.add('event streams', { phase: 'intake', stop: () => streams.close() });
  credentials.subscribe(streams.check);
  const identify = createAuthentication(core, { accounts, keys, tokens, browser, credentials, serviceKey: config.serviceKey });
  const authenticate = limits.around(admitTickets(identify, { tickets, checkCredential }));
  const sessionIdOf = async (caller: Caller, named: string): Promise<string> => (await parts.sessions.find(caller, named)).id;
  const readingOf = createReadingOf(sessionIdOf);
  return { times, streamCredentials, tickets, streams, identify, authenticate, sessionIdOf, readingOf };
}

type Streaming = ReturnType<typeof createStreaming>;
type ServerParts = ReturnType<typeof createServer>;

function createServerParts(
  { core, access, parts, messaging }: Modules,
  { authenticate, identify }: Streaming,
  over: Overrides,
): ServerParts {
  const { config, log } = core;
  const { idempotency, replies } = messaging;
  return createServer({
    authenticate,
    identify,
    readUpload: createUploadReader({ maxFileSize: config.MAX_FILE_SIZE, spool: parts.spool }),
    maxFileSize: config.MAX_FILE_SIZE,
    around: createIdempotentCalls(core, { idempotency, replies, hours: config.IDEMPOTENCY_HOURS, presentError }),
    trustProxy: config.TRUST_PROXY,
    corsOrigins: config.CORS_ORIGINS,
    log,
    onAnswered: createAnswered(core, access, over),
    traced: core.tracing && traceRequests(core.tracing),
  });
}

function lineWriterOf(processName: string): (request: LoggedRequest) => void {
  const [format, write] = [createAnsweredFormat(processName), createLineWriter()];
  return (request) => write(format(request));
}

/** Refusals that a caller can cause without limit. Each code has at most so many lines in ten seconds; the metrics count all of them. */
const floodCodes: readonly string[] = ['RATE_LIMITED', 'OVERLOADED'];
const refusedLines = 100;

/** Returns what every answered request passes through. */
function createAnswered(
  { config, log, meter, errorCounts }: Foundation,
  { keyRequests }: Access,
  over: Overrides,
): (answered: Answered) => void {
  const isInfo = config.LOG_LEVEL === 'info' || config.LOG_LEVEL === 'debug';
  const write = over.log ? (fields: object): void => log.info(answeredSentence, { ...fields }) : lineWriterOf('backend');
  const refusals = createLineLimit({
    perWindow: refusedLines,
    onOmitted: ({ sentence: code, omitted, withinMs }) =>
      log.info('Lines of refused requests were omitted because there were too many.', { code, omitted, withinMs }),
  });
  return (answered) => {
    countAnswered(meter, answered);
    errorCounts.note(answered);
    keyRequests.note(answered);
    const { code } = answered;
    if (isInfo && (code === null || !floodCodes.includes(code) || refusals.admit(code))) logAnswered(log, write, answered);
  };
}

const readDetails = { path: '/health', method: 'get', summary: 'Details of health', params: z.object({}) } as const;
const byServiceKey = defineRoute({ ...readDetails, id: 'health.byService', auth: 'svc' });
const byStaff = defineRoute({ ...readDetails, id: 'health.byStaff', auth: 'stf' });

/** Whether a caller of the public health route is staff or has the service key. Attempts count against the limit of the address. */
async function mayReadDetails(authenticate: Authenticate, req: Request, res: Response): Promise<boolean> {
  if (!req.get('authorization') && !req.get('x-api-key')) return false;
  const passes = (route: AnyRoute): Promise<boolean> =>
    authenticate(route, req, res).then(
      () => true,
      () => false,
    );
  return (await passes(byServiceKey)) || (await passes(byStaff));
}

function mountMetrics(http: ServerParts, { core, parts }: Modules): void {
  const { config, database, clock, meter, failures } = core;
  registerCollectors(meter, {
    database,
    location: config.database,
    dataDir: config.dataDir,
    clock,
    recentFailures: failures.recent,
    workers: parts.placement.states,
  });
  serveMetrics(http.app, { meter, secrets: [config.serviceKey, config.METRICS_TOKEN] });
}

/** Mounts health, the OpenAPI document, and the staff panel. */
function mountMachinery(
  http: ServerParts,
  modules: Modules,
  over: Overrides,
  { authenticate }: Streaming,
  overview: OverviewReader,
): void {
  const { core, access, parts, messaging, bulk, webhookParts } = modules;
  const { config, database, events, clock, log, lifecycle } = core;
  mountMetrics(http, modules);
  mountHealth(http.app, {
    database,
    lockLog: events.lock,
    dataDir: config.dataDir,
    redis: config.REDIS_URL ? access.windows.isShared : null,
    recentFailures: core.failures.recent,
    hasJobLeader: modules.jobs.hasLeader,
    workers: parts.placement.states,
    mayReadDetails: (req, res) => mayReadDetails(authenticate, req, res),
  });
  mountDocuments(http.app, () => http.publicRoutes, config.PUBLIC_URL);
  const verbs = createPanelVerbs({
    database,
    clock,
    accounts: access.accounts,
    keys: access.keys,
    plans: access.plans,
    sessions: parts.sessions,
    messages: messaging.messages,
    bulk,
    schedules: messaging.schedules,
    media: parts.media,
    thumbnails: parts.thumbnails,
    templates: parts.templates,
    optOuts: access.optOuts,
    countryCode: config.DEFAULT_COUNTRY_CODE,
    webhooks: webhookParts.webhooks,
    endpointSecrets: webhookParts.secrets,
    history: webhookParts.history,
    explorer: webhookParts.explorer,
    dispatcher: webhookParts.dispatcher,
    run: parts.gateway.run,
    backups: modules.backups,
    privacy: modules.privacy,
  });
  const { search, statistics } = messaging;
  const secureCookies = config.SECURE_COOKIES;
  const panel = over.mountPanel?.(http.app, {
    database,
    verbs,
    search,
    bulk,
    jobs: modules.jobs,
    statistics,
    overview,
    backups: modules.backups,
    events,
    clock,
    log,
    version,
    secureCookies,
  });
  lifecycle.add('panel streams', { phase: 'intake', stop: () => panel?.close() });
}

/** Mounts the routes of the public API, in the order of the OpenAPI document. */
function mountPublicRoutes(http: ServerParts, modules: Modules, streaming: Streaming, overview: OverviewReader): void {
  const { core, access, parts, messaging, bulk, webhookParts, privacy, backups } = modules;
  const { config, database, clock, deliveries } = core;
  const { accounts, keys, keyUsage, keyRequests, plans, tokens, browser, credentials, contacts, optOuts, limits } = access;
  const { sessions, media, thumbnails, uploads, templates, gateway } = parts;
  const { messages, schedules, idempotency, quotas, eventLog } = messaging;
  const { webhooks, secrets, history, explorer, dispatcher } = webhookParts;
  const { streams, tickets, streamCredentials, sessionIdOf, readingOf, times } = streaming;
  const present = createAccountPresenter({ keys, plans });
  mountAccounts(http.mount, { accounts, keys, tokens, browser, credentials, present, registration: config.REGISTRATION });
  mountKeys(http.mount, { keys, usage: keyUsage, requests: keyRequests, limits, sessionIdOf });
  mountStaff(http.mount, { database, clock, accounts, plans, sessions, quotas, present, errors: core.errorCounts });
  mountOverview(http.mount, { overview });
  mountWorkers(http.mount, core);
  mountJobs(http.mount, { jobs: modules.jobs });
  mountSessions(http.mount, { sessions });
  mountMedia(http.mount, { uploads });
  mountStatistics(http.mount, { statistics: messaging.statistics, sessions });
  mountBulk(http.mount, { bulk, sessions, messages, contacts, media, templates, idempotency });
  mountMessages(http.mount, {
    messages,
    sessions,
    media,
    thumbnails,
    idempotency,
    quotas,
    optOuts,
    templates,
    sendWaitMs: config.SEND_WAIT_MS,
    now: clock.now,
  });
  mountConversations(http.mount, { reader: database.reader, contacts, sessions });
  mountTemplates(http.mount, { templates });
  mountOptOuts(http.mount, { optOuts, countryCode: config.DEFAULT_COUNTRY_CODE });
  mountSchedules(http.mount, { schedules, messages, sessions, media, templates });
  const streamCredentialOf = streamCredentials.of;
  mountEvents(http.mount, { eventLog, streams, tickets, streamCredentialOf, readingOf, beatMs: times.beatMs });
  mountWebhooks(http.mount, core, { webhooks, secrets, history, explorer, dispatcher, deliveries, sessions, eventLog });
  mountPrivacy(http.mount, { privacy });
  mountBackups(http.mount, { backups });
  const { operated } = messaging;
  const results = createOperationResults({ database, clock, contacts, messages, operated });
  const local = createLocalRuns({ messages, operated });
  const countryCode = config.DEFAULT_COUNTRY_CODE;
  mountOperations(http.mount, { database, clock, sessions, messages, media, run: gateway.run, results, local, countryCode });
}
