import { Foundation1763600000000 } from './1763600000000-foundation.js';
import { EventPages1763700500000 } from './1763700500000-event-pages.js';
import { Uptime1763700600000 } from './1763700600000-uptime.js';
import { Limits1763700900000 } from './1763700900000-limits.js';
import { Privacy1763701000000 } from './1763701000000-privacy.js';
import { Webhooks1763701100000 } from './1763701100000-webhooks.js';
import { Queues1763701200000 } from './1763701200000-queues.js';
import { SharedLimits1763703000000 } from './1763703000000-shared-limits.js';
import { WebhookLanes1763704000000 } from './1763704000000-webhook-lanes.js';
import { Failures1763707000000 } from './1763707000000-failures.js';
import { WorkerStatus1763708000000 } from './1763708000000-worker-status.js';
import { WebhookFailing1763709030000 } from './1763709030000-webhook-failing.js';
import { ObservedMessages1763711000000 } from './1763711000000-observed-messages.js';
import { LinkedAccounts1763712000000 } from './1763712000000-linked-accounts.js';
import { Contacts1763714000000 } from './1763714000000-contacts.js';
import { Search1763714010000 } from './1763714010000-search.js';
import { IdempotencySessions1763715000000 } from './1763715000000-idempotency-sessions.js';
import { WebhookNames1763716000000 } from './1763716000000-webhook-names.js';
import { WorkerDrain1763716010000 } from './1763716010000-worker-drain.js';
import { AuditCredential1763716020000 } from './1763716020000-audit-credential.js';
import { FailureReports1763717000000 } from './1763717000000-failure-reports.js';
import { SelfCheck1763718000000 } from './1763718000000-self-check.js';
import { MediaUploads1763800010000 } from './1763800010000-media-uploads.js';
import { OptOuts1763801000000 } from './1763801000000-opt-outs.js';
import { Templates1763801010000 } from './1763801010000-templates.js';
import { ScheduledMessages1763802000000 } from './1763802000000-scheduled-messages.js';
import { RecurringSchedules1763802001000 } from './1763802001000-recurring-schedules.js';
import { Bulk1763803000000 } from './1763803000000-bulk.js';
import { AccountHealth1763804000000 } from './1763804000000-account-health.js';
import { UsageStats1763806000000 } from './1763806000000-usage-stats.js';
import { Jobs1763807000000 } from './1763807000000-jobs.js';
import { Backups1763808000000 } from './1763808000000-backups.js';
import { RequestRecords1763809000000 } from './1763809000000-request-records.js';
import { Conversations1763812000000 } from './1763812000000-conversations.js';
import { GroupMentions1763813000000 } from './1763813000000-group-mentions.js';
import { NamesVersion1763815000000 } from './1763815000000-names-version.js';
import { LastLoginIp1763816000000 } from './1763816000000-last-login-ip.js';
import { SearchChats1763818000000 } from './1763818000000-search-chats.js';
import { FoldedNames1763819000000 } from './1763819000000-folded-names.js';
import { SearchKinds1763820000000 } from './1763820000000-search-kinds.js';
import { SearchLate1763821000000 } from './1763821000000-search-late.js';
import { ConversationNames1763822000000 } from './1763822000000-conversation-names.js';
import { UploadRoom1763823000000 } from './1763823000000-upload-room.js';
import { FailedMessages1763824000000 } from './1763824000000-failed-messages.js';
import { MessageRequests1763825000000 } from './1763825000000-message-requests.js';
import { Thumbnails1763826000000 } from './1763826000000-thumbnails.js';
import { MessageMarks1763827000000 } from './1763827000000-message-marks.js';
import { MessageLookups1763828000000 } from './1763828000000-message-lookups.js';
import { AuditBefore1763829000000 } from './1763829000000-audit-before.js';
import { SessionProxies1763830000000 } from './1763830000000-session-proxies.js';
import { LoginCopies1763831000000 } from './1763831000000-login-copies.js';
import { PairingNumbers1763841000000 } from './1763841000000-pairing-numbers.js';
import { ListCounts1763845000000 } from './1763845000000-list-counts.js';
import { RefusedEvents1763846000000 } from './1763846000000-refused-events.js';

/** In order. Migrations only move forward. */
export const migrations = [
  Foundation1763600000000,
  EventPages1763700500000,
  Uptime1763700600000,
  Limits1763700900000,
  Privacy1763701000000,
  Webhooks1763701100000,
  Queues1763701200000,
  SharedLimits1763703000000,
  WebhookLanes1763704000000,
  Failures1763707000000,
  WorkerStatus1763708000000,
  WebhookFailing1763709030000,
  ObservedMessages1763711000000,
  LinkedAccounts1763712000000,
  Contacts1763714000000,
  Search1763714010000,
  IdempotencySessions1763715000000,
  WebhookNames1763716000000,
  WorkerDrain1763716010000,
  AuditCredential1763716020000,
  FailureReports1763717000000,
  SelfCheck1763718000000,
  MediaUploads1763800010000,
  OptOuts1763801000000,
  Templates1763801010000,
  ScheduledMessages1763802000000,
  RecurringSchedules1763802001000,
  Bulk1763803000000,
  AccountHealth1763804000000,
  UsageStats1763806000000,
  Jobs1763807000000,
  Backups1763808000000,
  RequestRecords1763809000000,
  Conversations1763812000000,
  GroupMentions1763813000000,
  NamesVersion1763815000000,
  LastLoginIp1763816000000,
  SearchChats1763818000000,
  FoldedNames1763819000000,
  SearchKinds1763820000000,
  SearchLate1763821000000,
  ConversationNames1763822000000,
  UploadRoom1763823000000,
  FailedMessages1763824000000,
  MessageRequests1763825000000,
  Thumbnails1763826000000,
  MessageMarks1763827000000,
  MessageLookups1763828000000,
  AuditBefore1763829000000,
  SessionProxies1763830000000,
  LoginCopies1763831000000,
  PairingNumbers1763841000000,
  ListCounts1763845000000,
  RefusedEvents1763846000000,
];
