import { bulkStatuses, messageOrigins, messageStatuses, messageTypes, sessionStatuses } from '@chasqui/shared';
import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import { BulkJob } from '../bulk/bulk.entity.js';
import { Plan } from '../accounts/plan.entity.js';
import { Failure, failureKinds } from '../failures/failure.entity.js';
import { Message } from '../messages/message.entity.js';
import { OptOut, optOutSources } from '../opt-outs/opt-out.entity.js';
import { Session } from '../sessions/session.entity.js';
import { Template } from '../templates/template.entity.js';
import { Webhook } from '../webhooks/webhook.entity.js';
import { AuditLog } from '../audit/audit.entity.js';
import { readMessageRows } from './views/chats.js';
import { readAuditRows } from './views/audit-rows.js';
import { readWebhookRows } from './views/webhook-rows.js';
import { adviceForMessage, adviceForSession, type Advice, type SessionAdvice } from './advice.js';

/** How the panel draws a value. `panel/lists/Cell.tsx` has a case for each. */
export type Look =
  | 'text'
  | 'strong'
  | 'mono'
  | 'time'
  | 'yesno'
  | 'session'
  | 'message'
  | 'chat'
  | 'phone'
  | 'bulk'
  | 'direction'
  | 'name'
  | 'json'
  | 'role'
  | 'key'
  | 'body'
  | 'limit'
  | 'actor'
  | 'changes'
  | 'object'
  | 'webhook'
  | 'webhookState'
  | 'webhookDay';

/**
 * One column that the panel may read. A column that is not listed here is never selected, shown, searched or sorted by, whatever a request
 * asks for.
 */
export interface Field {
  name: string;
  label: string;
  look: Look;
  inList?: true;
  /**
   * How the column is filtered. `contains`: part of the value, in upper or lower case. `text`: the message search, which finds names, numbers and ids too. `account` and `session`:
   * the id, or part of the name that belongs to it. `flag`: true or false. `range`: times from and to.
   */
  filter?: 'exact' | 'contains' | 'text' | 'range' | 'flag' | 'account' | 'session';
  /** The list may be sorted by this column. Set only where an index or a small table makes that cheap. */
  sort?: true;
  values?: readonly string[];
}

/** A table as the panel shows it. `page` and `create.component` name components of the bundle (`backend/panel`). */
export interface TableView {
  id: string;
  entity: EntityTarget<ObjectLiteral>;
  plural: string;
  singular: string;
  group: 'WhatsApp' | 'Access' | 'System';
  icon: string;
  title: string;
  order: { by: string; direction: 'asc' | 'desc' };
  /** Rows with a value in this column are not shown. */
  hiddenBy?: 'deletedAt';
  /** Only rows with this value in this column are shown. */
  only?: { column: string; value: string };
  /** The words for people of a row's reason. */
  adviceFor?: (code: string, message: string | null) => Advice & Partial<SessionAdvice>;
  /** Reads more of the rows of a list than their columns: parameters of each row, by its id. */
  more?: (reader: DataSource, rows: readonly ObjectLiteral[]) => Promise<ReadonlyMap<string, Record<string, unknown>>>;
  /** The component that draws the page of one row. */
  page: string;
  /** The component that creates a row, and the role that it requires. */
  create?: { component: string; label: string; role: 'staff' | 'admin' };
  fields: readonly Field[];
}

const field = (name: string, label: string, look: Look, more: Partial<Field> = {}): Field => ({ name, label, look, ...more });
const list = { inList: true } as const;
const sort = { sort: true } as const;

