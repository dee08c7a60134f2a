/** The states of sessions and messages, and the moves between them. A move that is not in these tables is a bug, and the code refuses it. */

export const sessionStatuses = [
  'initializing',
  'qr_pending',
  'passkey_required',
  'connecting',
  'connected',
  'disconnected',
  'error',
  'suspended',
] as const;
export type SessionStatus = (typeof sessionStatuses)[number];

/**
 * | from | to | on |
 * | --- | --- | --- |
 * | disconnected | initializing | start requested; reconcile with desired `running`; reconnect attempt |
 * | error | initializing, disconnected | start requested, the proxy works again; stop requested |
 * | initializing | qr_pending, connecting | page shows a code; stored login found |
 * | initializing | disconnected, error | stop, worker lost, attempt failed; no browser, locked profile, page not loaded, attempts used up |
 * | qr_pending | connecting, passkey_required, initializing | scanned; WhatsApp asks for a passkey; browser restarted |
 * | qr_pending | disconnected, error | stop, `QR_TIMEOUT`, worker lost; attempts used up |
 * | passkey_required | connecting, qr_pending, disconnected, error | confirmed; refused or expired; stop; attempts used up |
 * | passkey_required | connected | WhatsApp accepts the answer to a check of the linked account |
 * | connecting | connected, qr_pending, initializing | proven; stored login refused; browser restarted |
 * | connecting, connected | passkey_required | WhatsApp checks the linked account and wants its passkey |
 * | connecting | disconnected, error | stop, conflict, logged out, worker lost; sync not done in time |
 * | connected | connecting, initializing, disconnected, error | connection lost; browser restarted; stop, logout, conflict, worker lost; restricted, proxy lost |
 * | any | suspended | staff suspends; back by `disconnected` |
 */
export const sessionMoves: Record<SessionStatus, readonly SessionStatus[]> = {
  initializing: ['qr_pending', 'connecting', 'disconnected', 'error', 'suspended'],
  qr_pending: ['connecting', 'passkey_required', 'initializing', 'disconnected', 'error', 'suspended'],
  passkey_required: ['connecting', 'qr_pending', 'connected', 'disconnected', 'error', 'suspended'],
  connecting: ['connected', 'qr_pending', 'passkey_required', 'initializing', 'disconnected', 'error', 'suspended'],
  connected: ['connecting', 'passkey_required', 'initializing', 'disconnected', 'error', 'suspended'],
  disconnected: ['initializing', 'suspended'],
  error: ['initializing', 'disconnected', 'suspended'],
  suspended: ['disconnected'],
};

