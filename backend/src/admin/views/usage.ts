import type { DataSource } from 'typeorm';
import { QuotaUsage, type QuotaScope } from '../../messages/quotas/quota.entity.js';

/** How many messages count against an owner's quota of a day or a month. */
export async function acceptedOf(reader: DataSource, scope: QuotaScope, ownerId: string, period: string): Promise<number> {
  return (await reader.getRepository(QuotaUsage).findOneBy({ scope, ownerId, period }))?.taken ?? 0;
}
