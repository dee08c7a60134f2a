import type { EventType, Permission } from '@chasqui/shared';
import type { Role } from '../accounts/account.entity.js';
import type { Standing } from '../events/streams.js';
import type { KeyLimit, LimitScope } from './request-limits.js';

/** Who calls, as authentication found it; every domain verb of a tenant takes it, or its `accountId`, first. */
export interface Caller {
  accountId: string;
  role: Role;
  credential: { type: 'key' | 'token' | 'panel' | 'service' | 'none'; id: string | null; name: string | null };
  /** Names, `group.*` or `*`. */
  permissions: readonly string[];
  /** Set: the credential reaches this session and no other. */
  sessionId: string | null;
  /** The token came from a password login, or the caller sits at the panel. */
  isPasswordLogin: boolean;
  /** Of the key, or the key behind the token: which of its secrets was shown (accounts/key-form.ts). Absent for password logins. */
  keyFingerprint?: string;
  /** Of the key, or the key behind the token: what it says of its own limit. */
  keyLimit?: KeyLimit;
  /** Counts against one more limit of this request; throws `RATE_LIMITED`. Absent where nothing is limited, as at the panel. */
  charge?: (scope: LimitScope, name: string, limit: number, windowMs: number) => Promise<void>;
  requestId: string;
  ip: string | null;
  /** Came with a ticket for one stream: on what it stands, and what it was narrowed to. */
  ticket?: { types: readonly EventType[] | null; standing: Standing };
}

export type { Permission };
