import { randomBytes } from 'node:crypto';
import { AppError, newId, parseUrl } from '@chasqui/shared';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { Account } from '../accounts/account.entity.js';
import { passwordFingerprint } from '../accounts/browser-sessions.js';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import type { Caller } from '../accounts/caller.js';
import type { PanelSessions } from './panel-sessions.js';

/** The path under which the panel is mounted. */
export const root = '/admin';
export const cookieName = 'chasqui_panel';
export const themeCookie = 'chasqui_theme';
/** `auto`: no theme was chosen, and the operating system decides. */
export type Theme = 'light' | 'dark' | 'auto';

/** The person who is signed in to the panel, read from the database for each request. */
export interface Visitor {
  sessionId: string;
  account: Pick<Account, 'id' | 'username' | 'email' | 'role' | 'timezone' | 'mustChangePassword' | 'createdAt' | 'updatedAt'>;
  caller: Caller;
}

const visitors = new WeakMap<Request, Visitor>();
export const visitorOf = (req: Request): Visitor | null => visitors.get(req) ?? null;
/** Returns the signed-in person. Throws `UNAUTHENTICATED` without one. */
export function requireVisitor(req: Request): Visitor {
  const visitor = visitors.get(req);
  if (!visitor) throw new AppError('UNAUTHENTICATED', {}, 'Sign in to the panel.');
  return visitor;
}

export function cookieOf(req: Request, name: string): string | null {
  for (const part of (req.headers.cookie ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=');
    if (key === name) return value.join('=');
  }
  return null;
}
export function themeOf(req: Request): Theme {
  const chosen = cookieOf(req, themeCookie);
  return chosen === 'dark' || chosen === 'light' ? chosen : 'auto';
}

/** A hash that is stored with the panel session and is in no reply. */
export const fingerprintOf = passwordFingerprint;

/** Reads an account, including the password hash and the token secret that only the guard may use. */
export async function readAccount(database: Database, accountId: string): Promise<Account | null> {
  const [account = null] = await readRows(database.reader, Account, 'id = ?', [accountId], ['passwordHash', 'jwtSecret']);
  return account;
}

/**
 * Returns the person whom the cookie of a request belongs to. Null when the account may not use the panel now: it was deactivated, is no longer
 * staff, or has another password.
 */
export async function findVisitor(
  { database, sessions }: { database: Database; sessions: PanelSessions },
  req: Request,
  requestId: string,
): Promise<Visitor | null> {
  const token = cookieOf(req, cookieName);
  const session = token ? await sessions.find(token) : null;
  if (!session) return null;
  const account = await readAccount(database, session.accountId);
  if (!account?.isActive || account.role === 'user' || fingerprintOf(account) !== session.fingerprint) return null;
  return { sessionId: session.id, account, caller: callerOf(account, req, requestId) };
}

/** Returns the caller that the domains receive for a person at the panel. */
export function callerOf(account: Pick<Account, 'id' | 'role' | 'username'>, req: Request, requestId: string): Caller {
  return {
    accountId: account.id,
    role: account.role,
    credential: { type: 'panel', id: null, name: account.username },
    permissions: ['*'],
    sessionId: null,
    isPasswordLogin: true,
    requestId,
    ip: req.ip ?? null,
  };
}

export const requestIdOf = (res: Response): string => String(res.getHeader('x-request-id') ?? newId());

/** Finds the signed-in person of each request; `visitorOf` and `requireVisitor` return it. */
export function identifyVisitor(parts: { database: Database; sessions: PanelSessions }): RequestHandler {
  return (req, res, next) => {
    findVisitor(parts, req, requestIdOf(res))
      .then((visitor) => {
        if (visitor) visitors.set(req, visitor);
        next();
      })
      .catch(next);
  };
}

/**
 * Refuses requests that another site makes a browser send. A change must prove its origin; a read that returns data must not come from another
 * site; a page may be opened from anywhere. Browsers send Sec-Fetch-Site only to trustworthy origins. Origin decides where it is missing, as on
 * plain HTTP in a local network.
 */
export const refuseOtherSites: RequestHandler = (req, _res, next) => {
  const isRead = req.method === 'GET' || req.method === 'HEAD';
  const isPage = isRead && !/^\/(api|live)\//.test(req.path);
  if (isPage || isFromSameSite(req, isRead)) return next();
  next(new AppError('CSRF_REFUSED'));
};

function isFromSameSite(req: Request, isRead: boolean): boolean {
  const site = req.get('sec-fetch-site');
  if (site) return site === 'same-origin' || (isRead && site === 'none');
  const origin = req.get('origin');
  if (!origin) return isRead;
  const url = parseUrl(origin);
  return url !== null && url.host === req.get('host');
}

/** PostgreSQL cannot store U+0000 in a text, and AdminJS passes filters and ids from the URL to the database unchecked. */
export const refuseNul: RequestHandler = (req, _res, next) => {
  next(
    /%00|\0/.test(req.url)
      ? new AppError('MALFORMED_REQUEST', {}, 'The URL contains the character U+0000 (%00). Remove it.')
      : undefined,
  );
};

const nonces = new WeakMap<Response, string>();
export const nonceOf = (res: Response): string => nonces.get(res) ?? '';

/** Headers of every reply of the panel. Inline styles are allowed because AdminJS's components use them; inline scripts are not. */
export function setHeaders(_req: Request, res: Response, next: NextFunction): void {
  const nonce = randomBytes(16).toString('base64');
  nonces.set(res, nonce);
  res.set({
    'Content-Security-Policy': [
      `default-src 'none'`,
      `script-src 'self' 'nonce-${nonce}'`,
      `style-src 'self' 'unsafe-inline'`,
      `img-src 'self' data: blob:`,
      `media-src 'self'`,
      `font-src 'self'`,
      `connect-src 'self'`,
      `form-action 'self'`,
      `base-uri 'none'`,
      `frame-ancestors 'none'`,
    ].join('; '),
    'X-Frame-Options': 'DENY',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
  });
  next();
}
