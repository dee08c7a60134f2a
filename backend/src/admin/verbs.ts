import type {
  Address,
  BulkCheck,
  OperationOutput,
  PasskeyAnswer,
  QuietHours,
  SessionHealth,
  SessionSettings,
  StorageMode,
  WarmUp,
} from '@chasqui/shared';
import type { Response } from 'express';
import type { Account } from '../accounts/account.entity.js';
import type { PlanInput } from '../accounts/plans.js';
import type { Caller } from '../accounts/caller.js';
import type { MediaFile } from '../media/media-file.entity.js';
import type { ImportResult } from '../opt-outs/import.js';
import type { Keywords } from '../opt-outs/keywords.js';
import type { Variables } from '../templates/render.js';
import type { ProxyInput } from '../sessions/proxies.js';
import type { TemplateInput } from '../templates/templates.js';
import type { WebhookFilter, WebhookRetry, WebhookTransform } from '../webhooks/webhook.entity.js';
import type { DeliveryFilter, ExplorerPage, Resent } from '../webhooks/explorer.js';

/** The role of an account. */
export type PanelRole = 'user' | 'staff' | 'admin';

/** What the panel may set of a session. An absent field stays as it is. */
export interface SessionLimits {
  /** Messages a day. Null: the installation’s limit applies. */
  dailyLimit?: number | null;
  storage?: StorageMode;
  /** Null: none. */
  quietHours?: QuietHours | null;
  warmUp?: WarmUp | null;
  timezone?: string;
}

/** A bulk job as the panel makes one: a text with placeholders, and recipients as CSV. */
export interface PanelJob {
  sessionId: string;
  name: string | null;
  message: string;
  csv: string;
  checkNumbers: boolean;
  scheduledAt: string | null;
}

export type GlanceKind = 'chats' | 'groups' | 'contacts';

/** One chat, group or contact as WhatsApp Web has it. */
export interface GlanceRow {
  id: string;
  title: string;
  detail: string | null;
  /** Unread messages. */
  unread: number;
  /** Milliseconds. */
  at: number | null;
}

/** What the form on a session's page sets. An absent field stays as it is. */
export type SessionForm = Partial<
  Pick<
    SessionSettings,
    'autoReconnect' | 'queueIfOffline' | 'pacing' | 'autoRead' | 'rejectCalls' | 'stories' | 'recycleAboveMb'
  > & {
    proxy: ProxyInput | null;
  }
>;

/** A new key. Absent fields are as the rules of the installation say. */
export interface PanelKey {
  accountId: string;
  sessionId: string | null;
  name: string;
  permissions: string[];
  /** Requests in a window. Null: the installation's limit applies. 0: none. */
  rateLimit: number | null;
  rateWindowMs: number | null;
  /** Null: it does not expire. */
  expiresAt?: Date | null;
  /** A successor is created before it expires. */
  autoRotation?: boolean;
}

/** What the panel sets of an endpoint. */
export interface WebhookForm {
  url: string;
  description: string | null;
  events: string[];
  /** Names and values that are sent along. Absent: they stay as they are. */
  headers?: Record<string, string>;
  /** Null: none. Absent: it stays as it is. */
  filter?: WebhookFilter | null;
  transform?: WebhookTransform | null;
  /** Null: the schedule of the installation. Absent: it stays as it is. */
  retry?: WebhookRetry | null;
}

/** An endpoint that is being written, as far as it decides which events are delivered, and in which form. */
export interface WebhookDraft {
  accountId: string;
  sessionId: string | null;
  events: string[];
  filter: WebhookFilter | null;
  transform: WebhookTransform | null;
  includeContent: boolean;
}

/** What an endpoint with these fields would have received of the newest events of its account. */
export interface WebhookPreview {
  /** The events that were looked at: those of the chosen types. */
  examined: number;
  matching: number;
  /** The newest of them. */
  events: { cursor: number; type: string; words: string; at: number; matches: boolean }[];
  /** The transformed body of the newest event that matches. Null: there is no transformation, or no such event. */
  sample: { event: string; type: string; body: string } | null;
}

