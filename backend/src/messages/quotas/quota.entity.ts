import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../../db/columns.js';

export const quotaScopes = ['session.daily', 'account.daily', 'plan.monthly'] as const;
export type QuotaScope = (typeof quotaScopes)[number];

/**
 * How many messages of a day or a month hold a place in it. The period is part of the key, so that a new day begins at zero by itself:
 * no job has to reset anything. Written only by who holds the event log (see quotas.ts).
 */
@Entity({ name: 'quota_usage' })
@Index('quota_usage_account', ['accountId', 'period'])
export class QuotaUsage {
  @PrimaryColumn(column.string(16)) scope: QuotaScope;
  /** Of the session or the account. */
  @PrimaryColumn(column.id()) ownerId: string;
  /** `2026-11-21` or `2026-11`, in the account's time zone. */
  @PrimaryColumn(column.string(10)) period: string;
  @Column(column.id()) accountId: string;
  @Column(column.integer()) taken: number;
}
