/* eslint-disable max-lines -- a table, one schema for each resource */
import { z } from 'zod';
import { mediaRef, messageTypes, selectedOption } from './message-types/index.js';
import { storageModes } from './storage-modes.js';
import { quietHours, timezoneName, warmUp } from './session-times.js';
import { messageStatuses, sessionStatuses } from './states.js';

/** Objects that the API returns. None contains secrets, hashes or ids of other accounts. Times are ISO 8601 in UTC, with milliseconds. */

const time = z.iso.datetime();
const nullableTime = time.nullable();

export const contact = z
  .object({ id: z.string(), phone: z.string().nullable(), lid: z.string().nullable(), name: z.string().nullable() })
  .meta({ id: 'Contact' });
export type Contact = z.infer<typeof contact>;

export const chatRef = z.object({
  id: z.string(),
  type: z.enum(['private', 'group', 'channel', 'status']),
  name: z.string().nullable(),
});
export type ChatRef = z.infer<typeof chatRef>;

export const reason = z.object({ code: z.string(), message: z.string() }).meta({ id: 'Reason' });
export type Reason = z.infer<typeof reason>;

export const qrCodeDoc = 'The code to scan, as a PNG picture in a `data:` address for an `<img>`.';
export const qrTextDoc = 'The text in the QR code, for programs that draw it themselves.';

const sessionBase = {
  name: z.string(),
  status: z.enum(sessionStatuses),
  isConnected: z.boolean(),
  desired: z.enum(['running', 'stopped']),
  reason: reason.nullable(),
  phoneNumber: z.string().nullable(),
  pushName: z.string().nullable(),
  platform: z.string().nullable(),
  lastSeen: nullableTime,
  stale: z.boolean(),
  qrCode: z.string().nullable().optional().describe(qrCodeDoc),
  qrText: z.string().nullable().optional().describe(qrTextDoc),
  expiresAt: nullableTime.optional(),
  pairingCode: z
    .object({ code: z.string(), phoneNumber: z.string(), expiresAt: time })
    .nullable()
    .optional()
    .describe('The pairing code to type on the phone with this number, if one was requested and has not expired.'),
};
export const sessionStatus = z.object({ sessionId: z.string(), ...sessionBase }).meta({ id: 'SessionStatus' });
export type SessionStatusResource = z.infer<typeof sessionStatus>;

export const autoReadModes = ['off', 'private', 'all'] as const;
const rejectCalls = z.object({
  enabled: z.boolean(),
  message: z
    .string()
    .trim()
    .min(1)
    .max(4_096)
    .nullable()
    .describe('Sent to the caller of a call that was rejected, at most once for each call. Null: nothing is sent.'),
});
/** A browser needs about 100 MB before it shows anything; a lower mark would restart it without end. */
const recycleAboveMb = z.union([z.literal(0), z.number().int().min(200).max(1_000_000)]);

/** The proxy of a session as it is stored in its settings and shown. The password is in a column of its own, sealed, and in no reply. */
export const sessionProxy = z
  .object({
    url: z.string().describe('`protocol://host:port` with `http`, `https`, `socks4` or `socks5`.'),
    username: z.string().nullable(),
    hasPassword: z.boolean().describe('Whether a password is stored. No reply contains it.'),
  })
  .meta({ id: 'SessionProxy' });
export type SessionProxyResource = z.infer<typeof sessionProxy>;

