/** The error codes of the API, each with its HTTP status and its default sentence. */
export const errorTable = {
  MALFORMED_REQUEST: [400, 'The request cannot be read. Check that the body is valid JSON or multipart and send it again.'],
  CONFLICTING_CREDENTIALS: [400, 'The request carries two different credentials. Send one.'],
  UNAUTHENTICATED: [401, 'Send a valid API key in the header X-API-Key: <key>, or Authorization: ApiKey <key>.'],
  INVALID_CREDENTIALS: [401, 'The credentials are wrong. Check them and try again.'],
  KEY_EXPIRED: [401, 'The API key has expired. Use its successor or create a new one.'],
  TOKEN_EXPIRED: [401, 'The token has expired. Log in again.'],
  PERMISSION_DENIED: [403, 'The key lacks a permission that this route needs.'],
  ACCOUNT_KEY_REQUIRED: [403, 'A session key cannot do this. Use an account key.'],
  PASSWORD_CHANGE_REQUIRED: [
    403,
    'This is the token of a one-time password. Change the password with POST /api/v1/auth/me/password, then log in again.',
  ],
  PASSWORD_LOGIN_REQUIRED: [403, 'This needs a token from POST /api/v1/auth/login.'],
  STAFF_REQUIRED: [403, 'Only staff may do this.'],
  ADMIN_REQUIRED: [403, 'Only an admin may do this.'],
  ACCOUNT_INACTIVE: [403, 'This account is deactivated. Ask the operator.'],
  GROUP_ADMIN_REQUIRED: [403, 'The linked account is not an admin of this group.'],
  WHATSAPP_NOT_PERMITTED: [403, 'WhatsApp does not permit this to the linked account.'],
  REGISTRATION_CLOSED: [403, 'Registration is closed. Ask the operator for an account.'],
  CSRF_REFUSED: [403, 'The request came from another site and was refused.'],
  ROUTE_NOT_FOUND: [404, 'There is no such route. See /api/docs for the list.'],
  ACCOUNT_NOT_FOUND: [404, 'There is no such account.'],
  PLAN_NOT_FOUND: [404, 'There is no such plan.'],
  BULK_JOB_NOT_FOUND: [404, 'There is no such bulk job. List yours with GET /api/v1/messages/bulk.'],
  WEBHOOK_NOT_FOUND: [404, 'There is no such webhook.'],
  DELIVERY_NOT_FOUND: [404, 'There is no such delivery.'],
  BACKUP_NOT_FOUND: [404, 'There is no such backup, or its file is gone.'],
  EXPORT_NOT_FOUND: [404, 'There is no such export.'],
  ERASURE_NOT_FOUND: [404, 'There is no such erasure.'],
  KEY_NOT_FOUND: [404, 'There is no such key.'],
  SESSION_NOT_FOUND: [404, 'There is no such session. List yours with GET /api/v1/sessions.'],
  MESSAGE_NOT_FOUND: [404, 'There is no such message.'],
  MEDIA_NOT_FOUND: [404, 'This message has no stored file.'],
  SCHEDULE_NOT_FOUND: [404, 'There is no such schedule.'],
  EVENT_NOT_FOUND: [404, 'There is no such event.'],
  JOB_NOT_FOUND: [404, 'There is no such job. List them with GET /api/v1/admin/jobs.'],
  WORKER_NOT_FOUND: [404, 'There is no such worker.'],
  OPERATION_NOT_FOUND: [404, 'There is no such operation.'],
  CHAT_NOT_FOUND: [404, 'WhatsApp has no chat with this id.'],
  CONTACT_NOT_FOUND: [404, 'WhatsApp has no contact with this id.'],
  GROUP_NOT_FOUND: [404, 'The account is in no group with this id.'],
  INVITE_NOT_FOUND: [404, 'No group is behind this invitation. It may have been revoked.'],
  LABEL_NOT_FOUND: [404, 'The account has no label with this id.'],
  CHANNEL_NOT_FOUND: [404, 'WhatsApp has no channel with this id.'],
  TEMPLATE_NOT_FOUND: [404, 'There is no such template.'],
  OPT_OUT_NOT_FOUND: [404, 'This person has not opted out.'],
  CALL_NOT_FOUND: [404, 'No call with this id is ringing.'],
  METHOD_NOT_ALLOWED: [405, 'This path does not support that method. See the Allow header.'],
  ALREADY_EXISTS: [409, 'Something with this name exists already. Choose another.'],
  PLAN_IN_USE: [409, 'Accounts are on this plan. Move them to another plan first.'],
  WEBHOOK_LIMIT_REACHED: [409, 'The limit of webhooks is reached. Delete one first.'],
  EXPORT_NOT_READY: [409, 'The export is not complete yet. Try again in a moment.'],
  KEY_LIMIT_REACHED: [409, 'The session has reached its limit of keys. Delete one first.'],
  LAST_ADMIN: [409, 'This is the last admin. Create another one first.'],
  JOB_RUNNING: [409, 'This job is running, or waits to run. Wait until it has ended.'],
  BULK_STATE_CONFLICT: [409, 'That is not possible in the current status of the bulk job. See details.status.'],
  MEDIA_IN_USE: [
    409,
    'A message with this file is not final yet. Delete the file when the message is sent, or cancel the message.',
  ],
  SESSION_REQUIRED: [409, 'There are several sessions and no default. Name one with sessionId.'],
  SESSION_NOT_CONNECTED: [
    409,
    'The session is not connected. POST /api/v1/sessions/init connects it or returns its QR code; or send with queueIfOffline.',
  ],
  SESSION_IDENTITY_CHANGED: [
    409,
    'The session is linked to another WhatsApp account than the one the message was accepted for. Decide with POST /api/v1/sessions/:sessionId/held-messages.',
  ],
  SESSION_SUSPENDED: [409, 'The session was suspended by staff.'],
  SESSION_STATE_CONFLICT: [409, 'That is not possible in the current status of the session.'],
  SESSION_LIMIT_REACHED: [409, 'The account has as many sessions as its plan allows. Delete one first.'],
  MESSAGE_NOT_RETRYABLE: [409, 'Only failed outbound messages can be retried.'],
  MESSAGE_NOT_CANCELLABLE: [409, 'Only scheduled and queued messages can be cancelled.'],
  STORED_DATA_UNREADABLE: [
    409,
    'Something that is stored for this object is damaged, and this needs it. Save it again, or ask the operator: the log of the backend has the request id.',
  ],
  BACKUP_RUNNING: [409, 'A backup is being made. Wait until it is done.'],
  BACKUP_NOT_READY: [409, 'The backup is not ready. Read it to see how far it is, or why it failed.'],
  BACKUP_KEY_REQUIRED: [
    409,
    'BACKUP_KEY is not set. `npm run backup -- --new-key` makes one; set it and start the backend again.',
  ],
  SCHEDULE_ENDED: [409, 'The schedule has no occurrence left. Change its times, or create another one.'],
  MESSAGE_NOT_SCHEDULED: [409, 'Only a message whose status is scheduled can be moved.'],
  MESSAGE_NOT_UNCERTAIN: [409, 'Only uncertain messages can be resolved.'],
  MESSAGE_NOT_EDITABLE: [409, 'WhatsApp does not allow this change of the message any more.'],
  WHATSAPP_REFUSED: [409, 'WhatsApp refused. See details.whatsapp for its own words.'],
  IDEMPOTENCY_IN_PROGRESS: [409, 'The first call with this Idempotency-Key is still running. Repeat it in a moment.'],
  STALE_EPOCH: [409, 'Another worker runs this session now.'],
  KEY_ALREADY_CLAIMED: [410, 'The secret of this key was collected already. Regenerate the key.'],
  CONTENT_WIPED: [410, 'The content was removed.'],
  MEDIA_EXPIRED: [410, 'The file was removed.'],
  CURSOR_EXPIRED: [
    410,
    'The cursor is older than the stored events. Start at details.oldestCursor; the events in between are lost.',
  ],
  RANGE_NOT_SATISFIABLE: [416, 'The range begins after the end of the file. `Content-Range` of the reply has its size.'],
  BODY_TOO_LARGE: [413, 'The request body is too large.'],
  FILE_TOO_LARGE: [413, 'The file is too large.'],
  UNSUPPORTED_MEDIA_TYPE: [415, 'Send the header Content-Type: application/json or, for files, multipart/form-data.'],
  VALIDATION_FAILED: [422, 'Some fields are not valid. See details.fields.'],
  INVALID_RECIPIENT: [422, 'The recipient is neither a phone number in international form nor a WhatsApp id.'],
  RECIPIENT_NOT_SUPPORTED: [
    422,
    'Messages cannot be sent to this kind of recipient: WhatsApp Web does not let its sends be looked up, so one could be lost or doubled unnoticed.',
  ],
  SCHEDULE_IN_PAST: [422, 'scheduledAt has passed. Give a later time, or leave it out to send now.'],
  FILE_TYPE_NOT_ALLOWED: [422, 'Files of this type are not allowed here. The setting ALLOWED_FILE_TYPES has the list.'],
  FILE_TYPE_MISMATCH: [422, 'The file is not what its declared type says.'],
  URL_NOT_ALLOWED: [
    422,
    'This URL is not allowed: public https or http addresses only. The operator can allow a network with EGRESS_ALLOW.',
  ],
  MEDIA_URL_FAILED: [422, 'No file could be downloaded from the URL. Check that it is reachable and answers with the file.'],
  UNKNOWN_PERMISSION: [422, 'There is no such permission. The API reference has the list.'],
  UNKNOWN_EVENT_TYPE: [422, 'There is no such event type. GET /api/v1/openapi.json lists them.'],
  MISSING_VARIABLE: [
    422,
    'Variables have no value. Send those that details.variables names, or give them a default: {{name|there}}.',
  ],
  TRANSFORM_INVALID: [422, 'The transformation cannot be used.'],
  PROXY_INVALID: [
    422,
    'The proxy cannot be used. Write its url as protocol://host:port, with http, https, socks4 or socks5, and the user name and password in their own fields.',
  ],
  CONFIRMATION_REQUIRED: [422, 'Repeat the contact in `confirm`: this cannot be undone.'],
  INTERACTIVE_REJECTED: [
    422,
    'Lists and buttons are switched off here, because WhatsApp no longer delivers them. Send a text or a poll.',
  ],
  IDEMPOTENCY_KEY_REUSED: [422, 'This Idempotency-Key was used for another request. Use a new key.'],
  RATE_LIMITED: [429, 'Too many requests. Wait as long as Retry-After says.'],
  QUOTA_EXCEEDED: [429, 'The quota is used up. See details.resetAt.'],
  QUEUE_FULL: [429, 'The queue of this session is full. Wait until it drains.'],
  INTERNAL_ERROR: [500, 'This is a bug. Report it with the request id.'],
  NOT_SUPPORTED_BY_WHATSAPP: [501, 'The current WhatsApp Web cannot do this. See details.reason and GET /api/v1/capabilities.'],
  SEND_FAILED: [502, 'The message was not sent. See details.'],
  WHATSAPP_ERROR: [502, 'WhatsApp Web failed in an unknown way. See details.'],
  WORKER_UNAVAILABLE: [503, 'The worker does not answer; nothing was done. Try again in a moment.'],
  WORKER_CAPACITY: [503, 'The workers have no capacity for another session.'],
  WORKER_MEMORY: [503, 'The workers have no memory for another session.'],
  DATABASE_UNAVAILABLE: [
    503,
    'The database is not available, and it is not certain whether this request was stored. Repeat it in a moment with the same Idempotency-Key.',
  ],
  STORAGE_FULL: [503, 'The disk is full; nothing was accepted.'],
  STORAGE_UNAVAILABLE: [
    503,
    'The disk of the server cannot be read or written now; nothing was accepted. Try again in a moment.',
  ],
  BACKEND_UNAVAILABLE: [
    503,
    'No backend answered, and it is not known whether the request was carried out. Repeat it with the same Idempotency-Key.',
  ],
  OVERLOADED: [503, 'Too many large requests at the same time; this one was not accepted. Try again in a moment.'],
  SHUTTING_DOWN: [503, 'The server is stopping; nothing was accepted. Try again in a moment.'],
  OPERATION_TIMEOUT: [504, 'WhatsApp Web did not answer in time. See details.effect.'],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type ErrorCode = keyof typeof errorTable;

export const isErrorCode = (value: unknown): value is ErrorCode => typeof value === 'string' && Object.hasOwn(errorTable, value);

/** An expected failure. The API answers with its code and the HTTP status of the table. Any other error that a handler throws is a bug. */
export class AppError extends Error {
  readonly status: number;

  constructor(
    readonly code: ErrorCode,
    readonly details: Record<string, unknown> = {},
    message: string = errorTable[code][1],
  ) {
    super(message);
    this.name = 'AppError';
    this.status = errorTable[code][0];
  }
}

/** One field that does not match its schema. `VALIDATION_FAILED` has a list of them in `details.fields`. */
export interface FieldError {
  path: string;
  code: string;
  message: string;
}

/** How many fields the sentence about them names. */
const maxNamedFields = 5;

export function validationError(fields: FieldError[]): AppError {
  const names = fields.slice(0, maxNamedFields).map(({ path }) => path || 'body');
  const more = fields.length > maxNamedFields ? ', …' : '';
  const count = fields.length === 1 ? 'One field is' : `${fields.length} fields are`;
  const message = `${count} not valid: ${names.join(', ')}${more}.`;
  return new AppError('VALIDATION_FAILED', { fields }, message);
}
