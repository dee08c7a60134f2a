import { createRestoredQueue, type RestoredQueue } from '../backups/settle.js';
import { createBulkState } from '../bulk/state.js';
import { createJobContents } from '../bulk/accept/content.js';
import { createEventLog } from '../events/log.js';
import { createRetention } from '../jobs/retention.js';
import { createIdempotency } from '../messages/accept/idempotency.js';
import { createStoredReplies } from '../messages/accept/stored-replies.js';
import { createMessages, type Messages } from '../messages/messages.js';
import { createQuotas } from '../messages/quotas/quotas.js';
import { createAutoRead } from '../messages/receive/auto-read.js';
import { createArrivals, type Arrivals } from '../messages/receive/arrivals.js';
import { createOccurrences } from '../messages/recurring/occurrences.js';
import { createSchedules } from '../messages/recurring/schedules.js';
import { createOperatedMessages } from '../messages/receive/operated.js';
import { createDispatcher } from '../messages/send/dispatcher.js';
import { createPacing } from '../messages/send/pacing.js';
import { createMessageState, type MessageState } from '../messages/state.js';
import { claimLeaseMs } from '../options.js';
import { createMessageSearch } from '../search/search.js';
import { createStatistics } from '../statistics/statistics.js';
import { createFetcher } from '../whatsapp/fetcher.js';
import { createHeartbeats } from '../whatsapp/heartbeats.js';
import { traceAccepts, traceInbox, traceSends } from '../tracing/traced.js';
import { createInbox } from '../whatsapp/inbox.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';

/** A page that does not mark a chat as seen within this time is asked again later. Milliseconds. */
const seenDeadlineMs = 15_000;

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type Messaging = ReturnType<typeof createMessaging>;

/** Builds the modules that accept, send, receive, search and retain messages. */
export function createMessaging(core: Foundation, access: Access, parts: SessionParts) {
  const { config, sealer, lifecycle } = core;
  const bulkState = createBulkState(core, { media: parts.media, maxFailedPercent: config.BULK_MAX_FAILED_PERCENT });
  const jobContents = createJobContents(sealer);
  const { contacts, optOuts, plans, storageOf } = access;
  const { media, thumbnails, contents, sessions } = parts;
  const retention = createRetention(core, {
    media,
    thumbnails,
    days: { messages: config.MESSAGE_RETENTION_DAYS, media: config.MEDIA_RETENTION_DAYS, events: config.EVENT_RETENTION_DAYS },
  });
  const eventLog = createEventLog(core, { oldestAvailable: retention.oldestAvailable });
  const replies = createStoredReplies(core, { sealer });
  const quotas = createQuotas(core, { defaultDaily: config.DEFAULT_DAILY_MESSAGE_LIMIT });
  const state = createMessageState(core, {
    contacts,
    quotas,
    wipeFile: (tx, id) => media.remove(tx, [id]),
    onMoved: bulkState.follow,
  });
  const restoredQueue = createRestoredQueue(core, { state, bulkState, graceMs: config.UNCERTAIN_GRACE_MS });
  // Before anything is accepted or sent.
  lifecycle.add('restored messages', { phase: 'data', start: () => restoredQueue.settle() });
  const idempotency = createIdempotency(core, { hours: config.IDEMPOTENCY_HOURS });
  const search = createMessageSearch(core);
  const messages = createMessages(core, {
    contacts,
    eventsOf: eventLog.ofMessage,
    state,
    media,
    idempotency,
    quotas,
    contents,
    storageOf,
    limitsOf: plans.limitsOf,
    search,
    traces: core.tracing && traceAccepts(core.tracing),
    defaults: {
      countryCode: config.DEFAULT_COUNTRY_CODE,
      interactiveMode: config.INTERACTIVE_MODE,
      maxQueued: config.MAX_QUEUED_PER_SESSION,
    },
  });
  const graceMs = config.SCHEDULE_GRACE_MINUTES * 60_000;
  const schedules = createSchedules(core, { media, storageOf, limitsOf: plans.limitsOf, sealer });
  const occurrences = createOccurrences(core, { schedules, messages, templates: parts.templates, media, storageOf, graceMs });
  lifecycle.add('recurring schedules', { phase: 'work', start: () => occurrences.start(), stop: () => occurrences.stop() });
  const dispatcher = createSending(core, parts, { state, restoredQueue, messages });
  const arrivals = createArrivals(core, { contacts, state, media, thumbnails, optOuts, messages });
  const operated = createOperatedMessages(core, { arrivals, contacts, state, thumbnails, storageOf });
  const autoRead = createAutoRead(core, {
    operated,
    async markSeen(session, { whatsappId, chatId }) {
      await parts.gateway.run(session, 'messages.seen', { whatsappId, chatId }, seenDeadlineMs);
    },
  });
  lifecycle.add('marks of seen messages', {
    phase: 'work',
    start: () => autoRead.start(),
    stop: () => autoRead.stop(),
    withinMs: workStopMs,
  });
  const ingest = createIngest(core, access, parts, { arrivals, messages });
  // Starts behind the dispatcher: creating its triggers may wait for locks of another backend.
  lifecycle.add('search index', { phase: 'work', start: () => search.start(), stop: () => search.stop() });
  const statistics = createStatistics(core, { plans, sessions, contacts, quotas });
  return {
    retention,
    eventLog,
    replies,
    quotas,
    idempotency,
    search,
    messages,
    schedules,
    occurrences,
    dispatcher,
    messageState: state,
    bulkState,
    jobContents,
    operated,
    statistics,
    ...ingest,
  };
}

