/* eslint-disable max-lines -- a table, one entry for each route and event between the processes */
import { z } from 'zod';
import { messageContent } from './message-types/index.js';
import {
  aboutObserved,
  observedChat,
  observedContact,
  observedContacts,
  observedMessage,
  observedPerson,
  observedText,
  observedTexts,
  observedTime,
  observedAck,
} from './observed.js';
import { observedThumbnail } from './thumbnail.js';
import { compatReport, passkeyAnswer, passkeyRequest, reason, sessionSettings } from './resources.js';
import { loginCopy, selfCheck } from './session-health.js';
import { defineRoute } from './route.js';
import { messageReasons, sessionStatuses, type MessageReason } from './states.js';
import { whatsappAccount } from './whatsapp-account.js';

/**
 * The contract between the two processes: commands go to the worker, events and heartbeats come back. Every call except `/health` needs the
 * service key. The paths and bodies of the first seven worker routes are fixed and must not change.
 */

const epoch = z.number().int().nonnegative();

/** All messages of the WhatsApp account with this number are recorded up to this time. It says nothing about another number. */
export const caughtUp = z.object({ phoneNumber: z.string(), at: z.iso.datetime() });
export type CaughtUp = z.infer<typeof caughtUp>;

/** The session settings that the worker receives. `keywords`: the words of the account, for the storage mode `metadata`. */
export const workerSettings = sessionSettings
  .pick({ autoReconnect: true, storage: true, recycleAboveMb: true })
  /** Whether incoming calls are rejected. The backend sends the answer. */
  .extend({
    rejectCalls: z.boolean(),
    keywords: z.array(z.string()).max(5_000),
    /** The proxy of the session. Null: none. Absent: unchanged. This API alone carries its password. */
    proxy: z.object({ url: z.string(), username: z.string().nullable(), password: z.string().nullable() }).nullable(),
    /** The number for which the session requests pairing codes while it waits to be linked. Null: none. Absent: unchanged. */
    pairingNumber: z
      .string()
      .regex(/^\d{7,15}$/)
      .nullable(),
  })
  .partial();
export type WorkerSettings = z.infer<typeof workerSettings>;

export const sessionMetrics = z.object({
  memoryMb: z.number().nullable(),
  /** In percent of one processor: two busy processors are 200. Null until it was measured twice. */
  cpuPercent: z.number().nullable(),
  processes: z.number().int(),
  browserUptimeSeconds: z.number().nullable(),
  queueDepth: z.number().int(),
  roundTripMs: z.number().nullable(),
  /** The memory mark of the session's browser in megabytes; 0: none. Absent from older workers. */
  recycleAboveMb: z.number().int().nullish(),
});
export type SessionMetrics = z.infer<typeof sessionMetrics>;

/** A session as its worker reports it. `qrText` is the text that the QR code encodes; the backend draws the picture. */
export const observedSession = z.object({
  sessionId: z.string(),
  epoch,
  status: z.enum(sessionStatuses),
  reason: reason.nullable(),
  /** When WhatsApp lifts the restriction that is the reason, if it says so. Absent from older workers. */
  until: z.iso.datetime().nullish(),
  phoneNumber: z.string().nullable(),
  lid: z.string().nullable(),
  pushName: z.string().nullable(),
  platform: z.string().nullable(),
  whatsappWebVersion: z.string().nullable(),
  qrText: z.string().nullable(),
  qrExpiresAt: z.iso.datetime().nullable(),
  lastRoundTripAt: z.iso.datetime().nullable(),
  compat: z.array(compatReport),
  /** Null until the page was checked. Absent from older workers. */
  selfCheck: selfCheck.nullish(),
  /** When a canary last came back through the event bridge, and the repair that runs. Absent from older workers. */
  canaryAt: z.iso.datetime().nullish(),
  recoveryStep: z.enum(['reload', 'restart', 'restore']).nullish(),
  /** The copy of the login on the worker's disk; null: none. Absent before the worker's process has started the session, and from older workers. */
  loginCopy: loginCopy.nullish(),
  metrics: sessionMetrics,
});
export type ObservedSession = z.infer<typeof observedSession>;

