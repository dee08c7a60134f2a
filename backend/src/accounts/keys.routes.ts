import { readable } from '../db/unreadable.js';
import type { Caller, KeyLimit, Mount } from './caller.js';
import { sentFields } from '../lib/sent-fields.js';
import type { Counted } from '../lib/windows.js';
import type { ApiKey } from './api-key.entity.js';
import type { ApiKeys, IssuedKey, KeyChange, KeyRef } from './api-keys.js';
import type { ApiKeyRequest } from './key-request.entity.js';
import type { KeyRequests } from './key-requests.js';
import type { KeyUsage } from './key-usage.js';
import * as contract from './keys.contract.js';

/** The rate limits of keys, against which requests are counted (http/request-limits.ts). */
interface KeyLimits {
  /** Returns the state of a key's window. Null: the key has no limit. */
  left(key: KeyLimit & { id: string }): Promise<Counted | null>;
  /** Returns the limit that applies to a key: its own, or the installation's default. */
  limitOf(key: KeyLimit): { limit: number; windowMs: number };
}

export interface KeyRouteParts {
  keys: ApiKeys;
  usage: KeyUsage;
  requests: Pick<KeyRequests, 'of'>;
  limits: KeyLimits;
  /** Returns the id of a session that the caller names by id, name or `current`. Throws `SESSION_NOT_FOUND`. */
  sessionIdOf: (caller: Caller, named: string) => Promise<string>;
}

/** Mounts the routes of keys, each for the keys of the account and for those of one session. */
export function mountKeys(mount: Mount, parts: KeyRouteParts): void {
  const { keys, limits } = parts;
  const present = (key: ApiKey) => presentKey(limits, key);
  const presentIssued = ({ row, key }: IssuedKey) => ({ ...present(row), key });
  const inSession = async (caller: Caller, { sessionId }: { sessionId?: string }): Promise<{ sessionId?: string }> =>
    sessionId === undefined ? {} : { sessionId: await parts.sessionIdOf(caller, sessionId) };
  const refOf = async (caller: Caller, params: { keyId: string; sessionId?: string }): Promise<KeyRef> => ({
    id: params.keyId,
    ...(await inSession(caller, params)),
  });

  for (const route of [contract.list.all, contract.list.ofSession])
    mount(route, async ({ params, query }, caller) => {
      const isActive = query.active === undefined ? {} : { isActive: query.active };
      return (await keys.list(caller.accountId, { ...(await inSession(caller, params)), ...isActive })).map(present);
    });
  for (const route of [contract.create.all, contract.create.ofSession])
    mount(route, async ({ params, body }, caller) => {
      const { sessionId: named, ...rest } = body;
      const bound = await inSession(caller, named ? { sessionId: named } : params);
      const { name, permissions } = rest;
      return presentIssued(await keys.create(caller, { ...fieldsOf(rest), name, permissions, ...bound }));
    });
  for (const route of [contract.read.all, contract.read.ofSession])
    mount(route, async ({ params }, caller) => present(await keys.find(caller.accountId, await refOf(caller, params))));
  for (const route of [contract.update.all, contract.update.ofSession])
    mount(route, async ({ params, body }, caller) =>
      present(await keys.update(caller, caller.accountId, await refOf(caller, params), fieldsOf(body))),
    );
  for (const route of [contract.remove.all, contract.remove.ofSession])
    mount(route, async ({ params }, caller) => {
      await keys.revoke(caller, caller.accountId, await refOf(caller, params));
      return { id: params.keyId, deleted: true as const };
    });
  for (const route of [contract.regenerate.all, contract.regenerate.ofSession])
    mount(route, async ({ params }, caller) =>
      presentIssued(await keys.regenerate(caller, caller.accountId, await refOf(caller, params))),
    );
  for (const route of [contract.claim.all, contract.claim.ofSession])
    mount(route, async ({ params }, caller) =>
      presentIssued(await keys.claim(caller, caller.accountId, await refOf(caller, params))),
    );
  for (const route of [contract.usageOf.all, contract.usageOf.ofSession])
    mount(route, async ({ params }, caller) =>
      presentUsage(parts, await keys.find(caller.accountId, await refOf(caller, params))),
    );
  for (const route of [contract.requestsOf.all, contract.requestsOf.ofSession])
    mount(route, async ({ params }, caller) => {
      const { id } = await keys.find(caller.accountId, await refOf(caller, params));
      return (await parts.requests.of(id)).map(presentRequest);
    });
}

const presentKey = (limits: KeyLimits, key: ApiKey) => ({
  id: key.id,
  sessionId: key.sessionId,
  name: key.name,
  prefix: key.prefix,
  lastFour: key.lastFour,
  permissions: readable(key.permissions, []),
  rateLimit: limits.limitOf(key),
  isActive: key.isActive,
  isPrimary: key.isPrimary,
  autoRotation: key.autoRotation,
  isClaimable: key.isClaimable,
  expiresAt: key.expiresAt?.toISOString() ?? null,
  successorId: key.successorId,
  lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
  createdAt: key.createdAt.toISOString(),
});

const presentRequest = ({ at, method, route, status, code, ms, requestId }: ApiKeyRequest) => ({
  at: at.toISOString(),
  ...{ method, route, status, code, ms, requestId },
});

async function presentUsage({ usage, limits }: KeyRouteParts, key: ApiKey) {
  const { successful, failed } = await usage.of(key.id);
  const left = await limits.left(key);
  return {
    total: successful + failed,
    successful,
    failed,
    rateLimit: limits.limitOf(key),
    remaining: left?.remaining ?? null,
    resetAt: left ? new Date(Date.now() + left.resetMs).toISOString() : null,
    lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
    createdAt: key.createdAt.toISOString(),
  };
}

/** The fields of a key as a request has them. */
interface KeyBody {
  name?: string | undefined;
  permissions?: string[] | undefined;
  rateLimit?: { limit: number; windowMs?: number | undefined } | null | undefined;
  expiresAt?: string | null | undefined;
  autoRotation?: boolean | undefined;
  isActive?: boolean | undefined;
}

function fieldsOf({ rateLimit, expiresAt, ...rest }: KeyBody): KeyChange {
  const fields: KeyChange = sentFields(rest);
  if (rateLimit !== undefined) {
    fields.rateLimit = rateLimit?.limit ?? null;
    fields.rateWindowMs = rateLimit?.windowMs ?? null;
  }
  if (expiresAt !== undefined) fields.expiresAt = expiresAt === null ? null : new Date(expiresAt);
  return fields;
}
