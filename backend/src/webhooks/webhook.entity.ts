import type { EventType } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

export interface WebhookFilter {
  chats?: string[] | undefined;
  directions?: ('inbound' | 'outbound')[] | undefined;
  types?: string[] | undefined;
}
export interface WebhookTransform {
  /** The body; `{{path}}` is replaced by a value of the event. */
  template?: unknown;
  /** Name in the body → path in the event. */
  fields?: Record<string, string> | undefined;
  /** Type → name under which it is sent. */
  rename?: Record<string, string> | undefined;
}
export interface WebhookRetry {
  /** Milliseconds. */
  delaysMs?: number[] | undefined;
  maxRetries?: number | undefined;
  timeoutMs?: number | undefined;
}

/** An endpoint: a URL that receives events. */
@Entity({ name: 'webhooks' })
@Index('webhooks_account', ['accountId', 'deletedAt'])
export class Webhook {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  /** Null: all sessions of the account, and what is of none. */
  @Column(orNull(column.id())) sessionId: string | null;
  @Column(column.text()) url: string;
  @Column(orNull(column.string(200))) description: string | null;
  /** The requested names. */
  @Column(column.json()) events: string[];
  /** The types that those names include and that the creator may read: type → the requested name. */
  @Column(column.json()) types: Partial<Record<EventType, string>>;
  /** `whsec_…` or a text of the caller's own, sealed. */
  @Column({ ...column.text(), select: false }) secret: string;
  /** The previous secret, sealed. It also signs until `oldSecretUntil`. */
  @Column({ ...orNull(column.text()), select: false }) oldSecret: string | null;
  @Column(orNull(column.time())) oldSecretUntil: Date | null;
  /** JSON of name → value, sealed: they hold tokens. */
  @Column({ ...orNull(column.text()), select: false }) headers: string | null;
  @Column(column.flag({ default: true })) isActive: boolean;
  @Column(column.flag({ default: true })) includeContent: boolean;
  @Column(orNull(column.json())) filter: WebhookFilter | null;
  @Column(orNull(column.json())) transform: WebhookTransform | null;
  @Column(orNull(column.json())) retry: WebhookRetry | null;
  /** Why and when the endpoint was switched off: `GONE`, `FAILING`, `BY_REQUEST`. */
  @Column(orNull(column.string(16))) disabledReason: string | null;
  @Column(orNull(column.time())) disabledAt: Date | null;
  /** Since when every attempt failed; null while the last one succeeded. */
  @Column(orNull(column.time())) failingSince: Date | null;
  @Column(column.integer({ default: 0 })) failures: number;
  /** The time between failures since `failingSince` that this program saw pass, on the monotonic clock. Milliseconds. */
  @Column(column.big({ default: 0 })) failingMs: number;
  /** The circuit is open: no attempts until this time, and then one probe. */
  @Column(orNull(column.time())) openUntil: Date | null;
  /** For how long the circuit was opened the last time, in milliseconds. Bounds `openUntil` when the clock was set back, and grows with each failed probe. */
  @Column(orNull(column.integer())) openMs: number | null;
  /** The backend that alone sends to this endpoint, and until when, by the database's clock. PostgreSQL only. */
  @Column(orNull(column.id())) laneOwner: string | null;
  @Column(orNull(column.time())) laneUntil: Date | null;
  /** Since when deliveries wait too long, as the last event `webhook.backlog` reported it; null while they do not. */
  @Column(orNull(column.time())) behindSince: Date | null;
  @Column(orNull(column.time())) lastDeliveredAt: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
  @Column(orNull(column.time())) deletedAt: Date | null;
}

export const deliveryStatuses = ['pending', 'sending', 'delivered', 'failed', 'held', 'cancelled'] as const;
export type DeliveryStatus = (typeof deliveryStatuses)[number];

/** One event for one endpoint. Written in the commit of the event; the body is made of the event's row at each attempt. */
@Entity({ name: 'webhook_deliveries' })
@Index('webhook_deliveries_event', ['webhookId', 'eventCursor'], { unique: true })
@Index('webhook_deliveries_due', ['status', 'webhookId', 'eventCursor', 'nextAttemptAt'])
@Index('webhook_deliveries_age', ['createdAt'])
@Index('webhook_deliveries_cursor', ['eventCursor'])
export class WebhookDelivery {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) webhookId: string;
  @Column(column.id()) accountId: string;
  @Column(orNull(column.id())) sessionId: string | null;
  @Column(column.big()) eventCursor: number;
  @Column(column.id()) eventId: string;
  @Column(column.string(40)) type: string;
  @Column(column.string(10)) status: DeliveryStatus;
  @Column(column.integer({ default: 0 })) attempts: number;
  @Column(orNull(column.time())) nextAttemptAt: Date | null;
  /** How long before `nextAttemptAt` it was set, in milliseconds: what lies further ahead than this was set before the clock went back. */
  @Column(orNull(column.big())) waitMs: number | null;
  @Column(orNull(column.id())) leaseOwner: string | null;
  @Column(orNull(column.time())) leaseExpiresAt: Date | null;
  @Column(orNull(column.integer())) statusCode: number | null;
  @Column(orNull(column.string(200))) error: string | null;
  @Column(column.time()) createdAt: Date;
  /** When a redelivery was last requested. The retry window counts from here; null: from `createdAt`. */
  @Column(orNull(column.time())) redeliveredAt: Date | null;
  @Column(orNull(column.time())) finishedAt: Date | null;
}

/** One attempt: excerpts of the request and of the answer, without secrets. */
@Entity({ name: 'webhook_attempts' })
@Index('webhook_attempts_delivery', ['deliveryId', 'at'])
@Index('webhook_attempts_webhook', ['webhookId', 'at'])
export class WebhookAttempt {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) deliveryId: string;
  @Column(column.id()) webhookId: string;
  @Column(column.time()) at: Date;
  @Column(column.integer()) durationMs: number;
  @Column(orNull(column.integer())) statusCode: number | null;
  @Column(orNull(column.string(200))) error: string | null;
  @Column(column.json()) requestHeaders: Record<string, string>;
  @Column(orNull(column.text())) requestBody: string | null;
  @Column(orNull(column.text())) response: string | null;
}