/** The longest deadline of a send, milliseconds. */
const maxSendDeadlineMs = 600_000;
/** The slowest line to WhatsApp for which a file still arrives within its deadline: 2 Mbit/s. */
const slowestBytesPerMs = 250;

/** Returns the deadline of a send: `baseMs`, and longer with a file, whose upload takes its time on a slow line. Milliseconds and bytes. */
export const sendDeadline = (baseMs: number, fileBytes: number): number =>
  Math.min(maxSendDeadlineMs, baseMs + Math.ceil(fileBytes / slowestBytesPerMs));

/** A command to hand one message to WhatsApp. Milliseconds; `recipient` is a WhatsApp id. */
export const sendCommand = z.object({
  epoch,
  reservedId: z.string().regex(/^3EB0[0-9A-F]{18}$/),
  recipient: z.string(),
  content: messageContent,
  options: z.object({
    quotedMessageId: z.string().nullable().default(null),
    ignoreQuoteErrors: z.boolean().default(false),
    mentions: z.array(z.string()).default([]),
    /** Groups that the text mentions. Absent: none. */
    groupMentions: z.array(z.object({ id: z.string(), name: z.string() })).optional(),
    typingMs: z.number().int().min(0).default(0),
    /** Set if the message is a forward. `whatsappId` is the id of the original, if it has one: the page knows how often that was forwarded. */
    forward: z.object({ whatsappId: z.string().nullable() }).nullable().default(null),
  }),
  deadlineMs: z.number().int().min(100).max(maxSendDeadlineMs),
  /** No attempt was ever made before: the page need not search its history for a message that may have been sent. */
  isFirst: z.boolean().default(false),
  /**
   * Which attempt this is, from 1 on. A repeat of the same attempt is answered from the worker's record. The backend counts a new attempt only
   * after it has settled the one before (failed, proven absent, or decided by a person or a policy), so a new one reaches the page.
   */
  attempt: z.number().int().positive().default(1),
  /** The WhatsApp account that the message was accepted for; another one must not send it. Null: not known, not compared. */
  account: whatsappAccount.nullable().default(null),
  /** When the message was accepted for sending: no attempt is older. It bounds how far back the history is searched for a message that may have been sent. */
  acceptedAt: z.iso.datetime().nullable().default(null),
});
export type SendCommand = z.infer<typeof sendCommand>;

const messageReason = z.enum(Object.keys(messageReasons) as [MessageReason, ...MessageReason[]]);

/**
 * `failed` means proven not sent. Everything else without proof, such as a deadline that passes after the page was called, is `uncertain`.
 * `sending` is only answered to a repeat while the first call still runs.
 */
export const sendOutcome = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('sent'), whatsappId: z.string(), ack: z.number().int(), at: z.iso.datetime() }),
  z.object({ outcome: z.literal('failed'), reason: messageReason, message: z.string(), retryable: z.boolean() }),
  z.object({ outcome: z.literal('uncertain'), reason: messageReason, message: z.string() }),
  z.object({ outcome: z.literal('sending') }),
]);
export type SendOutcome = z.infer<typeof sendOutcome>;

const simpleSend = {
  sessionId: z.string(),
  recipient: z.string().min(1),
  messageId: z.string().optional(),
  reservedId: z.string().optional(),
  epoch: epoch.optional(),
};

const sendErrors = [
  'SESSION_NOT_FOUND',
  'SESSION_NOT_CONNECTED',
  'SESSION_IDENTITY_CHANGED',
  'STALE_EPOCH',
  'IDEMPOTENCY_KEY_REUSED',
  'SHUTTING_DOWN',
] as const;