export const sessionReasons = {
  NOT_STARTED: 'The session was never started. Start it with POST /api/v1/sessions/init.',
  STARTING: 'The browser is starting.',
  WAITING_FOR_SCAN: 'Scan the QR code with WhatsApp on the phone: Settings, Linked devices, Link a device.',
  WAITING_FOR_PASSKEY:
    'WhatsApp asks for the passkey of this account. Its owner signs the request: GET and POST /api/v1/sessions/:sessionId/passkey, or the session’s page in the panel.',
  SYNCING: 'Linked; WhatsApp is syncing its messages.',
  RECONNECTING: 'The connection to WhatsApp was lost; the session is connecting again.',
  USER_STOPPED: 'Stopped on request. The login is kept.',
  USER_LOGGED_OUT: 'Logged out on request. Start it to link again.',
  LOGGED_OUT_BY_PHONE: 'The phone unlinked this device. Start it to link again.',
  CONFLICT: 'WhatsApp Web was opened elsewhere with this login.',
  QR_TIMEOUT: 'The QR code was not scanned in time. Start the session again for a new one.',
  AUTH_FAILURE: 'WhatsApp refused the stored login. Log out and link again.',
  BROWSER_NOT_FOUND: 'No browser was found. Run npm run doctor.',
  SANDBOX_UNAVAILABLE:
    'The browser cannot start its sandbox here. Allow user namespaces (in Docker: the seccomp profile of this project) and do not run as root, or set BROWSER_PROFILE to standard or lean; then restart the worker.',
  BROWSER_CRASHED: 'The browser ended unexpectedly; it is being restarted.',
  PAGE_CRASHED: 'The page crashed; it is being restarted.',
  PAGE_UNRESPONSIVE: 'The page does not answer; it is being restarted.',
  PAGE_LOAD_TIMEOUT: 'WhatsApp Web did not load in time. Check the network.',
  READY_TIMEOUT: 'Linked, but WhatsApp did not finish its sync in time.',
  EVENT_BRIDGE_BROKEN: 'The page answers but its events do not arrive; it is being restarted.',
  NETWORK_UNREACHABLE: 'WhatsApp cannot be reached. Check the network.',
  PROXY_UNREACHABLE:
    'The proxy of this session does not answer, does not lead to WhatsApp, or has an address that is not allowed. The session connects when the proxy works again; it never connects without it.',
  PROXY_AUTH_FAILED:
    'The proxy of this session refuses its user name or password. Correct them in the settings of the session; it never connects without the proxy.',
  PROFILE_LOCKED: 'Another process uses the login folder of this session.',
  PROFILE_CORRUPT: 'The login folder is damaged. Log out and link again.',
  MEMORY_RECYCLED: 'The browser grew too large and is being restarted.',
  RECONNECT_EXHAUSTED: 'All attempts to reconnect failed. Start the session again.',
  RECONNECT_OFF: 'The browser was lost, and autoReconnect of this session is off. Start the session again.',
  OUTDATED_VERSION: 'WhatsApp requires a newer version of its page; it is loaded again.',
  WHATSAPP_WEB_CHANGED:
    'WhatsApp Web has changed: it no longer has functions that every session needs. Update Chasqui, then start the session again. GET /capabilities shows what is missing.',
  WORKER_LOST: 'The worker of this session does not answer.',
  WORKER_CAPACITY: 'No worker has room for this session.',
  WORKER_MEMORY: 'No worker has memory for this session.',
  DISK_FULL: 'The disk is full.',
  NETWORK_BLOCKED:
    'WhatsApp refuses connections from this network or proxy. Use another network or proxy, then start the session again.',
  ACCOUNT_RESTRICTED:
    'WhatsApp restricts this business account for breaking its terms. Open WhatsApp on the phone, follow what it says there, then start the session again.',
  ACCOUNT_BANNED:
    'WhatsApp banned this account for breaking its terms. Open WhatsApp on the phone and ask for a review there; logging in again does not help.',
  ACCOUNT_TEMPORARILY_BANNED:
    'WhatsApp banned this account for a time. Open WhatsApp on the phone to see why and until when; start the session again after that, and send less to people who do not know you.',
  ACCOUNT_CHALLENGED:
    'WhatsApp wants to check this account before it sends more. Open WhatsApp on the phone and confirm what it asks there; if it asks nothing, restart the session or link it again. Messages wait meanwhile.',
  ACCOUNT_PASSKEY_REQUIRED:
    'WhatsApp wants the passkey of this linked account before it sends more. Its owner signs the request: GET and POST /api/v1/sessions/:sessionId/passkey, or the session’s page in the panel. Messages wait meanwhile.',
  ACCOUNT_INACTIVE: 'The account was deactivated. The session starts again when an admin activates the account.',
  SUSPENDED_BY_STAFF: 'Suspended by staff.',
} as const;
export type SessionReason = keyof typeof sessionReasons;

/**
 * Errors caused by the worker's machine, not by the session: the desired state stays `running`, and the worker retries when it starts
 * again.
 */
export const machineReasons: ReadonlySet<string> = new Set<SessionReason>(['BROWSER_NOT_FOUND', 'SANDBOX_UNAVAILABLE']);