/** Builds the dispatcher of messages. */
function createSending(
  core: Foundation,
  { gateway }: SessionParts,
  { state, restoredQueue, messages }: { state: MessageState; restoredQueue: RestoredQueue; messages: Messages },
) {
  const { config, presence, lifecycle, tracing } = core;
  const dispatcher = createDispatcher(core, {
    state,
    pacing: createPacing(Math.random),
    transport: tracing ? traceSends(gateway, tracing) : gateway,
    absenceProvenFrom: restoredQueue.absenceProvenFrom,
    presence,
    options: {
      pollMs: 500,
      leaseMs: claimLeaseMs(config.SEND_DEADLINE_MS),
      graceMs: config.UNCERTAIN_GRACE_MS,
      maxRetries: config.MESSAGE_MAX_RETRIES,
      retryIntervalMs: config.MESSAGE_RETRY_INTERVAL * 60_000,
      scheduleGraceMs: config.SCHEDULE_GRACE_MINUTES * 60_000,
    },
  });
  lifecycle.add('message dispatcher', {
    phase: 'work',
    start: () => dispatcher.start(),
    // Callers that wait for an outcome have it, or learn that their message is queued.
    stop: () => dispatcher.stop().finally(messages.endWaiting),
    withinMs: workStopMs,
  });
  return dispatcher;
}

/** Builds the modules that ingest what workers report: heartbeats, events, and the files of inbound messages. */
function createIngest(
  core: Foundation,
  { contacts, optOuts, storageOf }: Access,
  { sessionState, sessions, proxies, client, placement, media, leaseMs }: SessionParts,
  { arrivals, messages }: { arrivals: Arrivals; messages: Messages },
) {
  const { config, lifecycle, tracing, batches } = core;
  const state = sessionState;
  const heartbeats = createHeartbeats(core, {
    state,
    storageOf,
    optOuts,
    proxies,
    database: core.database,
    leaseMs,
    wipePending: sessions.wipePending,
  });
  lifecycle.add('heartbeats', { phase: 'work', start: () => heartbeats.start(), stop: () => heartbeats.stop() });
  const inbox = createInbox(core, { state, contacts, arrivals, messages, storageOf, optOuts });
  const fetcher = createFetcher(core, { media, arrivals, client, placement, maxBytes: config.MAX_INBOUND_FILE_SIZE });
  lifecycle.add('media fetcher', {
    phase: 'work',
    start: () => fetcher.start(),
    stop: () => fetcher.stop(),
    withinMs: workStopMs,
  });
  return { heartbeats, inbox: tracing ? traceInbox(inbox, tracing, batches) : inbox };
}
