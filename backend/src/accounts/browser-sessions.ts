import { createHash, randomBytes } from 'node:crypto';
import { AppError, parseUrl } from '@chasqui/shared';
import type { CookieOptions, Request, Response } from 'express';
import { LessThan } from 'typeorm';
import { PanelSession } from '../admin/panel.entity.js';
import type { Core } from '../core.js';
import { deleteRows, insertRow, readRows, updateRows } from '../db/rows.js';
import type { Account } from './account.entity.js';

/**
 * Sign-ins of customers in a browser: a cookie in place of a token, which no script can read. It opens the API with the rights of the account's owner,
 * and no route for staff. The cookie has 256 random bits and the table only their SHA-256. A session ends with the password, with a log-out
 * everywhere, when the account is deactivated, after eight hours without use, and after seven days.
 */
export interface BrowserSessions {
  /**
   * Opens a session, ends the one whose cookie the request has, and sets the new cookie. `account` was read with its secrets. Throws `CSRF_REFUSED`
   * for a request of another site.
   */
  open(req: Request, res: Response, account: Account): Promise<BrowserSession>;
  /**
   * Returns the session of a request's cookie, and extends it; null without a cookie. Throws `UNAUTHENTICATED` if it has ended, `CSRF_REFUSED` if
   * the request may have been caused by another site, and `CONFLICTING_CREDENTIALS` for two cookies.
   */
  find(req: Request): Promise<BrowserSession | null>;
  /** Whether a session exists: for streams, which outlive their request. */
  exists(id: string): Promise<boolean>;
  /** Ends the session of a request and removes the cookie. */
  close(req: Request, res: Response, id: string): Promise<void>;
}

export interface BrowserSession {
  id: string;
  accountId: string;
  /** The fingerprint of the password at the sign-in. With another one the session is void. */
  fingerprint: string;
  expiresAt: Date;
}

export const cookieName = 'chasqui_session';
const hour = 3_600_000;
const idleMs = 8 * hour;
const maxAgeMs = 7 * 24 * hour;
/** A use is stored at most this often. */
const touchMs = 10 * 60_000;

interface StoredData {
  openedAt: number;
  fingerprint: string;
  /** Tells these sessions from the panel's, which are in the same table. */
  kind: 'browser';
}

type Context = Pick<Core, 'database' | 'clock'> & { secureCookies: boolean };

export function createBrowserSessions(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { secureCookies }: { secureCookies: boolean },
): BrowserSessions {
  const context: Context = { database, clock, secureCookies };
  return {
    open: (req, res, account) => open(context, req, res, account),
    find: (req) => find(context, req),
    exists: async (id) => (await readRow(context, id)) !== null,
    close: async (req, res, id) => {
      await database.write.run((tx) => deleteRows(tx, PanelSession, { id }));
      res.clearCookie(cookieName, optionsOf(context, req));
    },
  };
}

/** A hash that is stored with the session. It changes with the password, and when the account is logged out everywhere. */
export const passwordFingerprint = ({ passwordHash, jwtSecret }: Pick<Account, 'passwordHash' | 'jwtSecret'>): string =>
  createHash('sha256').update(`${passwordHash} ${jwtSecret}`).digest('hex').slice(0, 32);

const optionsOf = ({ secureCookies }: Context, req: Request): CookieOptions => ({
  httpOnly: true,
  sameSite: 'strict',
  secure: secureCookies || req.secure,
  path: '/api/v1',
});

/** A prefix, so that the value of the panel's cookie is no session here, nor the other way round. */
const idOf = (token: string): string => createHash('sha256').update(`browser ${token}`).digest('hex');

async function open(context: Context, req: Request, res: Response, account: Account): Promise<BrowserSession> {
  const { database, clock } = context;
  requireSameSite(req, true);
  const previous = tokensIn(req).map(idOf);
  const token = randomBytes(32).toString('base64url');
  const now = clock.now();
  const expiresAt = new Date(now.getTime() + idleMs);
  const fingerprint = passwordFingerprint(account);
  const data: StoredData = { openedAt: now.getTime(), fingerprint, kind: 'browser' };
  await database.write.run(async (tx) => {
    await deleteRows(tx, PanelSession, { expiresAt: LessThan(now) });
    for (const id of previous) await deleteRows(tx, PanelSession, { id });
    await insertRow(tx, PanelSession, { id: idOf(token), accountId: account.id, data: JSON.stringify(data), expiresAt });
  });
  res.cookie(cookieName, token, { ...optionsOf(context, req), maxAge: maxAgeMs });
  return { id: idOf(token), accountId: account.id, fingerprint, expiresAt };
}

async function find(context: Context, req: Request): Promise<BrowserSession | null> {
  const tokens = tokensIn(req);
  if (tokens.length === 0) return null;
  // A neighbouring site under the same domain may set a second cookie with a longer path, which browsers send first.
  if (tokens.length > 1) throw new AppError('CONFLICTING_CREDENTIALS');
  requireSameSite(req, false);
  const id = idOf(tokens[0]!);
  const row = await readRow(context, id);
  if (!row?.accountId) throw new AppError('UNAUTHENTICATED', {}, 'The sign-in has ended. Sign in again.');
  const { openedAt, fingerprint } = JSON.parse(row.data) as StoredData;
  const now = context.clock.now().getTime();
  const until = Math.min(now + idleMs, openedAt + maxAgeMs);
  if (until - row.expiresAt.getTime() > touchMs)
    await context.database.write.run((tx) => updateRows(tx, PanelSession, { id }, { expiresAt: new Date(until) }));
  return { id, accountId: row.accountId, fingerprint, expiresAt: new Date(until) };
}

async function readRow({ database, clock }: Context, id: string): Promise<PanelSession | null> {
  const [row = null] = await readRows(database.reader, PanelSession, 'id = ? AND "expiresAt" > ?', [id, clock.now()], ['data']);
  return row;
}

/** The different values of the cookie in a request. */
function tokensIn(req: Request): string[] {
  const found = (req.headers.cookie ?? '').split(';').flatMap((part) => {
    const [name, ...value] = part.trim().split('=');
    return name === cookieName ? [value.join('=')] : [];
  });
  return [...new Set(found)].filter((token) => token !== '');
}

/**
 * Refuses requests that another site makes a browser send: `SameSite=Strict` does not stop other ports and subdomains. A change must prove its
 * origin. A program that signs in has no origin, and sends no cookie that it was not given.
 */
function requireSameSite(req: Request, isSignIn: boolean): void {
  const isRead = req.method === 'GET' || req.method === 'HEAD';
  const site = req.get('sec-fetch-site');
  const origin = req.get('origin');
  if (site !== undefined && site !== 'same-origin' && !(isRead && site === 'none')) throw new AppError('CSRF_REFUSED');
  if (origin !== undefined && parseUrl(origin)?.host !== req.get('host')) throw new AppError('CSRF_REFUSED');
  if (site === undefined && origin === undefined && !isRead && !isSignIn) throw new AppError('CSRF_REFUSED');
}