/**
 * Errors that end by themselves: the worker checks the session's proxy and starts the session when it works. The desired state stays `running`, unless
 * the session's `autoReconnect` is off.
 */
export const waitingReasons: ReadonlySet<string> = new Set<SessionReason>(['PROXY_UNREACHABLE', 'PROXY_AUTH_FAILED']);

export const messageStatuses = [
  'scheduled',
  'queued',
  'sending',
  'sent',
  'delivered',
  'read',
  'played',
  'failed',
  'uncertain',
  'cancelled',
] as const;
export type MessageStatus = (typeof messageStatuses)[number];

const acknowledged = ['sent', 'delivered', 'read', 'played'] as const;

/**
 * | from | to | on |
 * | --- | --- | --- |
 * | scheduled | queued | due, with its quota |
 * | scheduled | cancelled, failed | cancelled; `MISSED`, `SESSION_DELETED` |
 * | scheduled | uncertain | a backup was restored after its time |
 * | queued | sending, cancelled, failed | claimed with its id reserved; cancelled; `EXPIRED`, `SESSION_DELETED`, precondition failed |
 * | queued | uncertain | cancelled or ended while an earlier attempt is uncertain; a backup was restored |
 * | sending | sent … played, failed, queued, uncertain | acknowledged; proven not sent; refused before hand-over; outcome unknown |
 * | uncertain | sent … played, queued | found or acknowledged; proven absent, or resolved to be sent again |
 * | uncertain | failed, cancelled | resolved as such, or proven absent after its end; proven absent after it was cancelled |
 * | sent, delivered, read | upwards only | acks, steps may be skipped; incoming: marked as read |
 * | failed | queued, sent … played | retried; an ack proves that it was sent |
 *
 * `played` and `cancelled` are final. The reserved WhatsApp id never changes over all attempts.
 */
export const messageMoves: Record<MessageStatus, readonly MessageStatus[]> = {
  scheduled: ['queued', 'cancelled', 'failed', 'uncertain'],
  queued: ['sending', 'cancelled', 'failed', 'uncertain'],
  sending: [...acknowledged, 'failed', 'queued', 'uncertain'],
  uncertain: [...acknowledged, 'queued', 'failed', 'cancelled'],
  sent: ['delivered', 'read', 'played'],
  delivered: ['read', 'played'],
  read: ['played'],
  played: [],
  failed: ['queued', ...acknowledged],
  cancelled: [],
};

/** Returns the statuses from which a message may move to `to`, for the WHERE clause of the conditional update. */
export const messageSources = (to: MessageStatus): MessageStatus[] =>
  messageStatuses.filter((from) => messageMoves[from].includes(to));
export const sessionSources = (to: SessionStatus): SessionStatus[] =>
  sessionStatuses.filter((from) => sessionMoves[from].includes(to));

/**
 * Returns the status for an ack number of WhatsApp: below 0 errors, 0 pending, 1 server, 2 device, 3 read, 4 played. A higher one (5 comes from
 * another device of the account) means only that the server has the message. Null for errors and for pending.
 */
export function statusOfAck(ack: number): 'sent' | 'delivered' | 'read' | 'played' | null {
  return ack >= 1 ? (acknowledged[Math.trunc(ack) - 1] ?? 'sent') : null;
}
export const ackOfStatus = (status: MessageStatus): number => (acknowledged as readonly string[]).indexOf(status) + 1;

