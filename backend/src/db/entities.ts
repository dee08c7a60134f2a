import { Account } from '../accounts/account.entity.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import { ApiKeyRequest } from '../accounts/key-request.entity.js';
import { ApiKeyUsage } from '../accounts/key-usage.entity.js';
import { Plan } from '../accounts/plan.entity.js';
import { PanelSession } from '../admin/panel.entity.js';
import { AuditLog } from '../audit/audit.entity.js';
import { Backup } from '../backups/backup.entity.js';
import { Restored } from '../backups/restored.entity.js';
import { BulkJob, BulkRecipient } from '../bulk/bulk.entity.js';
import { ContactForm, ContactRow } from '../contacts/contact.entity.js';
import { EventCounter, EventRow } from '../events/event.entity.js';
import { StreamTicket } from '../events/ticket.entity.js';
import { ErrorCount } from '../failures/error-count.entity.js';
import { Failure } from '../failures/failure.entity.js';
import { JobLeader, JobRun, JobState } from '../jobs/job.entity.js';
import { MediaFile } from '../media/media-file.entity.js';
import { Thumbnail } from '../media/thumbnail.entity.js';
import { IdempotencyRecord } from '../messages/accept/idempotency.entity.js';
import { Conversation } from '../messages/conversations/conversation.entity.js';
import { Message } from '../messages/message.entity.js';
import { Schedule } from '../messages/recurring/schedule.entity.js';
import { QuotaUsage } from '../messages/quotas/quota.entity.js';
import { OptOut, OptOutForm, OptOutSettings } from '../opt-outs/opt-out.entity.js';
import { ChatUsage, UsageStats } from '../messages/usage/usage.entity.js';
import { PrivacyRequest } from '../privacy/privacy-request.entity.js';
import { Session } from '../sessions/session.entity.js';
import { Template, TemplateVersion } from '../templates/template.entity.js';
import { Webhook, WebhookAttempt, WebhookDelivery } from '../webhooks/webhook.entity.js';
import { InboxEvent, InboxPosition, Worker } from '../whatsapp/worker.entity.js';

/** Every table. The one list of `db/` that knows the domains, because TypeORM wants it whole. */
export const entities = [
  Account,
  ApiKey,
  ApiKeyRequest,
  ApiKeyUsage,
  AuditLog,
  Backup,
  BulkJob,
  BulkRecipient,
  ChatUsage,
  ContactForm,
  ContactRow,
  Conversation,
  ErrorCount,
  EventCounter,
  EventRow,
  Failure,
  IdempotencyRecord,
  InboxEvent,
  InboxPosition,
  JobLeader,
  JobRun,
  JobState,
  MediaFile,
  Message,
  OptOut,
  OptOutForm,
  OptOutSettings,
  PanelSession,
  Plan,
  PrivacyRequest,
  QuotaUsage,
  Restored,
  Schedule,
  Session,
  StreamTicket,
  Template,
  TemplateVersion,
  Thumbnail,
  UsageStats,
  Webhook,
  WebhookAttempt,
  WebhookDelivery,
  Worker,
];