export const sessionSettings = z
  .object({
    autoReconnect: z
      .boolean()
      .describe('Whether a lost browser is started again. False: the session becomes `disconnected` with `RECONNECT_OFF`.'),
    storeMedia: z.boolean(),
    /** The storage mode. If absent, the account's and the installation's mode apply. The strictest of the three applies. */
    storage: z.enum(storageModes).optional(),
    countryCode: z
      .string()
      .regex(/^[1-9]\d{0,2}$/)
      .nullable(),
    queueIfOffline: z.boolean(),
    maxQueueAgeHours: z.number().positive().max(720),
    /** Whether lists and buttons are sent as text or refused. If absent, the installation's `INTERACTIVE_MODE` applies. */
    interactiveMode: z.enum(['fallback', 'reject']).optional(),
    /** Which received messages are marked as seen once they are recorded. If absent, none. */
    autoRead: z
      .enum(autoReadModes)
      .describe(
        '`private`: messages of private chats are marked as seen once they are recorded; `all`: those of groups too. WhatsApp marks whole chats.',
      )
      .optional(),
    /** Whether incoming calls are rejected. If absent, they ring. */
    rejectCalls: rejectCalls.optional(),
    /** Whether stories of others are recorded. If absent, they are. */
    stories: z.boolean().describe('Off: stories of others are neither recorded nor published.').optional(),
    /** If absent or null, the installation's `RECYCLE_ABOVE_MB` applies. */
    recycleAboveMb: recycleAboveMb
      .describe('Above this memory an idle browser is restarted. 0: never; null: as `RECYCLE_ABOVE_MB` says.')
      .nullable()
      .optional(),
    /** Messages a day; null: the installation's. 0: none. */
    dailyLimit: z.number().int().min(0).max(100_000_000).nullable().optional(),
    /** The zone of the session's quiet hours and schedules. If absent, the account's time zone applies. */
    timezone: timezoneName.optional().describe('The time zone of quiet hours and schedules. Absent: that of the account.'),
    quietHours: quietHours
      .nullable()
      .optional()
      .describe('The hours in which due messages wait with the reason `QUIET_HOURS`. Null: none.'),
    warmUp: warmUp.nullable().optional().describe('A daily limit that grows, for a phone number that is new. Null: none.'),
    /** The proxy through which the browser connects. If absent or null, it connects directly. */
    proxy: sessionProxy
      .describe('The proxy through which this session connects to WhatsApp, and never past it. Null: none.')
      .nullable()
      .optional(),
    pacing: z.object({
      perMinute: z.number().int().min(0).max(100_000),
      chatGapMs: z.number().int().min(0).max(600_000),
      jitterMs: z.number().int().min(0).max(60_000),
      typing: z.boolean(),
    }),
  })
  .meta({ id: 'SessionSettings' });
export type SessionSettings = z.infer<typeof sessionSettings>;

/** What applies to a session whose settings do not have the field: those of sessions that were created by an earlier version. */
export const unsetSettings = {
  autoRead: 'off',
  rejectCalls: { enabled: false, message: null },
  stories: true,
  recycleAboveMb: null,
  proxy: null,
} as const satisfies Partial<SessionSettings>;

