import type { MessageReason, SessionReason } from '@chasqui/shared';

/**
 * The reasons of sessions and messages in words for people at the panel: what is the case, and what happens next or what they can do. The
 * sentences of `shared/src/states.ts` name routes and are for programs; the panel shows their code beside these.
 */
export interface Advice {
  what: string;
  next: string;
}

/** Who ends a state: it ends by itself; a person at the panel or with the phone; or the operator of the machine. */
export type Remedy = 'itself' | 'person' | 'operator';

export interface SessionAdvice extends Advice {
  by: Remedy;
  /** The state was chosen by a person. It is no trouble and raises no alert. */
  isWanted?: true;
}

const itself = (what: string, next: string): SessionAdvice => ({ what, next, by: 'itself' });
const person = (what: string, next: string): SessionAdvice => ({ what, next, by: 'person' });
const operator = (what: string, next: string): SessionAdvice => ({ what, next, by: 'operator' });
const wanted = (what: string, next: string): SessionAdvice => ({ what, next, by: 'person', isWanted: true });

const sessionAdvice: Record<SessionReason, SessionAdvice> = {
  NOT_STARTED: wanted('The session was never started.', 'Press “Start” to get the code that links a phone.'),
  STARTING: itself('The browser of this session is starting.', 'It takes a few seconds.'),
  WAITING_FOR_SCAN: person('No phone is linked.', 'Scan the code with WhatsApp on the phone.'),
  WAITING_FOR_PASSKEY: person('WhatsApp asks for the passkey of this account.', 'Its owner signs the request on this page.'),
  SYNCING: itself('The phone is linked, and WhatsApp is syncing.', 'It takes a few seconds.'),
  RECONNECTING: itself(
    'The connection to WhatsApp was lost.',
    'The session is connecting again by itself. Messages wait meanwhile.',
  ),
  USER_STOPPED: wanted('A person or a program stopped the session.', 'The login is kept. Press “Start” to connect it again.'),
  USER_LOGGED_OUT: wanted('The phone was unlinked on request.', 'Press “Start” and scan a code to link a phone.'),
  LOGGED_OUT_BY_PHONE: person('The phone unlinked this device.', 'Press “Start” and scan the new code. Messages wait meanwhile.'),
  CONFLICT: person('WhatsApp Web was opened elsewhere with this login.', 'Close it there, then press “Start”.'),
  QR_TIMEOUT: person('The code was not scanned in time.', 'Press “Show a new code” when the phone is at hand.'),
  AUTH_FAILURE: person('WhatsApp refused the stored login.', 'Unlink the phone here, then press “Start” and scan a new code.'),
  BROWSER_NOT_FOUND: operator(
    'The machine of the worker has no browser.',
    'Run npm run doctor there. The session starts by itself afterwards.',
  ),
  SANDBOX_UNAVAILABLE: operator(
    'The browser cannot start its sandbox on this machine.',
    'Run npm run doctor there; it names the setting. The session starts by itself after the worker was restarted.',
  ),
  BROWSER_CRASHED: itself('The browser ended unexpectedly.', 'It is being restarted. Messages wait meanwhile.'),
  PAGE_CRASHED: itself('The page of WhatsApp crashed.', 'It is being loaded again. Messages wait meanwhile.'),
  PAGE_UNRESPONSIVE: itself('The page of WhatsApp does not answer.', 'It is being loaded again. Messages wait meanwhile.'),
  PAGE_LOAD_TIMEOUT: itself(
    'WhatsApp Web did not load in time.',
    'It is tried again. If this stays, check the network of the machine.',
  ),
  READY_TIMEOUT: itself(
    'The phone is linked, but WhatsApp did not finish its sync in time.',
    'It is tried again. Keep the phone online.',
  ),
  EVENT_BRIDGE_BROKEN: itself(
    'The page answers, but its events do not arrive.',
    'It is being loaded again. What arrived meanwhile is read afterwards.',
  ),
  NETWORK_UNREACHABLE: itself(
    'WhatsApp cannot be reached from this machine.',
    'It is tried again. If this stays, check the network of the machine.',
  ),
  PROXY_UNREACHABLE: operator(
    'The proxy of this session does not answer, or does not lead to WhatsApp.',
    'Check the proxy and its address below. The session connects by itself when it works, and never without it.',
  ),
  PROXY_AUTH_FAILED: operator(
    'The proxy refused its user name or password.',
    'Correct them in the settings below. The session then connects by itself.',
  ),
  PROFILE_LOCKED: operator(
    'Another process uses the login folder of this session.',
    'End the other worker that runs on the same data folder.',
  ),
  PROFILE_CORRUPT: person(
    'The login folder of this session is damaged.',
    'Unlink the phone here, then press “Start” and scan a new code.',
  ),
  MEMORY_RECYCLED: itself(
    'The browser grew too large and is being restarted.',
    'It takes a few seconds. Messages wait meanwhile.',
  ),
  RECONNECT_EXHAUSTED: person(
    'All attempts to connect again failed.',
    'Press “Start”. If it fails again, look at the last error under Details.',
  ),
  RECONNECT_OFF: person('The browser was lost, and this session does not start a lost browser again.', 'Press “Start”.'),
  OUTDATED_VERSION: itself(
    'WhatsApp requires a newer version of its page.',
    'It is loaded again. If this stays, update Chasqui.',
  ),
  WHATSAPP_WEB_CHANGED: operator(
    'WhatsApp Web has changed so much that this session cannot work.',
    'Update Chasqui, then press “Start”.',
  ),
  WORKER_LOST: itself(
    'The worker of this session does not answer.',
    'The session connects again by itself when the worker is back. Messages wait meanwhile.',
  ),
  WORKER_CAPACITY: operator(
    'No worker has room for this session.',
    'Stop a session that is not needed, or start another worker.',
  ),
  WORKER_MEMORY: operator(
    'No worker has memory for this session.',
    'Stop a session that is not needed, or give the worker more memory.',
  ),
  DISK_FULL: operator('The disk of the machine is full.', 'Make room, then press “Start”.'),
  NETWORK_BLOCKED: operator(
    'WhatsApp refuses connections from this network or proxy.',
    'Use another network or proxy, then press “Start”.',
  ),
  ACCOUNT_RESTRICTED: person(
    'WhatsApp restricts this business account for breaking its terms.',
    'Open WhatsApp on the phone and follow what it says, then press “Start”.',
  ),
  ACCOUNT_BANNED: person(
    'WhatsApp banned this account for breaking its terms.',
    'Open WhatsApp on the phone and ask for a review. Logging in again does not help.',
  ),
  ACCOUNT_TEMPORARILY_BANNED: person(
    'WhatsApp banned this account for a time.',
    'WhatsApp on the phone says until when. Press “Start” after that, and write less to people who do not know this number.',
  ),
  ACCOUNT_CHALLENGED: person(
    'WhatsApp wants to check this account.',
    'Open WhatsApp on the phone and confirm what it asks. Messages wait meanwhile.',
  ),
  ACCOUNT_PASSKEY_REQUIRED: person(
    'WhatsApp wants the passkey of this account before it sends more.',
    'Its owner signs the request on this page. Messages wait meanwhile.',
  ),
  ACCOUNT_INACTIVE: wanted(
    'The account that owns this session is switched off.',
    'The session starts again when an admin switches the account on.',
  ),
  SUSPENDED_BY_STAFF: wanted('Staff suspended this session.', 'Nothing is accepted or sent until someone presses “Resume”.'),
};

