import { AppError, type ErrorCode } from '@chasqui/shared';
import type { CheckCredential, CredentialRef } from '../accounts/credential-ref.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Reading } from './log.js';

/** The connections that depend on credentials, and the checks that end those whose credential is no longer valid. */
export interface Connections {
  log: Log;
  checkCredential: CheckCredential;
  followers: Set<Follower>;
  /** Connections that may follow nothing for a while, such as an idle WebSocket. */
  idle: Set<Connection>;
  /** The rounds of checks that run or are planned. */
  checking: Promise<void>;
  /** The accounts whose credentials the next round checks. Null while no round is planned. */
  planned: 'all' | Set<string> | null;
}

/** Why a stream ended. `TOO_SLOW` means that the reader did not read; it may reconnect at once. */
export type EndCode = ErrorCode | 'TOO_SLOW';

/** A connection that depends on a credential. It is ended when the credential is no longer valid. */
export interface Connection {
  credential: CredentialRef;
  end(code: EndCode, message?: string): void;
}
/** A connection that waits for events. */
export interface Follower extends Connection {
  reading: Reading;
  wake(): void;
}

export const noConnections = (log: Log, checkCredential: CheckCredential): Connections => ({
  log,
  checkCredential,
  followers: new Set(),
  idle: new Set(),
  checking: Promise.resolve(),
  planned: null,
});

/** Isolates a reader's error, so that the others still receive the event or the end of their credential. */
export function isolated({ log }: Connections, work: () => void): void {
  try {
    work();
  } catch (error) {
    log.error('A stream failed; its reader resumes it.', errorFields(error));
  }
}

/**
 * Checks every credential of the account, or of all accounts, once, however many connections depend on it. One round runs at a time; changes
 * meanwhile are checked by one more round.
 */
export function check(context: Connections, accountId: string | null): void {
  const isPlanned = context.planned !== null;
  if (accountId === null) context.planned = 'all';
  else if (context.planned !== 'all') context.planned = (context.planned ?? new Set()).add(accountId);
  if (!isPlanned) context.checking = context.checking.then(() => checkPlanned(context));
}

async function checkPlanned(context: Connections): Promise<void> {
  const { planned, followers, idle } = context;
  context.planned = null;
  const groups = new Map<string, Connection[]>();
  for (const connection of [...followers, ...idle]) {
    if (planned !== 'all' && !planned?.has(connection.credential.accountId)) continue;
    const key = keyOf(connection.credential);
    groups.set(key, [...(groups.get(key) ?? []), connection]);
  }
  await Promise.all([...groups.values()].map((group) => checkGroup(context, group)));
}

/** Checks the one credential of these connections. Never rejects: a chain of rounds that was rejected once would never check again. */
export async function checkGroup(context: Connections, group: Connection[]): Promise<void> {
  try {
    const { permissions } = await context.checkCredential(group[0]!.credential);
    for (const connection of group) if (isFollower(connection)) connection.reading = { ...connection.reading, permissions };
  } catch (error) {
    if (error instanceof AppError)
      for (const connection of group) isolated(context, () => connection.end(error.code, error.message));
    else context.log.warn('A stream’s credential could not be checked; the check is retried.', errorFields(error));
  }
}

/** Connections with one key depend on one credential. */
export const keyOf = ({ type, id, secret, keyFingerprint }: CredentialRef): string =>
  `${type} ${id} ${secret ?? ''} ${keyFingerprint ?? ''}`;

const isFollower = (connection: Connection): connection is Follower => 'reading' in connection;
