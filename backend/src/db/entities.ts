import { Account } from '../accounts/account.entity.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import { AuditLog, PanelSession } from '../admin/panel.entity.js';
import { EventCounter, EventRow } from '../events/event.entity.js';
import { MediaFile } from '../media/media-file.entity.js';
import { IdempotencyRecord } from '../messages/idempotency.entity.js';
import { Message } from '../messages/message.entity.js';
import { Session } from '../sessions/session.entity.js';
import { InboxEvent, InboxPosition, Worker } from '../whatsapp/worker.entity.js';

/** Every table. The one list of `db/` that knows the domains, because TypeORM wants it whole. */
export const entities = [
  Account,
  ApiKey,
  AuditLog,
  EventCounter,
  EventRow,
  IdempotencyRecord,
  InboxEvent,
  InboxPosition,
  MediaFile,
  Message,
  PanelSession,
  Session,
  Worker,
];
