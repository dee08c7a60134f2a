import type { Readable } from 'node:stream';
import type {
  CompatReport,
  InternalOperationId,
  MessageContent,
  OperationId,
  SelfCheck,
  SendOutcome,
  SessionReason,
  WorkerEventPayload,
  WorkerEventType,
} from '@chasqui/shared';

/**
 * The interface between the worker and WhatsApp. `wwebjs/` implements it in production; the fast tests of sessions and sends use an
 * in-memory implementation, which is in the test folder.
 */
export interface Engine {
  /**
   * Starts a browser on a profile folder. Resolves when the page is loading and signals may arrive. Rejects with
   * `EngineError` and then leaves no process running. Aborting `abort` ends the browser at any stage.
   */
  launch(options: LaunchOptions): Promise<EngineSession>;
}

export interface LaunchOptions {
  sessionId: string;
  /** LocalAuth stores its files below this folder. It is created with mode 0700 if it does not exist. */
  profileDir: string;
  /** Shown on the phone in the list of linked devices. */
  deviceName: string | null;
  abort: AbortSignal;
  /** The chats whose presence the session follows. Operations change the set, and it outlives the browser. */
  presence?: Set<string>;
  /** The port on loopback of the proxy through which all connections of the browser go. Absent: it connects directly. */
  proxyPort?: number | undefined;
  onSignal: (signal: EngineSignal) => void;
}

/** The signals of a session. `ready` repeats after a reload or a reconnect; handlers are idempotent. */
export type EngineSignal =
  | { type: 'qr'; text: string; expiresAt: Date }
  /** All codes expired without a scan. The page shows no further code. */
  | { type: 'qr_exhausted' }
  | { type: 'passkey_required' }
  /** A stored login was found, or a phone has just scanned the code. WhatsApp Web synchronises next. */
  | { type: 'authenticated' }
  | { type: 'ready'; identity: Identity }
  /** The page was asked for the functions of every operation. Follows each `ready`, some seconds later. */
  | { type: 'checked'; check: SelfCheck }
  /** Whether WhatsApp Web is connected to its server. */
  | { type: 'line'; up: boolean }
  /** An event of the page could not be read and was skipped; later events are processed. `what` names the event. Neither field contains message content. */
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
        | 'ACCOUNT_TEMPORARILY_BANNED'
        | 'OUTDATED_VERSION'
        | 'WHATSAPP_WEB_CHANGED'
      >;
      detail: string;
      /** When WhatsApp lifts the restriction, if it says so. */
      until?: Date;
    }
  | { [T in WorkerEventType]: { type: 'event'; event: T; payload: WorkerEventPayload<T> } }[WorkerEventType];

export interface Identity {
  phoneNumber: string | null;
  lid: string | null;
  pushName: string | null;
  platform: string | null;
  whatsappWebVersion: string | null;
}

/** A file on disk that exists until the call has ended. */
export interface EngineFile {
  path: string;
  mimetype: string;
  filename: string | null;
}

export interface EngineSend {
  /** The WhatsApp id that the message must have (`3EB0` + 18 hex digits). */
  reservedId: string;
  /** A WhatsApp id. */
  recipient: string;
  content: MessageContent;
  /** The bytes of `content.media`. */
  file: EngineFile | null;
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  mentions: readonly string[];
  /** Groups that the text mentions. A group that the account is not in is not mentioned: the message is not sent. */
  groupMentions?: readonly { id: string; name: string }[] | undefined;
  /** Set if the message is a forward. `whatsappId`: the original's, where it has one. */
  forward: { whatsappId: string | null } | null;
  typingMs: number;
  deadlineMs: number;
  /** True for the first attempt. Otherwise the page's history is searched for the message first. */
  isFirst: boolean;
}

