import { AppError, parseProxyUrl, proxyUrl, type SessionProxyResource, type WorkerSettings } from '@chasqui/shared';
import type { Egress } from '@chasqui/shared/egress';
import type { EntityManager } from 'typeorm';
import type { Core } from '../core.js';
import { readRows, updateRows } from '../db/rows.js';
import { describeError } from '../failures/failures.js';
import type { Sealer } from '../lib/sealer.js';
import { Session } from './session.entity.js';

/** A proxy as a caller sets it. It replaces the earlier one as a whole, except for a password that is left out. */
export interface ProxyInput {
  url: string;
  username?: string | null | undefined;
  /** Absent: the stored password stays, if url and username are the same. Null: none. */
  password?: string | null | undefined;
  hasPassword?: boolean | undefined;
}

/**
 * The proxies of sessions: their form, and their passwords, which are sealed in a column of their own. The plain password leaves this module only for
 * the session's worker.
 */
export interface SessionProxies {
  /**
   * Checks a change and returns the setting, and the column `proxyPassword` if it changes. Throws `PROXY_INVALID`. A stored password never goes to
   * another address or user: who may change the setting could otherwise have it sent to a server of their own.
   */
  columnsOf(sessionId: string, current: SessionProxyResource | null, input: ProxyInput | null): ProxyColumns;
  /** Returns the proxy for the session's worker, with its password; null for none. Inside a transaction pass its manager. */
  open(session: Session, inside?: EntityManager): Promise<NonNullable<WorkerSettings['proxy']> | null>;
  /** Used by the job that seals data of another key again. */
  reseal: {
    /** Returns the next sessions after an id that have a password, with it. */
    page(after: string): Promise<Session[]>;
    /** Seals again what another key has sealed. Returns whether anything was written. */
    one(row: Session): Promise<boolean>;
  };
}

export interface ProxyColumns {
  proxy: SessionProxyResource | null;
  /** Sealed. Absent: unchanged. */
  proxyPassword?: string | null;
}

type ProxyCore = Pick<Core, 'database' | 'log' | 'report'>;

interface Context extends ProxyCore {
  sealer: Sealer;
  egress: Pick<Egress, 'checkHost'>;
}

/** The row that a sealed password is bound to: it cannot be opened in another one. */
const placeOf = (sessionId: string): string => `sessions.proxyPassword:${sessionId}`;

export function createSessionProxies(
  { database, log, report }: ProxyCore,
  { sealer, egress }: Pick<Context, 'sealer' | 'egress'>,
): SessionProxies {
  const context: Context = { database, log, report, sealer, egress };
  return {
    columnsOf: (sessionId, current, input) => columnsOf(context, sessionId, current, input),
    open: (session, inside) => open(context, session, inside),
    reseal: {
      page: (after) =>
        readRows(
          database.reader,
          Session,
          '"proxyPassword" IS NOT NULL AND id > ? ORDER BY id LIMIT 200',
          [after],
          ['proxyPassword'],
        ),
      one: (row) => reseal(context, row),
    },
  };
}

function columnsOf(
  { sealer, egress }: Context,
  sessionId: string,
  current: SessionProxyResource | null,
  input: ProxyInput | null,
): ProxyColumns {
  if (input === null) return { proxy: null, proxyPassword: null };
  const url = requireUrl(egress, input.url);
  const username = input.username ?? null;
  const password = input.password === '' ? null : input.password;
  requireCredentials(url, username, password);
  const isSame = current !== null && current.url === url && current.username === username;
  if (password === undefined && isSame) return { proxy: current };
  if (password === undefined && current?.hasPassword && username !== null)
    throw invalid('password', 'Send the password again: the stored one belongs to another address or user name.');
  const sealed = password ? sealer.seal(password, placeOf(sessionId)) : null;
  return { proxy: { url, username, hasPassword: sealed !== null }, proxyPassword: sealed };
}

/** Returns the address in its one spelling. No message repeats the input, which may contain a password by mistake. */
function requireUrl(egress: Context['egress'], text: string): string {
  const address = parseProxyUrl(text);
  if (!address) throw invalid('url');
  try {
    egress.checkHost(address.host, address.port);
  } catch (error) {
    throw error instanceof AppError ? invalid('url', error.message) : error;
  }
  return proxyUrl(address);
}

/** The longest user name and password of SOCKS 5, in bytes. */
const maxBytes = 255;

function requireCredentials(url: string, username: string | null, password: string | null | undefined): void {
  const isSocks = url.startsWith('socks');
  for (const [field, value] of [['username', username] as const, ['password', password ?? null] as const]) {
    if (value === null) continue;
    // These characters end a header, or a field of SOCKS.
    if (/[\0-\x1f\x7f]/.test(value)) throw invalid(field, `The ${field} of the proxy contains a control character.`);
    if (Buffer.byteLength(value) > maxBytes) throw invalid(field, `The ${field} of the proxy has more than ${maxBytes} bytes.`);
  }
  if (username === '') throw invalid('username', 'The username of the proxy is empty. Leave it out if there is none.');
  if (password && username === null) throw invalid('username', 'A password needs a username.');
  if (!isSocks && username?.includes(':')) throw invalid('username', 'A username of an HTTP proxy has no colon.');
  if (password && url.startsWith('socks4:')) throw invalid('password', 'SOCKS4 has no passwords. Use socks5.');
}

const invalid = (field: string, message?: string): AppError =>
  new AppError('PROXY_INVALID', { field: `settings.proxy.${field}` }, message);

/**
 * Reads the setting and the password in one row, so that a password is never sent to the address of another setting. A password that no key opens is
 * left out: the proxy then refuses the login, and the session does not connect without the proxy.
 */
async function open(
  { database, sealer, log, report }: Context,
  { id, settings }: Session,
  inside?: EntityManager,
): Promise<NonNullable<WorkerSettings['proxy']> | null> {
  if (!settings.proxy) return null;
  const [row] = await readRows(inside ?? database.reader, Session, 'id = ?', [id], ['proxyPassword']);
  const proxy = row?.settings.proxy;
  if (!proxy) return null;
  const { url, username } = proxy;
  if (row.proxyPassword === null) return { url, username, password: null };
  try {
    return { url, username, password: sealer.open(row.proxyPassword, placeOf(id)) };
  } catch (error) {
    log.error('The password of a session’s proxy cannot be opened: its key is not in ENCRYPTION_KEYS.', { sessionId: id });
    report({ kind: 'reseal', subject: id, sessionId: id, ...describeError(error) });
    return { url, username, password: null };
  }
}

async function reseal({ database, sealer }: Context, { id, proxyPassword: sealed }: Session): Promise<boolean> {
  if (sealed === null || !sealer.isStale(sealed)) return false;
  const place = placeOf(id);
  const proxyPassword = sealer.seal(sealer.open(sealed, place), place);
  // A password that was changed meanwhile is newer, and already sealed with the first key.
  const where = { id, proxyPassword: sealed };
  return (await database.write.run((tx) => updateRows(tx, Session, where, { proxyPassword }))) > 0;
}
