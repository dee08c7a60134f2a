import { createAccounts, type Accounts } from '../accounts/accounts.js';
import { createBrowserSessions } from '../accounts/browser-sessions.js';
import { createApiKeys } from '../accounts/api-keys.js';
import { createKeyRequests } from '../accounts/key-requests.js';
import { createKeyUsage } from '../accounts/key-usage.js';
import { createPlans } from '../accounts/plans.js';
import { createTokens } from '../accounts/tokens.js';
import { createContacts } from '../contacts/contacts.js';
import { createStoredWindows } from '../db/stored-windows.js';
import { createRequestLimits } from '../http/request-limits.js';
import { createCredentialChanges } from '../lib/credential-changes.js';
import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import { createLocalWindows, type Windows } from '../lib/windows.js';
import { createOptOuts } from '../opt-outs/opt-outs.js';
import { limitFigures } from '../options.js';
import { createStorageOf } from '../sessions/storage-mode.js';
import type { Foundation } from './foundation.js';
import type { Overrides } from './overrides.js';

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type Access = Awaited<ReturnType<typeof createAccess>>;

/** Builds what decides who may call and how often (accounts, keys, tokens, plans, request limits), and the contacts. */
export async function createAccess(core: Foundation, over: Overrides) {
  const { config, database, clock, log, lifecycle } = core;
  const credentials = createCredentialChanges();
  const keys = createApiKeys(core, {
    credentials,
    rules: {
      maxPerSession: config.MAX_KEYS_PER_SESSION,
      expiryDays: config.KEY_EXPIRY_DAYS,
      autoRotation: config.KEY_AUTO_ROTATION,
      noticeDays: config.KEY_EXPIRY_NOTICE_DAYS,
    },
  });
  const keyUsage = createKeyUsage(core);
  // If the database is unavailable, these counts are lost, and nothing else.
  lifecycle.add('key usage', { phase: 'connections', stop: () => keyUsage.flush().catch(() => undefined) });
  const keyRequests = createKeyRequests(core);
  lifecycle.add('requests of keys', { phase: 'connections', stop: () => keyRequests.flush().catch(() => undefined) });
  const plans = createPlans(core);
  credentials.subscribe(plans.forget);
  const tokens = createTokens(core, { secret: config.jwtSecret, hours: config.JWT_EXPIRES_IN, credentials });
  const storageOf = createStorageOf({ installation: config.MESSAGE_CONTENT_STORAGE, limitsOf: plans.limitsOf });
  const contacts = createContacts(core, { storageOf });
  const optOuts = createOptOuts(core, { contacts, sealer: core.sealer });

  const windows = await windowsOf(config.REDIS_URL, clock, log);
  lifecycle.add('request limits', { phase: 'connections', stop: () => windows.close() });
  // Without Redis each backend counts requests by itself; failed logins are rare and are shared through the database then.
  const loginWindows =
    config.REDIS_URL || database.dialect === 'sqlite' ? windows : createStoredWindows({ database, log, clock });
  const accounts = createAccounts(core, {
    keys,
    credentials,
    windows: loginWindows,
    timezone: config.QUOTA_TIMEZONE,
    secret: config.jwtSecret,
    forgetNames: contacts.forgetNames,
  });
  lifecycle.add('first administrator', { phase: 'data', start: () => ensureFirstAdmin(core, accounts, over) });
  const browser = createBrowserSessions(core, { secureCookies: config.SECURE_COOKIES });
  const limits = createRequestLimits(windows, limitFigures(config), keyUsage);
  return {
    credentials,
    keys,
    keyUsage,
    keyRequests,
    plans,
    tokens,
    storageOf,
    contacts,
    optOuts,
    windows,
    accounts,
    browser,
    limits,
  };
}

const ensureFirstAdmin = ({ config }: Foundation, accounts: Accounts, over: Overrides): Promise<void> =>
  accounts.ensureFirstAdmin({
    email: config.ADMIN_EMAIL,
    password: config.ADMIN_PASSWORD,
    maxSessions: config.MAX_SESSIONS,
    show: over.showFirstAdminPassword ?? (() => undefined),
  });

/** The client of Redis takes a tenth of the time in which the modules load: it is loaded only where Redis is used. */
async function windowsOf(url: string | undefined, clock: Clock, log: Log): Promise<Windows> {
  if (!url) return createLocalWindows(clock);
  const { createSharedWindows } = await import('../lib/shared-windows.js');
  return createSharedWindows({ url, clock, log });
}