export const tables: readonly TableView[] = [
  {
    id: 'sessions',
    entity: Session,
    plural: 'Sessions',
    singular: 'Session',
    group: 'WhatsApp',
    icon: 'Smartphone',
    title: 'name',
    order: { by: 'createdAt', direction: 'desc' },
    hiddenBy: 'deletedAt',
    adviceFor: adviceForSession,
    page: 'SessionPage',
    create: { component: 'NewSession', label: 'New session', role: 'staff' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('name', 'Name', 'strong', { ...list, ...sort, filter: 'contains' }),
      field('status', 'Status', 'session', { ...list, filter: 'exact', values: sessionStatuses }),
      field('phoneNumber', 'Phone', 'phone', { ...list, filter: 'contains' }),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('lastSeen', 'Last seen', 'time', { ...list, ...sort }),
      field('createdAt', 'Created', 'time', { ...sort, filter: 'range' }),
      field('desired', 'Desired', 'text', { filter: 'exact', values: ['running', 'stopped'] }),
      field('workerId', 'Worker', 'mono', { filter: 'exact' }),
      field('reasonCode', 'Reason', 'text'),
      field('reasonText', 'Explanation', 'text'),
    ],
  },
  {
    id: 'messages',
    entity: Message,
    plural: 'Messages',
    singular: 'Message',
    group: 'WhatsApp',
    icon: 'MessageSquare',
    title: 'id',
    order: { by: 'id', direction: 'desc' },
    hiddenBy: 'deletedAt',
    adviceFor: adviceForMessage,
    more: readMessageRows,
    page: 'MessagePage',
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact', ...sort }),
      field('chatName', 'Chat', 'chat', { ...list, filter: 'contains' }),
      field('direction', 'Direction', 'direction', { ...list, filter: 'exact', values: ['inbound', 'outbound'] }),
      field('text', 'Text', 'body', { ...list, filter: 'text' }),
      field('status', 'Status', 'message', { ...list, filter: 'exact', values: messageStatuses }),
      field('sessionId', 'Session', 'name', { ...list, filter: 'session' }),
      field('createdAt', 'When', 'time', { ...list, filter: 'range' }),
      field('type', 'Type', 'text', { filter: 'exact', values: messageTypes }),
      field('origin', 'Origin', 'text', { filter: 'exact', values: messageOrigins }),
      field('chatId', 'Chat id', 'mono', { filter: 'exact' }),
      field('accountId', 'Account', 'name', { filter: 'account' }),
      field('reasonCode', 'Reason', 'text', { filter: 'exact' }),
      field('reasonText', 'Explanation', 'text'),
    ],
  },
  {
    id: 'bulk',
    entity: BulkJob,
    plural: 'Bulk jobs',
    singular: 'Bulk job',
    group: 'WhatsApp',
    icon: 'Layers',
    title: 'name',
    order: { by: 'id', direction: 'desc' },
    page: 'BulkPage',
    create: { component: 'NewBulk', label: 'New bulk job', role: 'staff' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact', ...sort }),
      field('name', 'Name', 'strong', { ...list, filter: 'contains' }),
      field('status', 'Status', 'bulk', { ...list, filter: 'exact', values: bulkStatuses }),
      field('total', 'Recipients', 'text', list),
      field('pending', 'Waiting', 'text', list),
      field('failed', 'Failed', 'text', list),
      field('sessionId', 'Session', 'name', { ...list, filter: 'session' }),
      field('createdAt', 'When', 'time', { ...list, filter: 'range' }),
      field('accountId', 'Account', 'name', { filter: 'account' }),
      field('reasonCode', 'Reason', 'text', { filter: 'exact' }),
    ],
  },
  {
    id: 'webhooks',
    entity: Webhook,
    plural: 'Webhooks',
    singular: 'Webhook',
    group: 'WhatsApp',
    icon: 'Send',
    title: 'url',
    order: { by: 'createdAt', direction: 'desc' },
    hiddenBy: 'deletedAt',
    more: readWebhookRows,
    page: 'WebhookPage',
    create: { component: 'NewWebhook', label: 'New webhook', role: 'admin' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('url', 'Webhook', 'webhook', { ...list, filter: 'contains' }),
      field('description', 'Name', 'text', { filter: 'contains' }),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('sessionId', 'Session', 'name', { ...list, filter: 'session' }),
      field('isActive', 'State', 'webhookState', { ...list, filter: 'flag' }),
      field('failures', 'Last 24 hours', 'webhookDay', list),
      field('openUntil', 'Paused until', 'time'),
      field('disabledReason', 'Disabled because', 'text', { filter: 'exact', values: ['GONE', 'FAILING', 'BY_REQUEST'] }),
      field('lastDeliveredAt', 'Last delivered', 'time', { ...list, ...sort }),
      field('createdAt', 'Created', 'time', { ...sort, filter: 'range' }),
    ],
  },
  {
    id: 'templates',
    entity: Template,
    plural: 'Templates',
    singular: 'Template',
    group: 'WhatsApp',
    icon: 'Edit3',
    title: 'name',
    order: { by: 'createdAt', direction: 'desc' },
    hiddenBy: 'deletedAt',
    page: 'TemplatePage',
    create: { component: 'NewTemplate', label: 'New template', role: 'staff' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('name', 'Name', 'strong', { ...list, ...sort, filter: 'contains' }),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('version', 'Version', 'text', list),
      field('updatedAt', 'Changed', 'time', { ...list, ...sort }),
      field('createdAt', 'Created', 'time', { ...sort, filter: 'range' }),
    ],
  },
  {
    id: 'optouts',
    entity: OptOut,
    plural: 'Opt-outs',
    singular: 'Opt-out',
    group: 'WhatsApp',
    icon: 'UserX',
    title: 'waId',
    order: { by: 'changedAt', direction: 'desc' },
    only: { column: 'state', value: 'out' },
    page: 'OptOutPage',
    create: { component: 'NewOptOut', label: 'Opt people out', role: 'staff' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('waId', 'Person', 'mono', { ...list, filter: 'contains' }),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('source', 'By', 'text', { ...list, filter: 'exact', values: optOutSources }),
      field('keyword', 'Keyword', 'text', { ...list, filter: 'contains' }),
      field('changedAt', 'Since', 'time', { ...list, ...sort, filter: 'range' }),
    ],
  },
  {
    id: 'accounts',
    entity: Account,
    plural: 'Accounts',
    singular: 'Account',
    group: 'Access',
    icon: 'Users',
    title: 'username',
    order: { by: 'username', direction: 'asc' },
    page: 'AccountPage',
    create: { component: 'NewAccount', label: 'New account', role: 'admin' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('username', 'Name', 'strong', { ...list, ...sort, filter: 'contains' }),
      field('email', 'E-mail', 'text', { ...list, ...sort, filter: 'contains' }),
      field('role', 'Role', 'role', { ...list, filter: 'exact', values: ['user', 'staff', 'admin'] }),
      field('isActive', 'Active', 'yesno', { ...list, filter: 'flag' }),
      field('lastLoginAt', 'Last login', 'time', { ...list, ...sort }),
      field('createdAt', 'Created', 'time', { ...sort, filter: 'range' }),
    ],
  },
  {
    id: 'plans',
    entity: Plan,
    plural: 'Plans',
    singular: 'Plan',
    group: 'Access',
    icon: 'Sliders',
    title: 'name',
    order: { by: 'name', direction: 'asc' },
    page: 'PlanPage',
    create: { component: 'NewPlan', label: 'New plan', role: 'admin' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('name', 'Name', 'strong', { ...list, ...sort, filter: 'contains' }),
      field('dailyMessages', 'Messages a day', 'limit', { ...list, ...sort }),
      field('monthlyMessages', 'Messages a month', 'limit', { ...list, ...sort }),
      field('maxSessions', 'Sessions', 'limit', { ...list, ...sort }),
      field('apiLimit', 'Requests an hour', 'limit', list),
      field('pricePerMessage', 'Price', 'text', list),
      field('currency', 'Currency', 'text', list),
    ],
  },
  {
    id: 'keys',
    entity: ApiKey,
    plural: 'API keys',
    singular: 'API key',
    group: 'Access',
    icon: 'Key',
    title: 'name',
    order: { by: 'createdAt', direction: 'desc' },
    hiddenBy: 'deletedAt',
    page: 'KeyPage',
    create: { component: 'NewKey', label: 'New key', role: 'admin' },
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('name', 'Name', 'strong', { ...list, ...sort, filter: 'contains' }),
      field('prefix', 'Key', 'key', list),
      field('lastFour', 'Last four', 'mono'),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('sessionId', 'Session', 'name', { ...list, filter: 'session' }),
      field('isActive', 'Active', 'yesno', { ...list, filter: 'flag' }),
      field('lastUsedAt', 'Last used', 'time', { ...list, ...sort }),
      field('expiresAt', 'Expires', 'time', { ...list, ...sort }),
      field('createdAt', 'Created', 'time', { ...sort, filter: 'range' }),
      field('isPrimary', 'Primary', 'yesno', { filter: 'flag' }),
      field('permissions', 'Permissions', 'json'),
    ],
  },
  {
    id: 'audit',
    entity: AuditLog,
    plural: 'Audit log',
    singular: 'Audit entry',
    group: 'System',
    icon: 'FileText',
    title: 'action',
    order: { by: 'at', direction: 'desc' },
    more: readAuditRows,
    page: 'AuditPage',
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('at', 'When', 'time', { ...list, ...sort, filter: 'range' }),
      field('actorName', 'Actor', 'actor', { ...list, filter: 'contains' }),
      field('action', 'Action', 'mono', { ...list, filter: 'contains' }),
      field('objectType', 'Object', 'object', { ...list, filter: 'exact' }),
      field('objectId', 'Object id', 'mono', { filter: 'exact' }),
      field('accountId', 'Account', 'name', { ...list, filter: 'account' }),
      field('changes', 'Changes', 'changes', list),
      field('previous', 'Before', 'json'),
      field('ip', 'IP address', 'mono', { filter: 'exact' }),
      field('actorType', 'Actor type', 'text', { filter: 'exact', values: ['key', 'token', 'panel', 'staff', 'system'] }),
      field('requestId', 'Request', 'mono', { filter: 'exact' }),
    ],
  },
  {
    id: 'failures',
    entity: Failure,
    plural: 'Failures',
    singular: 'Failure',
    group: 'System',
    icon: 'AlertTriangle',
    title: 'code',
    order: { by: 'lastAt', direction: 'desc' },
    page: 'FailurePage',
    fields: [
      field('id', 'Id', 'mono', { filter: 'exact' }),
      field('lastAt', 'Last', 'time', { ...list, ...sort, filter: 'range' }),
      field('kind', 'Kind', 'strong', { ...list, filter: 'exact', values: failureKinds }),
      field('code', 'Code', 'mono', { ...list, filter: 'exact' }),
      field('subject', 'Subject', 'mono', { ...list, filter: 'contains' }),
      field('count', 'Count', 'text', list),
      field('sessionId', 'Session', 'name', { ...list, filter: 'session' }),
      field('accountId', 'Account', 'name', { filter: 'account' }),
      field('firstAt', 'First', 'time'),
      field('detail', 'Detail', 'text'),
    ],
  },
];
