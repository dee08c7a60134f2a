import { AppError } from '@chasqui/shared';
import { IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { ApiKey } from '../../accounts/api-key.entity.js';
import { ApiKeyRequest } from '../../accounts/key-request.entity.js';
import { ApiKeyUsage } from '../../accounts/key-usage.entity.js';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import { toMs } from './time.js';

const shownRequests = 20;

/** One API key, without its secret. */
export async function keyView(reader: DataSource, id: string) {
  const row = await reader.getRepository(ApiKey).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('KEY_NOT_FOUND');
  const [usage, account, session, requests] = await Promise.all([
    reader.getRepository(ApiKeyUsage).findOneBy({ keyId: id }),
    reader.getRepository(Account).findOneBy({ id: row.accountId }),
    row.sessionId ? reader.getRepository(Session).findOneBy({ id: row.sessionId }) : null,
    reader.getRepository(ApiKeyRequest).find({ where: { keyId: id }, order: { id: 'DESC' }, take: shownRequests }),
  ]);
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    lastFour: row.lastFour,
    isPrimary: row.isPrimary,
    isActive: row.isActive,
    permissions: readable(row.permissions, []),
    rateLimit: row.rateLimit,
    autoRotation: row.autoRotation,
    isClaimable: row.isClaimable,
    successorId: row.successorId,
    usage: { successful: usage?.successful ?? 0, failed: usage?.failed ?? 0 },
    requests: requests.map(({ id: requestRow, at, method, route, status, code, ms, requestId }) => ({
      id: requestRow,
      at: at.getTime(),
      ...{ method, route, status, code, ms, requestId },
    })),
    account: { id: row.accountId, name: account?.username ?? null },
    session: row.sessionId ? { id: row.sessionId, name: session?.name ?? null } : null,
    expiresAt: toMs(row.expiresAt),
    lastUsedAt: toMs(row.lastUsedAt),
    createdAt: toMs(row.createdAt),
  };
}
export type KeyView = Awaited<ReturnType<typeof keyView>>;