export const workerRoutes = {
  health: defineRoute({
    id: 'worker.health',
    method: 'get',
    path: '/health',
    summary: 'Whether the worker can serve, and the compatibility patches of each session',
    auth: 'pub',
    reply: z.object({
      status: z.enum(['ok', 'degraded', 'down']),
      version: z.string(),
      workerId: z.string(),
      bootId: z.string(),
      sessions: z.number().int(),
      capacity: z.number().int(),
      draining: z.boolean(),
      /** As in a heartbeat. */
      proxies: z.boolean().optional(),
      memoryMb: z.number(),
      browser: z.object({ path: z.string().nullable(), profile: z.string() }),
      outlet: z.object({ pending: z.number().int() }),
      disk: z.object({ freeMb: z.number().int().nullable() }),
      compat: z.record(z.string(), z.array(compatReport)),
    }),
  }),
  init: defineRoute({
    id: 'worker.session.init',
    method: 'post',
    path: '/api/session/init',
    summary: 'Start a session; joins a start that is running',
    auth: 'svc',
    body: z.object({
      sessionId: z.string(),
      epoch: epoch.optional(),
      settings: workerSettings.optional(),
      deviceName: z.string().nullable().optional(),
      /** How long the lease under this epoch is valid, in milliseconds; by default the worker's own LEASE_SECONDS. */
      leaseMs: z.number().int().positive().optional(),
      caughtUp: caughtUp.nullable().optional(),
    }),
    reply: observedSession,
    errors: ['STALE_EPOCH', 'WORKER_CAPACITY', 'WORKER_MEMORY', 'SHUTTING_DOWN'],
  }),
  status: defineRoute({
    id: 'worker.session.status',
    method: 'get',
    path: '/api/session/status/:id',
    summary: 'One session as the worker sees it',
    auth: 'svc',
    params: z.object({ id: z.string() }),
    reply: observedSession,
    errors: ['SESSION_NOT_FOUND'],
  }),
  disconnect: defineRoute({
    id: 'worker.session.disconnect',
    method: 'post',
    path: '/api/session/disconnect',
    summary: 'Stop a session; `logout` unlinks the device and deletes the login',
    auth: 'svc',
    body: z.object({ sessionId: z.string(), epoch: epoch.optional(), logout: z.boolean().optional() }),
    reply: observedSession,
    errors: ['STALE_EPOCH'],
  }),
  sendText: defineRoute({
    id: 'worker.message.sendText',
    method: 'post',
    path: '/api/message/send-text',
    summary: 'Send a text, with the rules of the idempotent PUT',
    auth: 'svc',
    body: z.object({ ...simpleSend, message: z.string().min(1).max(65_536) }),
    status: [200, 202],
    reply: sendOutcome,
    errors: sendErrors,
  }),
  sendMedia: defineRoute({
    id: 'worker.message.sendMedia',
    method: 'post',
    path: '/api/message/send-media',
    summary: 'Send a file (multipart, or base64 in JSON), with the rules of the idempotent PUT',
    auth: 'svc',
    consumes: 'upload',
    body: z.object({
      ...simpleSend,
      type: z.enum(['image', 'video', 'audio', 'voice', 'document', 'sticker']),
      mimetype: z.string(),
      filename: z.string().nullable().optional(),
      caption: z.string().nullable().optional(),
      mediaBase64: z.string().optional(),
    }),
    status: [200, 202],
    reply: sendOutcome,
    errors: sendErrors,
  }),
  list: defineRoute({
    id: 'worker.session.list',
    method: 'get',
    path: '/api/session/list',
    summary: 'All sessions of this worker',
    auth: 'svc',
    reply: z.array(observedSession),
  }),
  send: defineRoute({
    id: 'worker.message.send',
    method: 'put',
    path: '/api/session/:id/messages/:messageId',
    summary: 'Hand a message to WhatsApp, once per message id; a repeat is answered from the send record',
    auth: 'svc',
    params: z.object({ id: z.string(), messageId: z.string() }),
    /** JSON, or multipart with the parts `command` (this, as JSON) and `file`. */
    consumes: 'upload',
    body: sendCommand,
    status: [200, 202],
    reply: sendOutcome,
    errors: sendErrors,
  }),
  archive: defineRoute({
    id: 'worker.archive',
    method: 'get',
    path: '/api/archive',
    summary: 'What a backup stores of this worker: its database and its logins, as a tar archive',
    auth: 'svc',
    envelope: false,
    files: ['application/x-tar'],
    errors: ['SHUTTING_DOWN'],
  }),
  operation: defineRoute({
    id: 'worker.operation',
    method: 'post',
    path: '/api/session/:id/operations/:operation',
    summary: 'Run one operation of the table, or one of the internal operations, in the page',
    auth: 'svc',
    params: z.object({ id: z.string(), operation: z.string() }),
    /** JSON, or multipart with the parts `command` (this, as JSON) and `file`, for operations with a file. */
    consumes: 'upload',
    body: z.object({
      epoch: epoch.optional(),
      input: z.record(z.string(), z.unknown()).default({}),
      deadlineMs: z.number().int().min(100).max(600_000).default(30_000),
    }),
    reply: z.object({ output: z.unknown() }),
    files: ['application/octet-stream'],
    errors: [
      'OPERATION_NOT_FOUND',
      'SESSION_NOT_FOUND',
      'SESSION_NOT_CONNECTED',
      'SESSION_IDENTITY_CHANGED',
      'STALE_EPOCH',
      'OPERATION_TIMEOUT',
      'WHATSAPP_ERROR',
      'MEDIA_NOT_FOUND',
      'MEDIA_EXPIRED',
      'FILE_TOO_LARGE',
    ],
  }),
} as const;

