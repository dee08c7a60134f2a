import type { Permission } from '@chasqui/shared';
import type { Role } from '../accounts/account.entity.js';

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
  requestId: string;
  ip: string | null;
}

export type { Permission };
