import type { AnyRoute, EventType } from '@chasqui/shared';
import type { createMount } from '@chasqui/shared/express';
import type { Request, Response } from 'express';
import type { Role } from './account.entity.js';
import type { CredentialRef } from './credential-ref.js';

/** Which rate limit refused a request, as `details.scope` names it. */
export type LimitScope = 'ip' | 'key' | 'session_api' | 'session_send';

/** The rate limit that an API key sets for itself. Null: the installation's default applies. */
export interface KeyLimit {
  rateLimit: number | null;
  rateWindowMs: number | null;
}

/** The authenticated caller of a request. Every verb on a tenant's data has it, or its `accountId`, as the first argument. */
export interface Caller {
  accountId: string;
  role: Role;
  credential: { type: 'key' | 'token' | 'panel' | 'service' | 'none'; id: string | null; name: string | null };
  /** Names, `group.*` or `*`. */
  permissions: readonly string[];
  /** Set if the credential reaches this session and no other. */
  sessionId: string | null;
  /** True for a token from a password login, and for a caller at the panel. */
  isPasswordLogin: boolean;
  /** Which secret of the key was presented, or of the key behind the token (accounts/key-form.ts). Absent for password logins. */
  keyFingerprint?: string;
  /** Which secret of the account verified the token (accounts/tokens.ts): with another one the token is void. Absent for API keys. */
  accountSecretDigest?: string;
  /** Set if the caller signed in with a cookie (accounts/browser-sessions.ts). */
  browserSession?: { id: string; expiresAt: Date };
  /** The limit of the key, or of the key behind the token. */
  keyLimit?: KeyLimit;
  /** Counts the request against one more limit; throws `RATE_LIMITED`. Absent where nothing is limited, as at the panel. */
  charge?: (scope: LimitScope, name: string, limit: number, windowMs: number) => Promise<void>;
  /** Whether the request was counted against the plan's limit of its session. */
  isSessionCharged?: boolean;
  requestId: string;
  ip: string | null;
  /** Set if the caller used a stream ticket: the credential behind it, and the event types it may read (null: all). */
  ticket?: { types: readonly EventType[] | null; credential: CredentialRef };
}

/** Returns the caller of a request. Throws the error with which the request is refused. */
export type Authenticate = (route: AnyRoute, req: Request, res: Response) => Promise<Caller>;

/** Mounts a route of the contract: parses the request, and calls the handler with the result and the authenticated caller. */
export type Mount = ReturnType<typeof createMount<Caller>>['mount'];