const messageAdvice: Record<MessageReason, Advice> = {
  PACING: { what: 'It waits for its turn.', next: 'The session sends at its own pace. Nothing to do.' },
  QUIET_HOURS: { what: 'It waits for the end of the quiet hours.', next: 'It is sent then by itself.' },
  QUOTA_WAIT: { what: 'It is due, and the quota of messages is used up.', next: 'It is sent when the quota begins again.' },
  THROTTLED: {
    what: 'It waits because the session was slowed down.',
    next: 'That protects the WhatsApp account. The page of the session says until when.',
  },
  WAITING_FOR_SESSION: { what: 'The phone is offline.', next: 'It is sent by itself when the session is connected.' },
  RETRY_SCHEDULED: { what: 'The last attempt failed.', next: 'It is tried again by itself.' },
  PROVEN_ABSENT: { what: 'The earlier attempt certainly sent nothing.', next: 'It is sent again by itself.' },
  POLICY_RETRY: { what: 'It is sent again, as the account decided.', next: 'The recipient sees it only once.' },
  SETTLED_AS_RETRY: { what: 'A person asked to send it again.', next: 'The recipient sees it only once.' },
  WORKER_UNAVAILABLE: {
    what: 'The worker did not answer, and nothing was sent.',
    next: 'Press “Try again” when the session is connected.',
  },
  RESTORED: {
    what: 'It was restored from a backup, and it may have been sent after that backup was made.',
    next: 'Compare with the chat on the phone. “Retry” sends it under the same WhatsApp id.',
  },
  SESSION_IDENTITY_CHANGED: {
    what: 'It was accepted for the WhatsApp account that was linked before.',
    next: 'Decide on the page of the session whether the present account sends it.',
  },
  MEDIA_UPLOAD_FAILED: {
    what: 'WhatsApp did not take the file.',
    next: 'Press “Try again”. If it fails again, use a smaller file or another format.',
  },
  CONNECTION_LOST: {
    what: 'The connection to WhatsApp was lost before it left.',
    next: 'Press “Try again” when the session is connected.',
  },
  RATE_REFUSED_BY_WHATSAPP: {
    what: 'WhatsApp asks this account to send more slowly.',
    next: 'Wait a while, then press “Try again”.',
  },
  RECIPIENT_NOT_ON_WHATSAPP: {
    what: 'This number is not on WhatsApp.',
    next: 'Correct the number and send it again. Trying the same number again does not help.',
  },
  CHAT_NOT_FOUND: { what: 'There is no such chat.', next: 'Check the recipient and send it again.' },
  QUOTED_MESSAGE_NOT_FOUND: { what: 'The message that it answers was not found.', next: 'Send it again without the quotation.' },
  GROUP_ADMIN_REQUIRED: {
    what: 'Only admins may write to this group.',
    next: 'Make this number an admin of the group, then press “Try again”.',
  },
  WHATSAPP_REFUSED: {
    what: 'WhatsApp refused the message.',
    next: 'Check whether the recipient can be written to from the phone.',
  },
  NOT_SUPPORTED_BY_WHATSAPP: {
    what: 'The present WhatsApp Web cannot send this kind of message.',
    next: 'Send it as another type. Trying again does not help.',
  },
  CODEC_UNAVAILABLE: {
    what: 'The browser of the worker cannot play this video, and WhatsApp Web sends none that it cannot play.',
    next: 'Send it as a document, or install Google Chrome and name it with BROWSER_PATH.',
  },
  REACH_OUT_LOCKED: {
    what: 'WhatsApp does not let this account write to new chats now.',
    next: 'Try again after the lock has ended; the page of the session says when.',
  },
  EXPIRED: { what: 'It was not sent before it expired.', next: 'Send it again if it is still of use.' },
  MISSED: { what: 'It could not be sent at its time.', next: 'Send it again if it is still of use.' },
  SESSION_DELETED: { what: 'Its session was deleted before it was sent.', next: 'Send it with another session.' },
  CONTENT_WIPED: { what: 'Its content was removed.', next: 'Nothing to do.' },
  RETRIES_EXHAUSTED: {
    what: 'All attempts failed, and nothing was sent.',
    next: 'Look at the timeline, then press “Try again”.',
  },
  SETTLED_AS_FAILED: { what: 'A person decided that it was not sent.', next: 'Nothing to do.' },
  TIMEOUT_AFTER_HANDOVER: {
    what: 'WhatsApp Web has the message and did not confirm it in time.',
    next: 'It is being looked up. You can also decide yourself.',
  },
  CRASHED_DURING_SEND: {
    what: 'The system was interrupted while it sent the message.',
    next: 'It is being looked up. You can also decide yourself.',
  },
  NOT_ACKNOWLEDGED: {
    what: 'WhatsApp Web has the message, and the server of WhatsApp has not confirmed it.',
    next: 'Restart the session to have it looked up again, or decide yourself.',
  },
  HELD_BY_POLICY: { what: 'It is unknown whether the message was sent.', next: 'Look at the phone, then decide here.' },
  CANCELLED_IN_DOUBT: { what: 'It was cancelled while it was unknown whether it had been sent.', next: 'It is not sent again.' },
};

const isKeyOf = <T extends object>(table: T, code: string): code is string & keyof T => Object.hasOwn(table, code);

/** The words for a reason of a session. A reason that has none is shown with its own sentence, and a person has to look at it. */
export const adviceForSession = (code: string, message: string | null): SessionAdvice =>
  isKeyOf(sessionAdvice, code) ? sessionAdvice[code] : person(message ?? code, 'Look at the last error under Details.');

/** The words for a reason of a message. */
export const adviceForMessage = (code: string, message: string | null): Advice =>
  isKeyOf(messageAdvice, code) ? messageAdvice[code] : { what: message ?? code, next: '' };