/** Operations that only the backend calls: input → output. `messages.downloadMedia` answers with the bytes and headers instead. */
export const internalOperations = {
  'session.restart': { input: z.object({}), output: observedSession },
  'session.pairingCode': {
    input: z.object({ phoneNumber: z.string().regex(/^\d{7,15}$/) }),
    output: z.object({ code: z.string(), expiresAt: z.iso.datetime() }),
  },
  /** WhatsApp's request for the passkey of the account that is being linked or checked. SESSION_STATE_CONFLICT: there is no request. */
  'session.passkey': { input: z.object({}), output: z.object({ request: passkeyRequest, expiresAt: z.iso.datetime() }) },
  /**
   * Passes the passkey's answer to WhatsApp's page. While an account is linked, the status of the session shows whether WhatsApp accepts it. For a check
   * of a linked account, WHATSAPP_REFUSED says that it does not.
   */
  'session.answerPasskey': { input: z.object({ answer: passkeyAnswer }), output: z.object({ answered: z.literal(true) }) },
  'session.backfill': { input: z.object({ since: z.iso.datetime().optional() }), output: z.object({ started: z.boolean() }) },
  /**
   * Looks for a message under its reserved id, in the page's store and in its history. `proven`: the absence is certain. Only an `ack` of 1 or more
   * proves that the message was sent: with 0 WhatsApp Web has it and WhatsApp's server has not confirmed it.
   */
  'session.lookup': {
    input: z.object({
      reservedId: z.string(),
      chatId: z.string(),
      /** The account whose history is searched. Another account's history proves nothing: refused with SESSION_IDENTITY_CHANGED. */
      account: whatsappAccount.nullable().default(null),
      /** No attempt is older than this. The absence is proven once the history was read back to this time; null: to its beginning. */
      since: z.iso.datetime().nullable().default(null),
    }),
    output: z.discriminatedUnion('found', [
      z.object({ found: z.literal(true), whatsappId: z.string(), ack: z.number().int() }),
      z.object({ found: z.literal(false), proven: z.boolean() }),
    ]),
  },
  /** A file above `maxBytes` (by default MAX_FILE_SIZE) is refused with FILE_TOO_LARGE, by its declared size before it is downloaded. */
  'messages.downloadMedia': {
    input: z.object({ whatsappId: z.string(), maxBytes: z.number().int().positive().optional() }),
    output: z.unknown(),
  },
} as const;
export type InternalOperationId = keyof typeof internalOperations;

