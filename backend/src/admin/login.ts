import { AppError, findUnfit, isTimezone } from '@chasqui/shared';
import express, { type CookieOptions, type NextFunction, type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import type { Database } from '../db/database.js';
import { callerOf, cookieName, fingerprintOf, readAccount, requestIdOf, root, visitorOf, type Visitor } from './guard.js';
import { escapeHtml } from '../lib/escape-html.js';
import { plainPage } from './html.js';
import { minPasswordLength, passwordPage, timezoneToChoose, unknownTimezone } from './password-page.js';
import type { PanelSessions } from './panel-sessions.js';
import type { PanelVerbs } from './verbs.js';

export interface LoginParts {
  database: Database;
  sessions: PanelSessions;
  verbs: Pick<PanelVerbs, 'auth' | 'accounts'>;
  secureCookies: boolean;
}

const form = express.urlencoded({ extended: false, limit: '8kb', parameterLimit: 8 });
const loginForm = z.object({ login: z.string().min(1).max(254), password: z.string().min(1).max(1024) });
const passwordForm = z.object({
  current: z.string().max(1024).default(''),
  next: z.string().max(1024),
  repeat: z.string().max(1024),
  timezone: z.string().trim().max(64).optional(),
});

/** The options of the cookie of a panel session. */
export const cookieOptions = (secure: boolean): CookieOptions => ({ httpOnly: true, sameSite: 'strict', secure, path: root });

/** Mounts login, logout and the password page: the only ones that work before a login, or while the password is a one-time one. */
export function mountLogin(router: Router, parts: LoginParts): void {
  const cookie = cookieOptions(parts.secureCookies);

  router.get('/login', (req, res) => {
    if (visitorOf(req)) return res.redirect(303, root);
    res.send(loginPage(req, null, ''));
  });
  router.post('/login', refuseOtherBodies, form, (req, res, next) => {
    signIn(parts, cookie, req, res).catch(next);
  });
  router.post('/logout', (req, res, next) => {
    signOut(parts, cookie, req, res).catch(next);
  });
  router.get('/logout', (_req, res) => res.redirect(303, root));
  router.get('/password', (req, res) => {
    const visitor = visitorOf(req);
    if (!visitor) return res.redirect(303, `${root}/login`);
    res.send(changePage(req, res, null, timezoneOffered(visitor)));
  });
  router.post('/password', refuseOtherBodies, redirectToLogin, form, (req, res, next) => {
    changePassword(parts, cookie, req, res).catch(next);
  });
}

/** Refuses bodies that are not simple forms: a multipart body could write a file to the disk before its sender has signed in. */
export function refuseOtherBodies(req: Request, _res: Response, next: NextFunction): void {
  next(req.is('application/x-www-form-urlencoded') ? undefined : new AppError('UNSUPPORTED_MEDIA_TYPE', {}, 'Use the form.'));
}

function redirectToLogin(req: Request, res: Response, next: NextFunction): void {
  if (visitorOf(req)) next();
  else res.redirect(303, `${root}/login`);
}

async function signIn(parts: LoginParts, cookie: CookieOptions, req: Request, res: Response): Promise<void> {
  const input = loginForm.safeParse(req.body);
  const login = input.success ? input.data.login.trim() : '';
  const refuse = (status: number, message: string) => void res.status(status).send(loginPage(req, message, login));
  if (!input.success || findUnfit(input.data)) return refuse(422, 'Enter your name or e-mail address and your password.');
  try {
    const { accountId, fingerprint } = await parts.verbs.auth.signIn({
      login,
      password: input.data.password,
      ip: req.ip ?? null,
      requestId: requestIdOf(res),
    });
    const account = await readAccount(parts.database, accountId);
    if (!account?.isActive) return refuse(403, 'This account is deactivated. Ask your operator.');
    if (account.role === 'user')
      return refuse(403, 'This panel is for staff. Your account works with the API; ask an admin if you need more.');
    // Closes: the password is replaced after it was verified.
    if (fingerprint !== fingerprintOf(account)) throw new AppError('INVALID_CREDENTIALS');
    const previous = visitorOf(req);
    if (previous) await parts.sessions.close(previous.sessionId);
    const token = await parts.sessions.open(account.id, fingerprint);
    await parts.verbs.auth.recordLogin(callerOf(account, req, requestIdOf(res)));
    res.cookie(cookieName, token, cookie).redirect(303, account.mustChangePassword ? `${root}/password` : root);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (typeof error.details['retryAfterSeconds'] === 'number')
      res.set('Retry-After', String(error.details['retryAfterSeconds']));
    refuse(error.status, sentences[error.code] ?? error.message);
  }
}

const sentences: Partial<Record<string, string>> = {
  INVALID_CREDENTIALS: 'The name or the password is wrong. Check both and try again.',
  RATE_LIMITED: 'Too many attempts. Wait a few minutes and try again.',
  ACCOUNT_INACTIVE: 'This account is deactivated. Ask your operator.',
};

async function signOut({ sessions, verbs }: LoginParts, cookie: CookieOptions, req: Request, res: Response): Promise<void> {
  const visitor = visitorOf(req);
  if (visitor) {
    await sessions.close(visitor.sessionId);
    await verbs.auth.recordLogout(visitor.caller);
  }
  res.clearCookie(cookieName, cookie).redirect(303, `${root}/login`);
}

async function changePassword(parts: LoginParts, cookie: CookieOptions, req: Request, res: Response): Promise<void> {
  const visitor = visitorOf(req)!;
  const input = passwordForm.safeParse(req.body);
  const must = visitor.account.mustChangePassword;
  const offered = timezoneOffered(visitor);
  const chosen = offered === null ? null : (input.data?.timezone ?? offered);
  const refuse = (status: number, message: string) => void res.status(status).send(changePage(req, res, message, chosen));
  if (!input.success || findUnfit(input.data) || (!must && input.data.current === '')) return refuse(422, 'Fill in all fields.');
  const { current, next, repeat } = input.data;
  if (chosen !== null && !isTimezone(chosen)) return refuse(422, unknownTimezone);
  if (next !== repeat) return refuse(422, 'The new passwords differ. Type the same one twice.');
  if (next.length < minPasswordLength) return refuse(422, `The new password needs at least ${minPasswordLength} characters.`);
  if (!must && next === current) return refuse(422, 'Choose a password that differs from the current one.');
  let fingerprint: string;
  try {
    ({ fingerprint } = must
      ? await parts.verbs.auth.replaceOneTimePassword(visitor.caller, next)
      : await parts.verbs.auth.changePassword(visitor.caller, { current, next }));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return refuse(error.status, error.code === 'INVALID_CREDENTIALS' ? 'The current password is wrong.' : error.message);
  }
  if (chosen !== null && chosen !== offered) await parts.verbs.accounts.setTimezone(visitor.caller, visitor.account.id, chosen);
  await parts.sessions.closeAll(visitor.account.id);
  // Closes: the password is replaced again before the session opens. The session is void then, because it has the fingerprint of this password.
  const token = await parts.sessions.open(visitor.account.id, fingerprint);
  res.cookie(cookieName, token, cookie).redirect(303, root);
}

/** The time zone that the password page offers. Null: the account has its zone. */
const timezoneOffered = ({ account }: Visitor): string | null => (account.mustChangePassword ? timezoneToChoose(account) : null);

const alert = (message: string | null): string => (message ? `<p class="alert" role="alert">${escapeHtml(message)}</p>` : '');

function loginPage(req: Request, message: string | null, login: string): string {
  return plainPage(
    req,
    'Sign in',
    `<h1>Chasqui</h1>
    <p class="lead">A message handed over is a message that arrives.</p>
    ${alert(message)}
    <form method="post" action="${root}/login">
      <label for="login">Name or e-mail address</label>
      <input id="login" name="login" value="${escapeHtml(login)}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="254"${login ? '' : ' autofocus'}>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024"${login ? ' autofocus' : ''}>
      <button type="submit">Sign in</button>
    </form>
    <p class="hint">First start? The server’s console output has a link to choose your password.</p>`,
  );
}

/** A person who has just signed in with a one-time password is not asked for it again. */
const changePage = (req: Request, res: Response, message: string | null, timezone: string | null): string => {
  const must = visitorOf(req)?.account.mustChangePassword ?? false;
  const signOut = `<form method="post" action="${root}/logout"><button class="quiet" type="submit">Sign out</button></form>`;
  return passwordPage(req, res, {
    title: must ? 'Choose your own password' : 'Change your password',
    lead: must ? 'You signed in with a one-time password. Choose your own to go on.' : 'You will be signed out everywhere else.',
    action: `${root}/password`,
    current: must ? null : 'Current password',
    timezone,
    message,
    below: signOut + (must ? '' : `<p class="hint"><a href="${root}">Back to the panel</a></p>`),
  });
};
