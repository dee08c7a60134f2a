import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Database } from '../db/database.js';
import { readRows } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import { Account } from './account.entity.js';

/**
 * Links with which a person whose password is a one-time one chooses their own, without typing the one-time password. The terminal prints one at
 * the first start and after `npm run reset-admin`; it is never logged.
 *
 * The token of a link is a signature over the account, its password hash and the time at which the link ends. Nothing of it is stored, so nothing
 * that is stored opens the panel. The signature no longer fits once the account has another password: a link works once. It permits to choose
 * the password of that one account and nothing else.
 */
export interface FirstLinks {
  /** Returns the account of a token, with its secrets. Null: the token is wrong, has expired, or the account has its own password by now. */
  find(token: string): Promise<Account | null>;
}

/** Milliseconds. */
export const firstLinkTtlMs = 3_600_000;

type Secrets = Pick<Account, 'id' | 'passwordHash' | 'jwtSecret'>;

/** Returns the token of a link that works until `firstLinkTtlMs` after `now`. `secret` is that of the installation. */
export function makeFirstToken(secret: string, account: Secrets, now: Date): string {
  const expires = now.getTime() + firstLinkTtlMs;
  return `${account.id}.${expires.toString(36)}.${signatureOf(secret, account, expires)}`;
}

export function createFirstLinks(
  { database, clock }: { database: Database; clock: Clock },
  { secret }: { secret: string },
): FirstLinks {
  return {
    async find(token) {
      const [id = '', end = '', signature = '', ...more] = token.split('.');
      if (more.length > 0 || !/^[0-9a-f-]{36}$/.test(id) || !/^[0-9a-z]{1,12}$/.test(end)) return null;
      const [account] = await readRows(database.reader, Account, 'id = ?', [id], ['passwordHash', 'jwtSecret']);
      const expires = parseInt(end, 36);
      if (!account || !isSame(signature, signatureOf(secret, account, expires))) return null;
      const isUsable = account.mustChangePassword && account.isActive && clock.now().getTime() < expires;
      return isUsable ? account : null;
    },
  };
}

function signatureOf(secret: string, { id, passwordHash, jwtSecret }: Secrets, expires: number): string {
  const key = new Uint8Array(hkdfSync('sha256', secret, jwtSecret, 'chasqui first password', 32));
  return createHmac('sha256', key).update(`${id} ${expires} ${passwordHash}`).digest('base64url');
}

const isSame = (a: string, b: string): boolean => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
