import type {
  CompatReport,
  InternalOperationId,
  MessageContent,
  OperationId,
  SendOutcome,
  SessionReason,
  WorkerEventPayload,
  WorkerEventType,
} from '@chasqui/shared';

/**
 * What the rest of the worker knows of WhatsApp. `wwebjs/` is the one implementation in production; the fast tests of sessions and
 * sends have an in-memory second one, which lies beside those tests.
 */
export interface Engine {
  /**
   * Starts a browser on a profile folder. Resolves when the page is loading and signals may come; rejects with `EngineError`
   * and leaves no process behind. Aborting `abort` ends the browser at whatever stage it is.
   */
  launch(options: LaunchOptions): Promise<EngineSession>;
}

export interface LaunchOptions {
  sessionId: string;
  /** LocalAuth keeps its files below this folder; made with mode 0700 when missing. */
  profileDir: string;
  /** Shown on the phone in the list of linked devices. */
  deviceName: string | null;
  abort: AbortSignal;
  onSignal: (signal: EngineSignal) => void;
}

/** What happens to a session. `ready` may come again after a reload or a reconnect; handlers are idempotent. */
export type EngineSignal =
  | { type: 'qr'; text: string; expiresAt: Date }
  /** All codes expired without a scan. The page shows no code any more. */
  | { type: 'qr_exhausted' }
  | { type: 'passkey_required' }
  /** A stored login was found, or a phone has just scanned. Sync follows. */
  | { type: 'authenticated' }
  | { type: 'ready'; identity: Identity }
  /** WhatsApp's own word on its line: up or down. */
  | { type: 'line'; up: boolean }
  /** An event of the page could not be read and was skipped; those behind it went on. `what` names it; no content in either. */
  | { type: 'unreadable'; what: string; detail: string }
  | {
      type: 'gone';
      reason: Extract<
        SessionReason,
        | 'BROWSER_CRASHED'
        | 'PAGE_CRASHED'
        | 'LOGGED_OUT_BY_PHONE'
        | 'CONFLICT'
        | 'AUTH_FAILURE'
        | 'NETWORK_BLOCKED'
        | 'ACCOUNT_RESTRICTED'
        | 'ACCOUNT_BANNED'
      >;
      detail: string;
    }
  | { [T in WorkerEventType]: { type: 'event'; event: T; payload: WorkerEventPayload<T> } }[WorkerEventType];

export interface Identity {
  phoneNumber: string | null;
  lid: string | null;
  pushName: string | null;
  platform: string | null;
  whatsappWebVersion: string | null;
}

export interface EngineSend {
  /** The WhatsApp id that the message must have (`3EB0` + 18 hex digits). */
  reservedId: string;
  /** A WhatsApp id. */
  recipient: string;
  content: MessageContent;
  /** The bytes of `content.media`, in a file of ours that outlives the call. */
  file: { path: string; mimetype: string; filename: string | null } | null;
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  mentions: readonly string[];
  typingMs: number;
  deadlineMs: number;
  /** Nobody has tried to send it before; otherwise the page's history is searched for it first. */
  isFirst: boolean;
}

export interface BackfillRequest {
  /** Messages newer than this, in chats with activity after it, oldest first. Told with origin `backfill`, or `asked`. */
  since: Date;
  /** At most so many newer messages of a chat. */
  perChat: number;
  isAsked?: boolean;
  /** Messages between this and `since` are looked at for edits, deletions and reactions, and told with origin `compare`. */
  compareSince?: Date;
  /** Keys of messages that had a reaction or a change: told with `compare` even when nothing hangs on them any more. */
  watched?: readonly string[];
}

export interface EngineSession {
  /**
   * Hands one message to the page under its reserved id and waits for the acknowledgement of WhatsApp's server. Never rejects:
   * `failed` is proven not sent, any doubt is `uncertain`. `onHandover` is awaited right before the page call that may send, and says
   * until when (wall time of this machine) the page may still hand it to WhatsApp. The one rejection is an `AppError` that
   * `onHandover` threw: then nothing was handed over.
   */
  send(send: EngineSend, onHandover: () => Promise<number>): Promise<Exclude<SendOutcome, { outcome: 'sending' }>>;
  /** Runs a row of the operations table, or `session.pairingCode`, `session.lookup`. Input and output are checked by their schemas. Throws `AppError`. */
  run(operation: OperationId | InternalOperationId, input: Record<string, unknown>, deadlineMs: number): Promise<unknown>;
  /** Throws `AppError` MEDIA_NOT_FOUND, MEDIA_EXPIRED, FILE_TOO_LARGE: above `maxBytes`, by default the engine's limit. */
  downloadMedia(
    whatsappId: string,
    deadlineMs: number,
    maxBytes?: number,
  ): Promise<{ bytes: Buffer; mimetype: string; filename: string | null }>;
  /** A round trip through the page, and a canary through its event bridge. Rejects when the page does not answer within `deadlineMs`. */
  probe(deadlineMs: number): Promise<{ roundTripMs: number; canary: boolean }>;
  /** Reads the chats for what was missed; see `BackfillRequest`. Each message goes to `onSignal` as `message.observed`. */
  backfill(request: BackfillRequest): Promise<{
    chats: number;
    messages: number;
    truncated: boolean;
    /** Chats that could not be read; the others were. */
    failedChats?: number;
  }>;
  /** Loads the page again; `ready` comes again when that worked. Rejects when the browser does not take the order within `deadlineMs`. */
  reload(deadlineMs: number): Promise<void>;
  compat(): CompatReport[];
  /** Process ids of the browser and all its descendants. */
  pids(): Promise<number[]>;
  /** Unlinks the device on WhatsApp's side; the login on disk is the caller's to delete. */
  logout(): Promise<void>;
  /** Closes the browser and waits for its end: gently first, by signal when it does not. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** A launch that failed, with the reason that the session will show. */
export class EngineError extends Error {
  constructor(
    readonly reason: SessionReason,
    detail: string,
  ) {
    super(detail);
    this.name = 'EngineError';
  }
}
