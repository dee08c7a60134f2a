import { allows, AppError, type AnyRoute } from '@chasqui/shared';
import { pathAndQuery } from '@chasqui/shared/express';
import type { Request, Response } from 'express';
import { decodeJwt } from 'jose';
import { Account } from '../accounts/account.entity.js';
import { credentialOf } from '../accounts/credential.js';
import { secretDigestOf } from '../accounts/tokens.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import type { Database } from '../db/database.js';
import type { CredentialRef } from '../accounts/credential-ref.js';
import type { Tickets } from './tickets.js';
import type { Clock } from '../lib/clock.js';
import type { Caller } from '../accounts/caller.js';

/**
 * For connections that outlive their request: on what the caller stands, without the credential itself, and whether that is still good. It is
 * read from the database each time, because another backend may have changed it.
 */
export function createStanding({
  database,
  keys,
  clock,
}: {
  database: Database;
  keys: Pick<ApiKeys, 'authenticateId'>;
  clock: Clock;
}) {
  const account = (id: string): Promise<Account | null> =>
    database.reader.getRepository(Account).createQueryBuilder('a').addSelect('a.jwtSecret').where('a.id = :id', { id }).getOne();

  return {
    of(caller: Caller, req: Request): CredentialRef {
      if (caller.ticket) return caller.ticket.standing;
      const { accountId, credential, keyFingerprint = null } = caller;
      const key = { accountId, type: 'key' as const, id: credential.id ?? '', keyFingerprint };
      if (credential.type === 'key') return { ...key, secret: null, until: null };
      // Closes: the account gets a new secret after the token was verified; with that one, a void token would make a good ticket.
      const { accountSecretDigest: secret } = caller;
      if (secret === undefined) throw new AppError('UNAUTHENTICATED');
      const { exp } = decodeJwt(credentialOf(req) ?? '');
      const token = { secret, until: exp === undefined ? null : exp * 1000 };
      // A token that a key was exchanged for stands on that key, and is worth nothing more than it.
      return caller.isPasswordLogin ? { ...key, ...token, type: 'token', id: accountId } : { ...key, ...token };
    },

    /** Throws what a request with this credential would be refused with now. */
    async ask(standing: CredentialRef): Promise<{ permissions: readonly string[]; sessionId: string | null }> {
      const owner = await account(standing.accountId);
      if (!owner) throw new AppError('UNAUTHENTICATED');
      if (!owner.isActive) throw new AppError('ACCOUNT_INACTIVE');
      if (standing.secret !== null && standing.secret !== secretDigestOf(owner))
        throw new AppError('UNAUTHENTICATED', {}, 'The token is void. Log in again.');
      if (standing.until !== null && standing.until <= clock.now().getTime()) throw new AppError('TOKEN_EXPIRED');
      if (standing.type === 'token') {
        if (owner.mustChangePassword) throw new AppError('PASSWORD_CHANGE_REQUIRED');
        return { permissions: ['*'], sessionId: null };
      }
      const key = await keys.authenticateId(standing.accountId, standing.id, standing.keyFingerprint);
      if (!allows(key.permissions, 'events.read')) throw new AppError('PERMISSION_DENIED', { permission: 'events.read' });
      return { permissions: key.permissions, sessionId: key.sessionId };
    },
  };
}

/** Authentication, which also lets in who brings a ticket instead of a credential, where a ticket opens: streams. */
export function admitTickets(
  authenticate: (route: AnyRoute, req: Request, res: Response) => Promise<Caller>,
  { tickets, ask }: { tickets: Tickets; ask: ReturnType<typeof createStanding>['ask'] },
): (route: AnyRoute, req: Request, res: Response) => Promise<Caller> {
  return async (route, req, res) => {
    if (route.id !== 'events.stream' && route.id !== 'events.socket') return authenticate(route, req, res);
    const ticket = pathAndQuery(req.url).query.get('ticket');
    // HEAD opens no stream, so it must not use the ticket up.
    if (ticket === null || req.method === 'HEAD' || req.get('authorization') || req.get('x-api-key'))
      return authenticate(route, req, res);
    res.locals['route'] = route.id;
    const grant = await tickets.redeem(ticket);
    const { permissions } = await ask(grant.standing);
    return {
      accountId: grant.standing.accountId,
      role: 'user',
      credential: { type: grant.standing.type, id: grant.standing.id, name: null },
      permissions,
      sessionId: grant.sessionId,
      isPasswordLogin: false,
      requestId: String(res.locals['requestId']),
      ip: req.ip ?? null,
      ticket: { types: grant.types, standing: grant.standing },
    };
  };
}
