import { allows, AppError, type AnyRoute } from '@chasqui/shared';
import { notesOf, pathAndQuery } from '@chasqui/shared/express';
import type { Request, Response } from 'express';
import { decodeJwt } from 'jose';
import type { DataSource } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import type { BrowserSessions } from '../accounts/browser-sessions.js';
import type { Caller } from '../accounts/caller.js';
import type { CheckCredential, CredentialRef } from '../accounts/credential-ref.js';
import { credentialOf } from '../accounts/credential.js';
import { secretDigestOf } from '../accounts/tokens.js';
import { readRows } from '../db/rows.js';
import type { Core } from '../core.js';
import type { Tickets } from './tickets.js';

/**
 * Refers to the credentials of connections that outlive their request, without their secrets, and checks whether they are still valid. Every
 * check reads the database, because another backend may have changed the credential.
 */
export interface StreamCredentials {
  /** Returns a reference to the credential of a request. Throws `UNAUTHENTICATED`. */
  of(caller: Caller, req: Request): CredentialRef;
  /** Returns what the credential permits now. Throws the error that a request with it would get. */
  check: CheckCredential;
}

interface CredentialParts {
  keys: Pick<ApiKeys, 'authenticateId'>;
  browser: Pick<BrowserSessions, 'exists'>;
}
type Context = Pick<Core, 'database' | 'clock'> & CredentialParts;

export function createStreamCredentials(core: Pick<Core, 'database' | 'clock'>, parts: CredentialParts): StreamCredentials {
  const context: Context = { ...core, ...parts };
  return { of: credentialRefOf, check: (ref) => check(context, ref) };
}

function credentialRefOf(caller: Caller, req: Request): CredentialRef {
  if (caller.ticket) return caller.ticket.credential;
  const { accountId, credential, keyFingerprint = null } = caller;
  const key = { accountId, type: 'key' as const, id: credential.id ?? '', keyFingerprint };
  if (credential.type === 'key') return { ...key, secret: null, until: null };
  // Closes: the account gets a new secret after the token was verified; with that one, a void token would make a good ticket.
  const { accountSecretDigest: secret } = caller;
  if (secret === undefined) throw new AppError('UNAUTHENTICATED');
  if (caller.browserSession) {
    const { id: browserSession } = caller.browserSession;
    return { ...key, type: 'token', id: accountId, secret, until: null, browserSession };
  }
  const { exp } = decodeJwt(credentialOf(req) ?? '');
  const token = { secret, until: exp === undefined ? null : exp * 1000 };
  // A token that was issued for a key depends on that key and permits nothing more.
  return caller.isPasswordLogin ? { ...key, ...token, type: 'token', id: accountId } : { ...key, ...token };
}

async function check(
  { database, clock, keys, browser }: Context,
  ref: CredentialRef,
): Promise<{ permissions: readonly string[]; sessionId: string | null }> {
  const owner = await accountWithSecret(database.reader, ref.accountId);
  if (!owner) throw new AppError('UNAUTHENTICATED');
  if (!owner.isActive) throw new AppError('ACCOUNT_INACTIVE');
  if (ref.secret !== null && ref.secret !== secretDigestOf(owner))
    throw new AppError('UNAUTHENTICATED', {}, 'The token is void. Log in again.');
  if (ref.until !== null && ref.until <= clock.now().getTime()) throw new AppError('TOKEN_EXPIRED');
  if (ref.browserSession !== undefined && !(await browser.exists(ref.browserSession)))
    throw new AppError('UNAUTHENTICATED', {}, 'The sign-in has ended. Sign in again.');
  if (ref.type === 'token') {
    if (owner.mustChangePassword) throw new AppError('PASSWORD_CHANGE_REQUIRED');
    return { permissions: ['*'], sessionId: null };
  }
  const key = await keys.authenticateId(ref.accountId, ref.id, ref.keyFingerprint);
  if (!allows(key.permissions, 'events.read')) throw new AppError('PERMISSION_DENIED', { permission: 'events.read' });
  return { permissions: key.permissions, sessionId: key.sessionId };
}

async function accountWithSecret(reader: DataSource, id: string): Promise<Account | null> {
  const [account = null] = await readRows(reader, Account, 'id = ?', [id], ['jwtSecret']);
  return account;
}

/** Extends authentication: on the routes of streams a ticket is accepted instead of a credential. */
export function admitTickets(
  authenticate: (route: AnyRoute, req: Request, res: Response) => Promise<Caller>,
  { tickets, checkCredential }: { tickets: Pick<Tickets, 'redeem'>; checkCredential: CheckCredential },
): (route: AnyRoute, req: Request, res: Response) => Promise<Caller> {
  return async (route, req, res) => {
    if (route.id !== 'events.stream' && route.id !== 'events.socket') return authenticate(route, req, res);
    const ticket = pathAndQuery(req.url).query.get('ticket');
    // HEAD opens no stream, so it must not use up the ticket.
    if (ticket === null || req.method === 'HEAD' || req.get('authorization') || req.get('x-api-key'))
      return authenticate(route, req, res);
    const grant = await tickets.redeem(ticket);
    notesOf(res).accountId = grant.credential.accountId;
    const { permissions } = await checkCredential(grant.credential);
    return {
      accountId: grant.credential.accountId,
      role: 'user',
      credential: { type: grant.credential.type, id: grant.credential.id, name: null },
      permissions,
      sessionId: grant.sessionId,
      isPasswordLogin: false,
      requestId: String(res.locals['requestId']),
      ip: req.ip ?? null,
      ticket: { types: grant.types, credential: grant.credential },
    };
  };
}