export interface BackfillRequest {
  /** Messages newer than this, in chats with activity after it, oldest first. Emitted with origin `backfill`, or `asked` if `isRequested`. */
  since: Date;
  /** The maximum number of newer messages of one chat. */
  perChat: number;
  isRequested?: boolean;
  /** Messages between this and `since` are checked for edits, deletions and reactions, and emitted with origin `compare`. */
  compareSince?: Date;
  /** Keys of messages that had a reaction or a change. They are emitted with `compare` even if they have none any more. */
  watched?: readonly string[];
}

export type ChallengeKind = 'passkey' | 'other';

/** `canary`: whether events of the page arrive. `broken` names the kinds of events whose listener the page no longer calls. */
export interface ProbeResult {
  roundTripMs: number;
  canary: boolean;
  broken?: string[];
  /**
   * WhatsApp wants to check the account with a dialog that covers the page: nothing is sent until it is answered. `passkey`: the account's passkey
   * answers it, through the operations `session.passkey` and `session.answerPasskey`.
   */
  challenge?: ChallengeKind;
}

export interface AccountState {
  /** Whether WhatsApp does not let the account start new chats. */
  reachOutLocked: boolean;
  /** When the lock ends, as far as the page says. ISO 8601. */
  reachOutUntil: string | null;
  linkedDevices: number | null;
}

export interface EngineSession {
  /**
   * Passes one message to the page under its reserved id and waits for the acknowledgement of WhatsApp's server. `failed` means proven not
   * sent; everything that is not proven is `uncertain`. `onHandover` is awaited right before the page call that may send, and returns until
   * when (wall time of this machine) the page may still pass the message to WhatsApp. Rejects only with an `AppError` that `onHandover`
   * threw; then the message was not handed over.
   */
  send(send: EngineSend, onHandover: () => Promise<number>): Promise<Exclude<SendOutcome, { outcome: 'sending' }>>;
  /** Runs a row of the operations table, or an internal operation that needs the page. Input and output are checked by their schemas. Throws `AppError`. */
  run(
    operation: OperationId | InternalOperationId,
    input: Record<string, unknown>,
    deadlineMs: number,
    file?: EngineFile | null,
  ): Promise<unknown>;
  /**
   * Downloads the file of a message in the page; its bytes come in pieces as the caller reads them. The caller reads or destroys `bytes`. Throws
   * `AppError` MEDIA_NOT_FOUND, MEDIA_EXPIRED, FILE_TOO_LARGE: above `maxBytes`, by default the engine's limit.
   */
  downloadMedia(
    whatsappId: string,
    deadlineMs: number,
    maxBytes?: number,
  ): Promise<{ bytes: Readable; size: number; mimetype: string; filename: string | null }>;
  /** A round trip through the page, and a canary through its event bridge. Rejects when the page does not answer within `deadlineMs`. */
  probe(deadlineMs: number): Promise<ProbeResult>;
  /** Reads missed messages from the chats; see `BackfillRequest`. Each message goes to `onSignal` as `message.observed`. */
  backfill(request: BackfillRequest): Promise<{
    chats: number;
    messages: number;
    truncated: boolean;
    /** The number of chats that could not be read. */
    failedChats?: number;
  }>;
  /** Reloads the page; `ready` follows when that worked. Rejects when the browser does not accept the command within `deadlineMs`. */
  reload(deadlineMs: number): Promise<void>;
  /** Reads the limits of the account. Rejects when the page does not answer within `deadlineMs`. */
  account(deadlineMs: number): Promise<AccountState>;
  /** The state of each patch in the page. */
  compat(): CompatReport[];
  /** Process ids of the browser and all its descendants. */
  pids(): Promise<number[]>;
  /** Unlinks the device on WhatsApp's side. The caller deletes the login on disk. */
  logout(): Promise<void>;
  /** Closes the browser and waits until it has ended; kills it if it does not end. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** A failed launch, with the reason that the session reports. */
export class EngineError extends Error {
  constructor(
    readonly reason: SessionReason,
    detail: string,
  ) {
    super(detail);
    this.name = 'EngineError';
  }
}