/** The worker's events, by type. The backend's inbox turns each into rows and public events. */
export const workerEvents = {
  'session.observed': z.object({
    status: z.enum(sessionStatuses),
    reason: reason.nullable(),
    until: z.iso.datetime().nullish().catch(null),
    phoneNumber: z.string().nullable(),
    lid: z.string().nullable(),
    pushName: z.string().nullable(),
    platform: z.string().nullable(),
    attempt: z.number().int(),
    whatsappWebVersion: z.string().nullable(),
    compat: z.array(compatReport),
    selfCheck: selfCheck.nullish(),
  }),
  /** What WhatsApp allows the linked account, and its linked devices without the phone. Sent when it changed, and after each start. */
  'session.account': z.object({
    reachOutLocked: z.boolean(),
    reachOutUntil: z.iso.datetime().nullish().catch(null),
    linkedDevices: z.number().int().nullable(),
  }),
  'session.qr': z.object({ qrText: z.string(), expiresAt: z.iso.datetime() }),
  'session.pairing_code': z.object({ code: z.string(), phoneNumber: z.string(), expiresAt: z.iso.datetime() }),
  'session.heal': z.object({ step: z.enum(['probe', 'reload', 'restart', 'restore']), reason: z.string(), ok: z.boolean() }),
  'session.recycled': z.object({ reason: z.string(), memoryMb: z.number().int() }),
  'session.backfill': z.object({
    chats: z.number().int(),
    messages: z.number().int(),
    from: z.iso.datetime().nullable(),
    to: z.iso.datetime().nullable(),
    truncated: z.boolean(),
  }),
  /**
   * All messages of this WhatsApp account up to this time are recorded, or lie before this event in the outlet. Sent after each complete
   * scan, and at intervals while messages arrive.
   */
  'session.caught_up': z.object({ phoneNumber: z.string().max(20), at: observedTime }),
  /**
   * Inbound, or sent from the phone or another device. A message that the backend sent itself is recognised by its key. `asked`: from
   * a backfill that a user requested. `compare`: older than the gap, and only sent so that changes to it are found; the backend
   * creates no row for it.
   */
  'message.observed': z.object({
    message: observedMessage,
    origin: z.enum(['live', 'backfill', 'asked', 'compare']).catch('live'),
  }),
  /** The thumbnail of a message that was or will be observed without it: of a message that the backend sends, or one that the page shows later. */
  'message.thumbnail': z.object({ ...aboutObserved, thumbnail: observedThumbnail }),
  'message.ack': z.object({ ...aboutObserved, ack: observedAck, participant: observedContact }),
  'message.edited': z.object({ ...aboutObserved, text: observedText }),
  'message.revoked': z.object(aboutObserved),
  /** The account starred a message, or removed the star; or somebody pinned it, or unpinned it. What is absent has not changed. */
  'message.marked': z.object({
    ...aboutObserved,
    starred: z.boolean().optional().catch(undefined),
    /** Null: it is not pinned. */
    pinnedUntil: z.iso.datetime().nullable().optional().catch(undefined),
  }),
  'message.reaction': z.object({ ...aboutObserved, contact: observedContact, emoji: observedText }),
  'poll.vote': z.object({ ...aboutObserved, contact: observedContact, options: observedTexts }),
  'chat.updated': z.object({
    chat: observedChat,
    change: z.enum(['archived', 'unarchived', 'removed', 'unread']),
    unreadCount: z.number().int().nullable().catch(null),
  }),
  /** A person in a chat whose presence the session follows. */
  'presence.observed': z.object({
    chat: observedChat,
    contact: observedContact,
    state: z.enum(['available', 'unavailable', 'typing', 'recording']),
    lastSeen: observedTime.nullable().catch(null),
    at: observedTime,
  }),
  'group.participants': z.object({
    group: observedChat,
    action: z.enum(['join', 'leave', 'add', 'remove', 'promote', 'demote']),
    participants: observedContacts,
    by: observedContact,
    at: observedTime,
  }),
  'group.updated': z.object({
    group: observedChat,
    change: z.string().catch('unknown'),
    value: observedText,
    by: observedContact,
    at: observedTime,
  }),
  'group.membership_request': z.object({
    group: observedChat,
    contact: observedPerson,
    at: observedTime,
  }),
  /** A contact was renamed, renamed itself, or was saved in the phone's address book. */
  'contact.observed': z.object({ contact: observedPerson }),
  'call.received': z.object({
    callId: z.string().catch(''),
    contact: observedContact,
    isVideo: z.boolean().catch(false),
    isGroup: z.boolean().catch(false),
    at: observedTime,
    /** What became of the call if the session rejects calls. Absent: it was left to ring. */
    autoReject: z.object({ attempted: z.boolean(), confirmed: z.boolean() }).nullish().catch(null),
  }),
} as const;
export type WorkerEventType = keyof typeof workerEvents;
export type WorkerEventPayload<T extends WorkerEventType> = z.infer<(typeof workerEvents)[T]>;
export const isWorkerEventType = (type: string): type is WorkerEventType => Object.hasOwn(workerEvents, type);

