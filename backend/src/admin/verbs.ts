import type {
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
import type { PlanInput } from '../accounts/plans.js';
import type { Caller } from '../accounts/caller.js';
import type { MediaFile } from '../media/media-file.entity.js';
import type { Keywords } from '../opt-outs/keywords.js';
import type { Variables } from '../templates/render.js';
import type { TemplateInput } from '../templates/templates.js';

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
  Pick<SessionSettings, 'autoReconnect' | 'autoRead' | 'rejectCalls' | 'stories' | 'recycleAboveMb'>
>;

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
    /** Writes the audit entry of a login, after the panel session was opened. */
    recordLogin(caller: Caller): Promise<void>;
    /** Writes the audit entry of a logout, after the panel session was closed. */
    recordLogout(caller: Caller): Promise<void>;
    /** Returns the fingerprint of the new password. */
    changePassword(caller: Caller, input: { current: string; next: string }): Promise<{ fingerprint: string }>;
  };
  sessions: {
    create(caller: Caller, input: { accountId: string; name: string; deviceName: string | null }): Promise<{ id: string }>;
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
    sendText(caller: Caller, sessionId: string, input: { recipient: string; message: string }): Promise<{ id: string }>;
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
    pause(caller: Caller, scheduleId: string): Promise<void>;
    /** Throws `SCHEDULE_ENDED`. */
    resume(caller: Caller, scheduleId: string): Promise<void>;
    delete(caller: Caller, scheduleId: string): Promise<void>;
  };
  accounts: {
    /** `secret` is the one-time password. */
    create(caller: Caller, input: { username: string; email: string; role: PanelRole }): Promise<ShownOnce>;
    setRole(caller: Caller, accountId: string, role: PanelRole): Promise<void>;
    /** Throws `PLAN_NOT_FOUND`. */
    setLimits(caller: Caller, accountId: string, changes: { planId?: string | null; maxMessagesPerDay?: number }): Promise<void>;
    activate(caller: Caller, accountId: string): Promise<void>;
    deactivate(caller: Caller, accountId: string): Promise<void>;
    /** `secret` is a new one-time password. */
    resetPassword(caller: Caller, accountId: string): Promise<ShownOnce>;
  };
  keys: {
    /** `secret` is the key. */
    create(
      caller: Caller,
      input: { accountId: string; sessionId: string | null; name: string; permissions: string[] },
    ): Promise<ShownOnce>;
    setActive(caller: Caller, keyId: string, isActive: boolean): Promise<void>;
    /** Null: the installation’s rate limit applies. */
    setRateLimit(caller: Caller, keyId: string, rateLimit: number | null): Promise<void>;
    revoke(caller: Caller, keyId: string): Promise<void>;
    regenerate(caller: Caller, keyId: string): Promise<ShownOnce>;
  };
  webhooks: {
    /** `secret` is the signing secret. Throws `URL_NOT_ALLOWED`, `UNKNOWN_EVENT_TYPE`, `WEBHOOK_LIMIT_REACHED`. */
    create(
      caller: Caller,
      input: { accountId: string; sessionId: string | null; url: string; events: string[] },
    ): Promise<ShownOnce>;
    test(
      caller: Caller,
      webhookId: string,
    ): Promise<{ ok: boolean; statusCode: number | null; durationMs: number; error: string | null }>;
    /** Also delivers the events that happened while the endpoint was switched off. */
    enable(caller: Caller, webhookId: string): Promise<void>;
    disable(caller: Caller, webhookId: string): Promise<void>;
    redeliverFailed(caller: Caller, webhookId: string): Promise<void>;
    redeliver(caller: Caller, deliveryId: string): Promise<void>;
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
    remove(caller: Caller, optOutId: string): Promise<void>;
    setKeywords(caller: Caller, accountId: string, keywords: Keywords): Promise<void>;
  };
  media: {
    /** Sends the bytes with the type that the row says. Throws `MEDIA_NOT_FOUND` and `MEDIA_EXPIRED`. */
    send(res: Response, file: MediaFile, range?: string): Promise<void>;
  };
}