/** The receiver's answer to a test. */
export interface TestOutcome {
  ok: boolean;
  statusCode: number | null;
  durationMs: number;
  error: string | null;
}

/** A secret that the panel shows once and never again: a key, a signing secret or a one-time password. */
export interface ShownOnce {
  id: string;
  secret: string;
}

/** A content that is being written: its variables, those without a value, and the text once all of them have one. */
export interface TemplatePreview {
  variables: string[];
  missing: string[];
  text: string | null;
}

export interface ScheduleTimes {
  name: string;
  /** Five fields, as cron has them. */
  cron: string;
  timezone: string;
}

/**
 * Every change that the panel can make. The panel itself only reads the tables of the domains; it has no other access to them. Each verb
 * checks its own rules, writes an entry of the audit log and throws `AppError`. `caller` is the person at the panel. The verb finds the account
 * that owns the object by the object's id.
 */
export interface PanelVerbs {
  auth: {
    /**
     * Checks a name or e-mail address and a password, counted against the limits of `POST /auth/login`, for accounts of every role.
     * Throws `INVALID_CREDENTIALS`, `ACCOUNT_INACTIVE`, `RATE_LIMITED` with `details.retryAfterSeconds`. `fingerprint` is that of the password
     * that was verified (guard.ts): a panel session that is opened with it is void when the password was replaced meanwhile.
     */
    signIn(input: {
      login: string;
      password: string;
      ip: string | null;
      requestId: string;
    }): Promise<{ accountId: string; fingerprint: string }>;
    /** Returns the account of the token of a link, counted as a login. Throws `INVALID_CREDENTIALS`, `RATE_LIMITED`. */
    readFirstLink(
      token: string,
      request: Pick<Caller, 'ip' | 'requestId'>,
    ): Promise<Pick<Account, 'username' | 'timezone' | 'createdAt' | 'updatedAt'>>;
    /** Sets the password of the account of a link, which ends the link. Throws as `readFirstLink` does. */
    useFirstLink(
      token: string,
      next: string,
      request: Pick<Caller, 'ip' | 'requestId'>,
    ): Promise<{ account: { id: string; role: PanelRole; username: string }; fingerprint: string }>;
    /** Replaces the one-time password with which the caller has signed in. Throws `INVALID_CREDENTIALS` if it has another one by now. */
    replaceOneTimePassword(caller: Caller, next: string): Promise<{ fingerprint: string }>;
    /** Writes the audit entry of a login, after the panel session was opened. */
    recordLogin(caller: Caller): Promise<void>;
    /** Writes the audit entry of a logout, after the panel session was closed. */
    recordLogout(caller: Caller): Promise<void>;
    /** Returns the fingerprint of the new password. */
    changePassword(caller: Caller, input: { current: string; next: string }): Promise<{ fingerprint: string }>;
  };
  sessions: {
    create(
      caller: Caller,
      input: { accountId: string; name: string; deviceName: string | null; phoneNumber: string | null },
    ): Promise<{ id: string }>;
    /** Throws `ALREADY_EXISTS` for a name that is taken. */
    rename(caller: Caller, sessionId: string, name: string): Promise<void>;
    /** Hides the session, revokes its keys and deletes its login. Its history stays. */
    remove(caller: Caller, sessionId: string): Promise<void>;
    start(caller: Caller, sessionId: string): Promise<void>;
    /** Ends the browser; the login is kept. */
    stop(caller: Caller, sessionId: string): Promise<void>;
    /** Unlinks the device and deletes the login. */
    logout(caller: Caller, sessionId: string): Promise<void>;
    restart(caller: Caller, sessionId: string): Promise<void>;
    suspend(caller: Caller, sessionId: string, reason: string): Promise<void>;
    resume(caller: Caller, sessionId: string): Promise<void>;
    pairingCode(caller: Caller, sessionId: string, phoneNumber: string): Promise<{ code: string; expiresAt: Date }>;
    /** The script with which the owner signs WhatsApp's request for a passkey. */
    passkeyScript(caller: Caller, sessionId: string): Promise<{ script: string; expiresAt: Date }>;
    answerPasskey(caller: Caller, sessionId: string, answer: PasskeyAnswer): Promise<void>;
    setLimits(caller: Caller, sessionId: string, changes: SessionLimits): Promise<void>;
    /**
     * Asks WhatsApp Web for the first of its chats, groups or contacts. Throws `SESSION_NOT_CONNECTED`, `OPERATION_TIMEOUT` after ten seconds,
     * and what the worker throws.
     */
    glance(sessionId: string, at: GlanceKind): Promise<GlanceRow[]>;
    /** Asks the worker. `stale` if it does not answer. */
    health(sessionId: string): Promise<SessionHealth>;
    setSettings(caller: Caller, sessionId: string, changes: SessionForm): Promise<void>;
    /** The session sends at its own pace again. */
    unthrottle(caller: Caller, sessionId: string): Promise<void>;
  };
  messages: {
    /**
     * Returns what a recipient is that is being typed, by the rules of a send. `sessionId` null: the session is not chosen, and the country of the
     * installation applies. Throws `INVALID_RECIPIENT` and `RECIPIENT_NOT_SUPPORTED`.
     */
    readRecipient(input: { sessionId: string | null; recipient: string }): Promise<{ kind: Address['kind']; id: string }>;
    /** With `scheduledAt` the message is sent then. Throws `SCHEDULE_IN_PAST`. */
    sendText(
      caller: Caller,
      sessionId: string,
      input: { recipient: string; message: string; scheduledAt?: string | undefined; timezone?: string | undefined },
    ): Promise<{ id: string }>;
    /** Sends the content of a message, with a copy of its file, to another recipient as a new message. Throws `CONTENT_WIPED`, `MEDIA_EXPIRED`. */
    resendTo(caller: Caller, messageId: string, recipient: string): Promise<{ id: string }>;
    retry(caller: Caller, messageId: string): Promise<void>;
    /** Throws `MESSAGE_NOT_SCHEDULED`, `SCHEDULE_IN_PAST`. */
    reschedule(caller: Caller, messageId: string, input: { scheduledAt: string; timezone?: string | undefined }): Promise<void>;
    cancel(caller: Caller, messageId: string): Promise<void>;
    resolve(caller: Caller, messageId: string, as: 'sent' | 'failed' | 'retry'): Promise<void>;
    /** Asks WhatsApp who received, read and played an own message. Throws `SESSION_NOT_CONNECTED` and what the worker throws. */
    receipts(messageId: string): Promise<OperationOutput<'messages.receipts'>>;
    /** Sends or cancels all messages of a session that are held because another WhatsApp account is linked now. */
    decideHeld(caller: Caller, sessionId: string, decision: 'send' | 'cancel'): Promise<void>;
  };
  bulk: {
    /** Checks a text to the recipients of a CSV file and stores nothing. */
    check(caller: Caller, input: PanelJob): Promise<BulkCheck>;
    /** Throws `MISSING_VARIABLE` and `VALIDATION_FAILED` that name rows. */
    create(caller: Caller, input: PanelJob): Promise<{ id: string }>;
    /** Each throws `BULK_STATE_CONFLICT`. */
    pause(caller: Caller, jobId: string): Promise<void>;
    resume(caller: Caller, jobId: string): Promise<void>;
    cancel(caller: Caller, jobId: string): Promise<void>;
    retry(caller: Caller, jobId: string): Promise<void>;
  };
  /** Recurring schedules. Throw `SCHEDULE_NOT_FOUND`. */
  schedules: {
    /** Creates a schedule that sends a text. Throws `INVALID_RECIPIENT`, `VALIDATION_FAILED` and `QUOTA_EXCEEDED`. */
    create(
      caller: Caller,
      input: ScheduleTimes & { sessionId: string; recipient: string; message: string; maxOccurrences: number | null },
    ): Promise<{ id: string }>;
    /** Gives it other times, or another name. Throws `VALIDATION_FAILED`. */
    change(caller: Caller, scheduleId: string, times: ScheduleTimes): Promise<void>;
    /** Returns the next five times. Throws `VALIDATION_FAILED`. */
    next(times: Omit<ScheduleTimes, 'name'>): Date[];
    pause(caller: Caller, scheduleId: string): Promise<void>;
    /** Throws `SCHEDULE_ENDED`. */
    resume(caller: Caller, scheduleId: string): Promise<void>;
    delete(caller: Caller, scheduleId: string): Promise<void>;
  };
  accounts: {
    /** `secret` is the one-time password. Throws `ALREADY_EXISTS`, `PLAN_NOT_FOUND`. */
    create(
      caller: Caller,
      input: { username: string; email: string; role: PanelRole; planId: string | null },
    ): Promise<ShownOnce>;
    setRole(caller: Caller, accountId: string, role: PanelRole): Promise<void>;
    /** Throws `PLAN_NOT_FOUND`. */
    setLimits(caller: Caller, accountId: string, changes: { planId?: string | null; maxMessagesPerDay?: number }): Promise<void>;
    /** The zone of the account's days, of its quotas and of its times without a zone. */
    setTimezone(caller: Caller, accountId: string, timezone: string): Promise<void>;
    activate(caller: Caller, accountId: string): Promise<void>;
    deactivate(caller: Caller, accountId: string): Promise<void>;
    /** `secret` is a new one-time password. */
    resetPassword(caller: Caller, accountId: string): Promise<ShownOnce>;
  };
  keys: {
    /** `secret` is the key. */
    create(caller: Caller, input: PanelKey): Promise<ShownOnce>;
    setActive(caller: Caller, keyId: string, isActive: boolean): Promise<void>;
    /** Null: the installation’s rate limit applies. */
    setRateLimit(caller: Caller, keyId: string, rateLimit: number | null): Promise<void>;
    revoke(caller: Caller, keyId: string): Promise<void>;
    regenerate(caller: Caller, keyId: string): Promise<ShownOnce>;
  };
  webhooks: {
    /** `secret` is the signing secret. Throws `URL_NOT_ALLOWED`, `UNKNOWN_EVENT_TYPE`, `WEBHOOK_LIMIT_REACHED`. */
    create(caller: Caller, input: WebhookForm & { accountId: string; sessionId: string | null }): Promise<ShownOnce>;
    /** Throws `URL_NOT_ALLOWED` and `UNKNOWN_EVENT_TYPE`. */
    update(caller: Caller, webhookId: string, input: WebhookForm): Promise<void>;
    /** `secret` is the new signing secret. The old one also signs for a day. */
    rotate(caller: Caller, webhookId: string): Promise<ShownOnce>;
    /** Deletes the endpoint and cancels its deliveries that wait. */
    remove(caller: Caller, webhookId: string): Promise<void>;
    test(caller: Caller, webhookId: string): Promise<TestOutcome>;
    /**
     * Sends a test event to an endpoint that is not stored. `webhookId`: the endpoint that is being changed, whose secret signs and whose headers,
     * transformation and timeout are used unless there are new ones. Throws as `create`.
     */
    tryDraft(
      caller: Caller,
      input: { accountId: string; webhookId: string | null } & Pick<WebhookForm, 'url' | 'headers' | 'transform' | 'retry'>,
    ): Promise<TestOutcome>;
    /** Throws as `create`. */
    preview(caller: Caller, input: WebhookDraft): Promise<WebhookPreview>;
    /** Returns the names of the headers of an endpoint. Their values are not shown again. */
    headerNames(webhookId: string): Promise<string[]>;
    /** Also delivers the events that happened while the endpoint was switched off. */
    enable(caller: Caller, webhookId: string): Promise<void>;
    disable(caller: Caller, webhookId: string): Promise<void>;
    /** Returns how many deliveries wait to be sent again. */
    redeliverFailed(caller: Caller, webhookId: string): Promise<{ queued: number }>;
    /** Deliveries of every account, newest first. */
    deliveries(filter: DeliveryFilter, page: { limit: number; cursor?: string | undefined }): Promise<ExplorerPage>;
    countDeliveries(filter: DeliveryFilter): Promise<{ total: number; isExact: boolean }>;
    /** Sends deliveries again: those named, or those that meet a filter. See `DeliveryExplorer.resend`. */
    resend(caller: Caller, which: { ids: readonly string[] } | { filter: DeliveryFilter }): Promise<Resent>;
  };
  plans: {
    create(caller: Caller, input: PlanInput): Promise<{ id: string }>;
    /** Applies from the next request of every account on the plan. */
    update(caller: Caller, planId: string, input: PlanInput): Promise<void>;
    /** Throws `PLAN_IN_USE`. */
    remove(caller: Caller, planId: string): Promise<void>;
  };
  templates: {
    /** Throws `VALIDATION_FAILED`, `ALREADY_EXISTS`, and the errors of its file. */
    create(caller: Caller, accountId: string, input: TemplateInput): Promise<{ id: string }>;
    update(caller: Caller, templateId: string, input: TemplateInput): Promise<void>;
    remove(caller: Caller, templateId: string): Promise<void>;
    /** Returns what a content becomes that is being written. Throws `VALIDATION_FAILED`. */
    preview(accountId: string, input: Omit<TemplateInput, 'name'>, variables: Variables): Promise<TemplatePreview>;
  };
  optOuts: {
    /** Throws `INVALID_RECIPIENT`. */
    add(caller: Caller, accountId: string, contacts: readonly string[]): Promise<{ id: string }>;
    /** Opts out the people of a file's text, CSV or JSON. Lines without a valid person are reported. Throws `VALIDATION_FAILED`. */
    import(caller: Caller, accountId: string, list: string): Promise<ImportResult>;
    remove(caller: Caller, optOutId: string): Promise<void>;
    setKeywords(caller: Caller, accountId: string, keywords: Keywords): Promise<void>;
  };
  backups: {
    /** Starts a backup of everything. Throws `BACKUP_RUNNING` and `BACKUP_KEY_REQUIRED`. */
    create(caller: Caller): Promise<{ id: string }>;
    remove(caller: Caller, backupId: string): Promise<void>;
    /** Returns the path of the file of a ready backup, after an audit entry. Throws `BACKUP_NOT_FOUND` and `BACKUP_NOT_READY`. */
    file(caller: Caller, backupId: string): Promise<string>;
  };
  privacy: {
    /** Gathers everything about one contact of the account. Throws `ACCOUNT_NOT_FOUND` and `INVALID_RECIPIENT`. */
    exportContact(caller: Caller, accountId: string, contact: string): Promise<{ id: string }>;
    /** Also throws `CONFIRMATION_REQUIRED` when `confirm` does not repeat the contact. */
    eraseContact(caller: Caller, accountId: string, contact: string, confirm: string): Promise<{ id: string }>;
    /** Returns the path of an export's archive, after an audit entry. Throws `EXPORT_NOT_FOUND`, `EXPORT_NOT_READY` and `MEDIA_EXPIRED`. */
    archive(caller: Caller, exportId: string): Promise<string>;
  };
  lists: {
    /** Writes the audit entry of a list that leaves the panel as a file. `filters`: names only, because values may be personal data. */
    recordDownload(caller: Caller, table: string, download: { rows: number; filters: readonly string[] }): Promise<void>;
  };
  media: {
    /** Sends the bytes with the type that the row says. Throws `MEDIA_NOT_FOUND` and `MEDIA_EXPIRED`. */
    send(res: Response, file: MediaFile, range?: string): Promise<void>;
    /** Sends the thumbnail of a message. Throws `MEDIA_NOT_FOUND`. */
    sendThumbnail(res: Response, messageId: string): Promise<void>;
  };
}