/**
 * One entry of a worker's outlet. `cursor` grows over the outlet, `sequence` counts without gaps within a session and epoch. A type or a payload
 * that does not fit becomes an empty one, which is refused alone: otherwise the whole batch would be repeated for ever.
 */
export const outletEvent = z.object({
  cursor: z.number().int().positive(),
  id: z.string(),
  sessionId: z.string(),
  epoch,
  sequence: z.number().int().positive(),
  type: z.string().catch(''),
  occurredAt: z.iso.datetime().catch(() => new Date().toISOString()),
  payload: z.record(z.string(), z.unknown()).catch({}),
});
export type OutletEvent = z.infer<typeof outletEvent>;

/**
 * The problems that a worker isolates or cannot solve, by code. `degrades`: the worker is degraded until the problem has not happened for five
 * minutes.
 */
export const workerProblems = {
  EVENT_UNREADABLE: {
    degrades: false,
    message: 'An event of the page could not be read. It was skipped; later events are processed.',
  },
  EVENT_SET_ASIDE: {
    degrades: false,
    message: 'An event could not be written to the outlet. It was isolated; later events are processed.',
  },
  EVENT_SHORTENED: { degrades: false, message: 'An event was too large for the outlet. Its texts were shortened.' },
  EVENT_REFUSED: { degrades: false, message: 'The backend refused an event. The worker stores it for 30 days.' },
  EVENTS_DROPPED: {
    degrades: true,
    message:
      'The disk accepted no events for so long that memory was full. Messages are read again from WhatsApp; acknowledgements, edits and reactions of that time are lost.',
  },
  BACKFILL_INCOMPLETE: { degrades: false, message: 'Some chats could not be scanned for missed messages.' },
  STORE_WRITE_FAILED: { degrades: true, message: 'The worker could not write to its database. It retries.' },
  TASK_FAILED: { degrades: true, message: 'A background task of the worker failed. It runs again.' },
  UNHANDLED_REJECTION: { degrades: true, message: 'An unhandled promise rejection. This is a bug: report it with the log.' },
} as const;
export type WorkerProblemCode = keyof typeof workerProblems;

/**
 * A problem in a heartbeat; there is one entry for each code and session. `at` is when it last happened, `count` is how often since the previous
 * report. It has no message content. An invalid field gets a default, because the heartbeat renews the leases of all sessions and must not be
 * refused because of a diagnostic field.
 */
export const workerProblem = z.object({
  code: z.string().catch('UNKNOWN'),
  sessionId: z.string().nullable().catch(null),
  detail: z.string().catch(''),
  at: z.iso.datetime().catch(() => new Date().toISOString()),
  count: z.number().int().positive().catch(1),
  /** The id of this report. It is the same when the report is sent again because no answer came. */
  report: z.string().max(36).optional().catch(undefined),
});
export type WorkerProblem = z.infer<typeof workerProblem>;

const unknownMetrics: SessionMetrics = {
  memoryMb: null,
  cpuPercent: null,
  processes: 0,
  browserUptimeSeconds: null,
  queueDepth: 0,
  roundTripMs: null,
};

