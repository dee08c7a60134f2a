import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../../db/columns.js';

export const quotaScopes = ['session.daily', 'account.daily', 'plan.monthly'] as const;
export type QuotaScope = (typeof quotaScopes)[number];
/** A limit. The warm-up plan of a session limits what `session.daily` counts. */
export type LimitScope = QuotaScope | 'session.warm_up';

/**
 * How many messages count in a day or a month. The period is part of the key, so a new period starts at zero and no job resets anything.
 * Written only while the event log is locked (see quotas.ts).
 */
@Entity({ name: 'quota_usage' })
@Index('quota_usage_account', ['accountId', 'period'])
export class QuotaUsage {
  @PrimaryColumn(column.string(16)) scope: QuotaScope;
  /** The id of the session or the account, as `scope` says. */
  @PrimaryColumn(column.id()) ownerId: string;
  /** `2026-11-21` or `2026-11`, in the account's time zone. */
  @PrimaryColumn(column.string(10)) period: string;
  @Column(column.id()) accountId: string;
  @Column(column.integer()) taken: number;
}