export const messageReasons = {
  PACING: 'Waits for the pace of this session.',
  QUIET_HOURS: 'Waits for the end of the quiet hours of this session.',
  QUOTA_WAIT: 'It is due and waits for quota.',
  THROTTLED:
    'Waits for the pace of this session, which was slowed down to protect its WhatsApp account. GET /api/v1/sessions/:sessionId/health says why and until when.',
  WAITING_FOR_SESSION: 'Waits until the session is connected.',
  RETRY_SCHEDULED: 'Will be tried again.',
  PROVEN_ABSENT: 'The earlier attempt certainly sent nothing; the message is sent again under the same id.',
  POLICY_RETRY: 'Sent again under the same id, as the account’s policy says.',
  SETTLED_AS_RETRY: 'Sent again on request.',
  WORKER_UNAVAILABLE: 'The worker did not answer; nothing was handed over.',
  SESSION_IDENTITY_CHANGED:
    'The session was linked to another WhatsApp account than the one this message was accepted for. Decide with POST /api/v1/sessions/:sessionId/held-messages.',
  MEDIA_UPLOAD_FAILED: 'WhatsApp did not take the file.',
  CONNECTION_LOST: 'The line to WhatsApp was lost before the message left.',
  RATE_REFUSED_BY_WHATSAPP: 'WhatsApp asks for a slower pace.',
  RECIPIENT_NOT_ON_WHATSAPP:
    'The number is not registered on WhatsApp. Check it with POST /api/v1/sessions/current/contacts/check.',
  CHAT_NOT_FOUND: 'There is no such chat.',
  QUOTED_MESSAGE_NOT_FOUND: 'The quoted message was not found. Send without it, or with ignoreQuoteErrors.',
  GROUP_ADMIN_REQUIRED: 'Only admins may write to this group.',
  WHATSAPP_REFUSED: 'WhatsApp refused the message.',
  NOT_SUPPORTED_BY_WHATSAPP: 'The current WhatsApp Web cannot send this.',
  CODEC_UNAVAILABLE:
    'The browser of the worker cannot play this video, and WhatsApp Web sends none that it cannot play. Send it with asDocument, or set BROWSER_PATH to a browser with the codecs, such as Google Chrome.',
  REACH_OUT_LOCKED: 'WhatsApp does not let this account write to new chats now.',
  EXPIRED: 'Was not handed over before it expired.',
  MISSED: 'It was not sent at its time, and the grace time is over. The setting SCHEDULE_GRACE_MINUTES has its length.',
  SESSION_DELETED: 'The session was deleted.',
  CONTENT_WIPED: 'The content was removed.',
  RETRIES_EXHAUSTED: 'All attempts failed.',
  SETTLED_AS_FAILED: 'Settled as failed by a person.',
  TIMEOUT_AFTER_HANDOVER: 'Handed to WhatsApp Web, which did not confirm in time. It is being looked up.',
  CRASHED_DURING_SEND: 'The system was interrupted while sending. The message is being looked up.',
  NOT_ACKNOWLEDGED:
    'WhatsApp Web has the message, and WhatsApp’s server has not confirmed it. Restart the session to have it looked up again, or settle it with POST /api/v1/messages/:id/resolve.',
  HELD_BY_POLICY: 'It is unknown whether the message was sent. Settle it with POST /api/v1/messages/:id/resolve.',
  CANCELLED_IN_DOUBT: 'It is not sent again.',
  RESTORED:
    'A backup was restored, and this message may have been sent after the backup was taken. Settle it with POST /api/v1/messages/:id/resolve.',
} as const;
export type MessageReason = keyof typeof messageReasons;

/** Reasons for an unknown outcome. An `uncertain` message with another reason was cancelled or expired while an earlier attempt was uncertain. */
export const uncertainReasons: ReadonlySet<string> = new Set<MessageReason>([
  'TIMEOUT_AFTER_HANDOVER',
  'CRASHED_DURING_SEND',
  'NOT_ACKNOWLEDGED',
  'SESSION_IDENTITY_CHANGED',
  'HELD_BY_POLICY',
  'RESTORED',
]);

/** Failures after which certainly nothing was sent and a retry may help. */
export const retryableReasons: ReadonlySet<MessageReason> = new Set<MessageReason>([
  'WORKER_UNAVAILABLE',
  'MEDIA_UPLOAD_FAILED',
  'CONNECTION_LOST',
  'RATE_REFUSED_BY_WHATSAPP',
]);