/** A session in a heartbeat. A field that is only displayed gets a default if it is invalid: otherwise all sessions would lose their leases. */
const beatingSession = z.object({
  ...observedSession.pick({ sessionId: true, epoch: true, status: true }).shape,
  reason: observedSession.shape.reason.catch(null),
  until: observedSession.shape.until.catch(null),
  lastRoundTripAt: observedSession.shape.lastRoundTripAt.catch(null),
  metrics: sessionMetrics.catch(unknownMetrics),
  compat: observedSession.shape.compat.catch([]),
  selfCheck: observedSession.shape.selfCheck.catch(null),
  loginCopy: observedSession.shape.loginCopy.catch(undefined),
  whatsappWebVersion: observedSession.shape.whatsappWebVersion.catch(null),
});

export const heartbeat = z.object({
  workerId: z.string(),
  bootId: z.string(),
  url: z.string(),
  version: z.string(),
  capacity: z.number().int(),
  draining: z.boolean(),
  memoryMb: z.number(),
  memoryLimitMb: z.number().nullable(),
  /** CPU use of the browsers and the worker, of all processors of the machine. */
  cpuPercent: z.number().nullable(),
  /** The status of the worker's `GET /health`. Absent from older workers. */
  status: z.enum(['ok', 'degraded']).optional(),
  /** Whether the worker connects sessions through their proxies. Absent from older workers, which must not run a session with a proxy. */
  proxies: z.boolean().optional().catch(false),
  /** Problems that the worker isolated since its last answered heartbeat, the latest first. Absent from older workers. */
  problems: z.array(workerProblem).optional().catch([]),
  sessions: z.array(beatingSession),
});
export type Heartbeat = z.infer<typeof heartbeat>;

/** The sessions that the worker should run, with their epochs. It stops every session that is not listed. */
export const heartbeatReply = z.object({
  /** How long the leases are valid, in milliseconds from when the worker sent its heartbeat: a duration, because two clocks are never compared. */
  leaseMs: z.number().int().positive().optional(),
  leases: z.array(z.object({ sessionId: z.string(), epoch, expiresAt: z.iso.datetime(), settings: workerSettings.optional() })),
  desired: z.array(
    z.object({
      sessionId: z.string(),
      state: z.enum(['running', 'stopped']),
      epoch,
      settings: workerSettings,
      deviceName: z.string().nullable(),
      caughtUp: caughtUp.nullable().optional(),
    }),
  ),
  revoke: z.array(z.object({ sessionId: z.string(), epoch })),
});
export type HeartbeatReply = z.infer<typeof heartbeatReply>;

/** Routes of the backend that only workers call; never reachable from outside. Mounted at the server's root. */
export const backendInternalRoutes = {
  events: defineRoute({
    id: 'internal.events',
    method: 'post',
    path: '/internal/events',
    summary: 'Events of a worker, at most 500',
    auth: 'svc',
    body: z.object({ workerId: z.string(), bootId: z.string(), events: z.array(outletEvent).max(500) }),
    reply: z.object({
      /** Everything up to this cursor is committed; the worker deletes its events up to it and sends the rest again. */
      ackCursor: z.number().int(),
      refused: z.array(z.object({ id: z.string(), code: z.string() })),
      resend: z.array(z.object({ sessionId: z.string(), fromSequence: z.number().int() })),
    }),
    errors: ['DATABASE_UNAVAILABLE', 'SHUTTING_DOWN'],
  }),
  eventsTest: defineRoute({
    id: 'internal.events.test',
    method: 'get',
    path: '/internal/events/test',
    summary: 'Whether events would be accepted',
    auth: 'svc',
    reply: z.object({ ok: z.literal(true), time: z.iso.datetime() }),
  }),
  heartbeat: defineRoute({
    id: 'internal.workers.heartbeat',
    method: 'post',
    path: '/internal/workers/heartbeat',
    summary: 'A worker reports its sessions and receives those that it should run',
    auth: 'svc',
    body: heartbeat,
    reply: heartbeatReply,
    errors: ['DATABASE_UNAVAILABLE', 'SHUTTING_DOWN'],
  }),
} as const;