export const session = z
  .object({
    id: z.string(),
    ...sessionBase,
    isDefault: z.boolean(),
    deviceName: z.string().nullable(),
    pairingNumber: z
      .string()
      .nullable()
      .describe(
        'The number for which the session requests pairing codes while it waits to be linked. `phoneNumber` is the linked account.',
      ),
    workerId: z.string().nullable(),
    settings: sessionSettings,
    metadata: z.record(z.string(), z.unknown()),
    counters: z.object({ sent: z.number(), received: z.number(), failed: z.number() }),
    reconnectAttempts: z.number().int(),
    connectedAt: nullableTime,
    disconnectedAt: nullableTime,
    uptimePercent: z.number(),
    errorCount: z.number().int(),
    lastError: z.string().nullable(),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Session' });
export type SessionResource = z.infer<typeof session>;

export const messageOrigins = ['api', 'panel', 'bulk', 'device', 'live', 'backfill'] as const;
export type MessageOrigin = (typeof messageOrigins)[number];
/** The origins of messages that this gateway sent by itself. */
export const ownOrigins = ['api', 'panel', 'bulk'] as const satisfies readonly MessageOrigin[];

export const lookupResults = ['acknowledged', 'pending', 'refused', 'absent', 'proven_absent', 'no_answer'] as const;
/** What WhatsApp Web returned for an uncertain message. */
export type LookupResult = (typeof lookupResults)[number];

export const message = z
  .object({
    id: z.string(),
    sessionId: z.string(),
    whatsappId: z.string().nullable(),
    direction: z.enum(['inbound', 'outbound']),
    origin: z.enum(messageOrigins),
    type: z.enum(messageTypes),
    status: z.enum(messageStatuses),
    reason: reason.nullable(),
    chat: chatRef,
    contact: contact.nullable(),
    from: z.string().nullable(),
    to: z.string().nullable(),
    fromNumber: z.string().nullable(),
    toNumber: z.string().nullable(),
    text: z.string().nullable(),
    content: z.record(z.string(), z.unknown()).nullable(),
    /** Which option an answer to buttons, a list or a template chose. */
    selectedOption: selectedOption.nullable(),
    /** `text`: lists and buttons that were sent as a text with numbered options. */
    renderedAs: z.literal('text').nullable(),
    attempts: z.number().int(),
    isGroup: z.boolean(),
    /** Whether it passes quiet hours. */
    isUrgent: z.boolean(),
    isForwarded: z.boolean(),
    /** The linked account has starred it. */
    starred: z.boolean(),
    /** Until when the message is pinned in its chat. Null, or a time in the past: it is not. */
    pinnedUntil: nullableTime,
    /** The bulk job that made the message. */
    bulkJobId: z.string().nullable(),
    mentions: z.array(z.string()),
    /** The people in `mentions`, in the same order, with what is known of each: a text names a person by the number or by the hidden id. */
    mentionedContacts: z.array(contact),
    /** The groups that the text mentions as `@` and their id, with the name that phones show in its place. Null: WhatsApp Web shows no name. */
    groupMentions: z.array(z.object({ id: z.string(), name: z.string().nullable() })),
    quotedMessageId: z.string().nullable(),
    /** The template that the message was filled from. */
    templateId: z.string().nullable(),
    cost: z.string(),
    timestamp: nullableTime,
    expiresAt: nullableTime,
    createdAt: time,
    /** When a scheduled message is or was due. */
    scheduledAt: nullableTime,
    /** The recurring schedule that made it. */
    scheduleId: z.string().nullable(),
    /** When a scheduled message becomes due, or a queued one may be sent: the end of quiet hours, or its next attempt. Null: as soon as possible. */
    nextAttemptAt: nullableTime,
    /** The lookups in WhatsApp Web, the last time that the outcome of an attempt was unknown. Null: it never was. */
    lookup: z
      .object({
        count: z.number().int(),
        lastAt: nullableTime,
        /** What the last lookup returned. `pending`: WhatsApp Web has the message and has not sent it yet. `absent` proves nothing. */
        result: z.enum(lookupResults).nullable(),
        /** When it is looked up next, if its session is connected. Null: it waits for a decision, or its outcome is known. */
        nextAt: nullableTime,
      })
      .nullable(),
    queuedAt: nullableTime,
    sentAt: nullableTime,
    deliveredAt: nullableTime,
    readAt: nullableTime,
    playedAt: nullableTime,
    failedAt: nullableTime,
    cancelledAt: nullableTime,
    editedAt: nullableTime,
    revokedAt: nullableTime,
    /** When the message was deleted from the log, or for the linked account. Lists no longer contain it. */
    deletedAt: nullableTime,
  })
  .meta({ id: 'Message' });
export type MessageResource = z.infer<typeof message>;

/** A message as WhatsApp Web has it. `id` is null if this gateway has not recorded it, for example because it is older than the session. */
export const foundMessage = message.extend({ id: z.string().nullable() }).meta({ id: 'FoundMessage' });
export type FoundMessageResource = z.infer<typeof foundMessage>;

export const media = mediaRef
  .omit({ thumbnailUrl: true })
  .extend({ id: z.string(), url: z.string(), expiresAt: nullableTime })
  .meta({ id: 'Media' });

export const timelineEntry = z
  .object({
    status: z.string(),
    at: time,
    reason: reason.nullable(),
    attempt: z.number().int().nullable(),
    /** The text before an edit (status `edited`), unless the storage mode withholds it. Null otherwise. */
    previousText: z.string().nullable(),
    cursor: z.string(),
  })
  .meta({ id: 'TimelineEntry' });

export const account = z
  .object({
    id: z.string(),
    username: z.string(),
    email: z.string(),
    role: z.enum(['user', 'staff', 'admin']),
    isActive: z.boolean(),
    timezone: z.string(),
    /** BCP 47. Templates write numbers, amounts and times by its rules. */
    language: z.string(),
    uncertainPolicy: z.enum(['hold', 'retry']),
    storage: z.enum(storageModes),
    plan: z.object({ id: z.string(), name: z.string() }).nullable(),
    /**
     * `maxMessagesPerDay` is the lower of the account's own limit and its plan's. The other limits are the plan's; without a plan, `maxSessions` is the
     * account's own. 0: no limit.
     */
    limits: z.object({
      maxMessagesPerDay: z.number().int(),
      maxMessagesPerMonth: z.number().int(),
      maxSessions: z.number().int(),
    }),
    apiKeyPrefix: z.string().nullable(),
    createdAt: time,
  })
  .meta({ id: 'Account' });
export type AccountResource = z.infer<typeof account>;

export const plan = z
  .object({
    id: z.string(),
    name: z.string(),
    dailyMessages: z.number().int(),
    monthlyMessages: z.number().int(),
    maxSessions: z.number().int(),
    apiLimit: z.number().int(),
    pricePerMessage: z.string(),
    currency: z.string(),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Plan' });

export const quota = z
  .object({
    limits: z.array(
      z.object({
        scope: z.enum(['session.daily', 'session.warm_up', 'account.daily', 'plan.monthly']),
        limit: z.number().int(),
        used: z.number().int(),
        reserved: z.number().int(),
        remaining: z.number().int(),
        resetAt: time,
      }),
    ),
    /** The scope with the least left; null: nothing is limited. */
    tightest: z.string().nullable(),
  })
  .meta({ id: 'Quota' });

export const auditEntry = z
  .object({
    id: z.string(),
    at: time,
    accountId: z.string().nullable(),
    actor: z.object({ type: z.string(), id: z.string().nullable(), name: z.string().nullable() }),
    /** The credential that was used; null: the system itself, or staff of another account. */
    credential: z.enum(['key', 'token', 'panel']).nullable(),
    action: z.string(),
    object: z.object({ type: z.string(), id: z.string().nullable() }),
    changes: z.record(z.string(), z.unknown()),
    /** What the changed fields were before, as far as they are known. Null: the object is new, or the entry is of an earlier version. */
    previous: z.record(z.string(), z.unknown()).nullable(),
    ip: z.string().nullable(),
    requestId: z.string().nullable(),
  })
  .meta({ id: 'AuditEntry' });

export const token = z
  .object({
    token: z.string(),
    expiresAt: time,
    permissions: z.array(z.string()),
    sessionId: z.string().nullable(),
    /** The token came from a one-time password and can only be used to change that password. */
    mustChangePassword: z.boolean(),
  })
  .meta({ id: 'Token' });

export const chat = z
  .object({
    id: z.string(),
    type: chatRef.shape.type,
    name: z.string().nullable(),
    contact: contact.nullable(),
    unreadCount: z.number().int(),
    isArchived: z.boolean(),
    isPinned: z.boolean(),
    mutedUntil: nullableTime,
    isReadOnly: z.boolean(),
    timestamp: nullableTime,
    lastMessage: z
      .object({ whatsappId: z.string().nullable(), type: z.string(), text: z.string().nullable(), fromMe: z.boolean() })
      .nullable(),
  })
  .meta({ id: 'Chat' });
export type ChatResource = z.infer<typeof chat>;

/** A contact in the form of the contact routes. `savedName` is from the address book; the person has chosen `pushName`. */
export const contactDetails = contact
  .extend({
    pushName: z.string().nullable(),
    savedName: z.string().nullable(),
    isBusiness: z.boolean(),
    isBlocked: z.boolean(),
    isSaved: z.boolean(),
  })
  .meta({ id: 'ContactDetails' });
export type ContactDetails = z.infer<typeof contactDetails>;

/** `content`: the fields of the type's own route, with variables. `version` grows with each change of the content. */
export const messageTemplate = z
  .object({
    id: z.string(),
    name: z.string(),
    type: z.enum(messageTypes),
    content: z.record(z.string(), z.unknown()),
    /** The names of the variables, in the order in which they appear. */
    variables: z.array(z.string()),
    version: z.number().int(),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Template' });
export type MessageTemplateResource = z.infer<typeof messageTemplate>;

/** A person who opted out. `contact` is null once the person was erased on request: the opt-out goes on. */
export const optOut = z
  .object({
    id: z.string(),
    contact: contact.nullable(),
    source: z.enum(['api', 'keyword', 'panel']),
    keyword: z.string().nullable(),
    createdAt: time,
  })
  .meta({ id: 'OptOut' });
export type OptOutResource = z.infer<typeof optOut>;

/** A label of a business account. `color` is written as `#rrggbb`; `colorIndex` is its place in WhatsApp's palette. */
export const label = z
  .object({ id: z.string(), name: z.string(), color: z.string().nullable(), colorIndex: z.number().int().nullable() })
  .meta({ id: 'Label' });
export type LabelResource = z.infer<typeof label>;

export const profile = z
  .object({
    phoneNumber: z.string().nullable(),
    lid: z.string().nullable(),
    name: z.string().nullable(),
    about: z.string().nullable(),
    picture: z.string().nullable(),
    isBusiness: z.boolean(),
    platform: z.string().nullable(),
  })
  .meta({ id: 'Profile' });

export const numberCheck = z
  .object({ input: z.string(), normalised: z.string().nullable(), registered: z.boolean(), contact: contact.nullable() })
  .meta({ id: 'NumberCheck' });

/** Bytes in WebAuthn's JSON form: base64url without padding. */
const base64url = z
  .string()
  .regex(/^[-_A-Za-z0-9]{1,8192}$/)
  .meta({ examples: ['Y2hhbGxlbmdl'] });

/** WhatsApp's request for a passkey: the JSON form of WebAuthn's `PublicKeyCredentialRequestOptions`. */
export const passkeyRequest = z
  .object({
    challenge: base64url,
    /** The site that the passkey belongs to. It differs between accounts; only a page of that site can sign. */
    rpId: z.string().nullable(),
    timeout: z.number().nullable(),
    userVerification: z.string().nullable(),
    allowCredentials: z.array(
      z.object({ id: base64url, type: z.literal('public-key'), transports: z.array(z.string()).optional() }),
    ),
    extensions: z
      .object({ prf: z.object({ eval: z.object({ first: base64url }) }) })
      .optional()
      .describe(
        'What WhatsApp wants from the passkey besides the signature. A passkey that cannot do it leaves it out of the answer.',
      ),
  })
  .meta({ id: 'PasskeyRequest' });
export type PasskeyRequest = z.infer<typeof passkeyRequest>;

/** A passkey's answer: the JSON form of WebAuthn's `PublicKeyCredential`. */
export const passkeyAnswer = z
  .strictObject({
    id: base64url,
    rawId: base64url.optional(),
    type: z.literal('public-key').optional(),
    response: z.strictObject({
      clientDataJSON: base64url,
      authenticatorData: base64url,
      signature: base64url,
      userHandle: base64url.nullable().optional(),
    }),
    authenticatorAttachment: z.string().max(40).nullable().optional(),
    clientExtensionResults: z
      .looseObject({ prf: z.looseObject({ results: z.looseObject({ first: base64url }).optional() }).optional() })
      .optional(),
  })
  .meta({ id: 'PasskeyAnswer' });
export type PasskeyAnswer = z.infer<typeof passkeyAnswer>;

export const capability = z
  .object({
    operation: z.string(),
    method: z.string(),
    path: z.string(),
    support: z.enum(['supported', 'unsupported', 'degraded']),
    reason: z.string().nullable(),
    checkedAt: nullableTime,
  })
  .meta({ id: 'Capability' });
export type Capability = z.infer<typeof capability>;

/**
 * The state of a patch for one defect of WhatsApp Web or its library. `waiting`: the page is not loaded. `armed`: in place, the defect has not
 * occurred. `corrected`: the defect occurred and was corrected. `not_needed`: this build has no such defect. `failed`: applying the patch threw.
 */
export const compatStates = ['waiting', 'armed', 'corrected', 'not_needed', 'failed'] as const;
export const compatReport = z
  .object({ defect: z.string(), state: z.enum(compatStates), detail: z.string().nullable() })
  .meta({ id: 'CompatReport' });
export type CompatReport = z.infer<typeof compatReport>;
