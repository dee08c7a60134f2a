import { AppError, findUnfit, isTimezone } from '@chasqui/shared';
import express, { type CookieOptions, type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import { callerOf, cookieName, requestIdOf, root } from './guard.js';
import { plainPage } from './html.js';
import { refuseOtherBodies, type LoginParts } from './login.js';
import { minPasswordLength, passwordPage, timezoneToChoose, unknownTimezone } from './password-page.js';

const firstForm = z.object({
  token: z.string().max(200),
  next: z.string().max(1024),
  repeat: z.string().max(1024),
  timezone: z.string().trim().max(64).optional(),
});
const path = `${root}/first`;

/**
 * Mounts the page behind the link of the first start and of `reset-admin` (accounts/first-link.ts): a person chooses a password and is signed in.
 * Opening the link changes nothing, so that a program that looks at links does not use it up.
 */
export function mountFirstPassword(router: Router, parts: LoginParts, cookie: CookieOptions): void {
  const form = express.urlencoded({ extended: false, limit: '8kb', parameterLimit: 8 });
  router.get('/first', (req, res, next) => {
    showForm(parts, req, res).catch(next);
  });
  router.post('/first', refuseOtherBodies, form, (req, res, next) => {
    choosePassword(parts, cookie, req, res).catch(next);
  });
}

async function showForm({ verbs }: LoginParts, req: Request, res: Response): Promise<void> {
  const token = typeof req.query['token'] === 'string' ? req.query['token'] : '';
  await answered(req, res, async () => {
    const account = await verbs.auth.readFirstLink(token, requestOf(req, res));
    res.send(formPage(req, res, { token, username: account.username, timezone: timezoneToChoose(account), message: null }));
  });
}

async function choosePassword(
  { sessions, verbs }: LoginParts,
  cookie: CookieOptions,
  req: Request,
  res: Response,
): Promise<void> {
  const input = firstForm.safeParse(req.body);
  if (!input.success || findUnfit(input.data)) return void res.status(422).send(expiredPage(req));
  const { token, next, repeat, timezone } = input.data;
  await answered(req, res, async () => {
    const found = await verbs.auth.readFirstLink(token, requestOf(req, res));
    const offered = timezoneToChoose(found);
    const chosen = offered === null ? null : (timezone ?? offered);
    const refuse = (message: string): void =>
      void res.status(422).send(formPage(req, res, { token, username: found.username, timezone: chosen, message }));
    if (chosen !== null && !isTimezone(chosen)) return refuse(unknownTimezone);
    if (next !== repeat) return refuse('The passwords differ. Type the same one twice.');
    if (next.length < minPasswordLength) return refuse(`The password needs at least ${minPasswordLength} characters.`);
    const { account, fingerprint } = await verbs.auth.useFirstLink(token, next, requestOf(req, res));
    const caller = callerOf(account, req, requestIdOf(res));
    if (chosen !== null && chosen !== offered) await verbs.accounts.setTimezone(caller, account.id, chosen);
    await sessions.closeAll(account.id);
    // Closes: the password is replaced again before the session opens. The session is void then: it has the fingerprint of this password.
    const session = await sessions.open(account.id, fingerprint);
    await verbs.auth.recordLogin(caller);
    res.cookie(cookieName, session, cookie).redirect(303, root);
  });
}

/** Answers with the page of a link that does not work where that is the error. */
async function answered(req: Request, res: Response, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof AppError) || !['INVALID_CREDENTIALS', 'RATE_LIMITED'].includes(error.code)) throw error;
    const { retryAfterSeconds } = error.details;
    if (typeof retryAfterSeconds === 'number') res.set('Retry-After', String(retryAfterSeconds));
    res.status(error.code === 'RATE_LIMITED' ? 429 : 410).send(expiredPage(req, error.code === 'RATE_LIMITED'));
  }
}

const requestOf = (req: Request, res: Response): { ip: string | null; requestId: string } => ({
  ip: req.ip ?? null,
  requestId: requestIdOf(res),
});

const formPage = (
  req: Request,
  res: Response,
  { token, username, timezone, message }: { token: string; username: string; timezone: string | null; message: string | null },
): string =>
  passwordPage(req, res, {
    title: 'Choose a password',
    lead: `Welcome. You sign in as ${username} from now on, with the password that you choose here.`,
    action: path,
    hidden: { token },
    current: null,
    timezone,
    message,
    below: '',
  });

const expiredPage = (req: Request, isLimited = false): string =>
  plainPage(
    req,
    'This link does not work',
    `<h1>This link does not work</h1>
    <p class="lead">${
      isLimited
        ? 'Too many attempts. Wait a few minutes and try again.'
        : 'It was used already, or it is older than an hour. If you have a password, sign in with it.'
    }</p>
    <p><a href="${root}/login">Sign in</a></p>
    <p class="hint">For a new link run <code>npm run reset-admin</code> on the machine of the server.</p>`,
  );
