import { createHash } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { countedAddress } from '../lib/client-address.js';
import type { Clock } from '../lib/clock.js';
import { createLocalWindows, type Counted, type Windows } from '../lib/windows.js';

const windowMs = 15 * 60_000;
/** Failed logins within the window: of one account from one address, and of one address over all accounts. */
const limits = { account: 10, address: 30 };

/**
 * Limits failed logins: 10 for one account from one address and 30 for one address, in 15 minutes, over all backends that share `windows`.
 *
 * An attempt is counted before its password is verified and refunded when the password was right. So however many come at once, no more
 * passwords are verified than the limit allows. When a limit is used up by attempts that are still being verified, the next one waits for
 * them instead of being refused: many right logins at once all succeed.
 *
 * Failures from one address never lock an account for another address: otherwise any stranger could lock its owner out.
 *
 * A reset password ends the lock: the failures before it were of a password that no longer counts. A reset may come from another process, so
 * it is looked for when an attempt is about to be refused. Each process forgets each window once for a reset: a caller that keeps guessing after
 * it gets one more round, not one with every attempt.
 */
export interface LoginLimit {
  /** Counts an attempt. Throws `RATE_LIMITED` when too many have failed. Exactly one of the verbs of the result must be called. */
  begin(login: string, ip: string | null): Promise<LoginAttempt>;
}

/** One login between the moment it is counted and the moment its outcome is known. */
export interface LoginAttempt {
  /** The password was right: the attempt does not count, and the account's failures from this address are forgotten. */
  succeeded(): Promise<void>;
  /** The password was not verified, because something else failed: the attempt does not count. */
  cancelled(): Promise<void>;
  /** The password was wrong: the attempt counts. */
  failed(): void;
}

export interface LoginLimitOptions {
  clock: Pick<Clock, 'monotonic'>;
  /** Returns the id of the latest reset of this account's password by another person, at most `withinMs` ago. Null: there was none. */
  findReset: (login: string, withinMs: number) => Promise<string | null>;
}

interface Context extends Pick<LoginLimitOptions, 'findReset'> {
  windows: Windows;
  /** The attempts of this process, by window. */
  gates: Map<string, Gate>;
  /** Allows one count for each window and reset: what this process has forgotten already. */
  forgotten: Windows;
  /** Running queries for resets, by login. */
  lookups: Map<string, Promise<string | null>>;
}

/** The attempts of this process that belong to one window. */
interface Gate {
  /** How many are being counted or verified. */
  active: number;
  waiting: (() => void)[];
  counting: Set<Promise<Counted>>;
  verifying: Set<Promise<void>>;
}

export function createLoginLimit(windows: Windows, { clock, findReset }: LoginLimitOptions): LoginLimit {
  const context: Context = {
    windows,
    findReset,
    gates: new Map(),
    forgotten: createLocalWindows(clock),
    lookups: new Map(),
  };
  return { begin: (login, ip) => begin(context, login, ip) };
}

async function begin(context: Context, login: string, ip: string | null): Promise<LoginAttempt> {
  const { windows } = context;
  const address = ip === null ? 'unknown' : countedAddress(ip);
  const byAddress = nameOf('address', address);
  const byAccount = nameOf('account', `${login.toLowerCase()} ${address}`);
  const endAddress = await countUnlessReset(context, byAddress, limits.address, login);
  let endAccount: () => void;
  try {
    endAccount = await countUnlessReset(context, byAccount, limits.account, login);
  } catch (error) {
    await windows.refund(byAddress).finally(endAddress);
    throw error;
  }
  const end = (): void => {
    endAccount();
    endAddress();
  };
  const settle = async (change: () => Promise<void>): Promise<void> => {
    try {
      await windows.refund(byAddress);
      await change();
    } finally {
      end();
    }
  };
  return {
    succeeded: () => settle(() => windows.forget(byAccount, windowMs)),
    cancelled: () => settle(() => windows.refund(byAccount)),
    failed: end,
  };
}

/** Counts as `countAttempt` does. If that is refused and the password was reset since, forgets the earlier counts, once. */
async function countUnlessReset(context: Context, name: string, limit: number, login: string): Promise<() => void> {
  try {
    return await countAttempt(context, name, limit);
  } catch (error) {
    if (!(error instanceof AppError) || !(await mayForget(context, name, login))) throw error;
    await context.windows.forget(name, windowMs);
    return countAttempt(context, name, limit);
  }
}

async function mayForget(context: Context, name: string, login: string): Promise<boolean> {
  const reset = await lookForReset(context, login.toLowerCase());
  return reset !== null && (await context.forgotten.count(`${name} ${reset}`, 1, 2 * windowMs)).isAllowed;
}

/** One query at a time for each login: a flood of refused attempts must not become a flood of queries. */
function lookForReset({ lookups, findReset }: Context, login: string): Promise<string | null> {
  const running = lookups.get(login);
  if (running) return running;
  const lookup = findReset(login, windowMs).finally(() => lookups.delete(login));
  lookups.set(login, lookup);
  return lookup;
}

/** Counts an attempt. Returns what to call once it was verified. Throws when the limit is used up by attempts that failed. */
async function countAttempt(context: Context, name: string, limit: number): Promise<() => void> {
  const { gate, leave } = await enter(context, name, limit);
  try {
    for (;;) {
      const counting = context.windows.count(name, limit, windowMs);
      gate.counting.add(counting);
      let counted: Counted;
      try {
        counted = await counting;
        if (counted.isAllowed) return beginVerifying(gate, leave);
      } finally {
        gate.counting.delete(counting);
      }
      if (gate.verifying.size === 0) {
        // An attempt that was counted before this one may not have received its result yet.
        await Promise.allSettled(gate.counting);
        await new Promise(setImmediate);
      }
      if (gate.verifying.size === 0) throw refusal(counted);
      await Promise.race(gate.verifying);
    }
  } catch (error) {
    leave();
    throw error;
  }
}

/** Waits until fewer than `limit` attempts of this process are being counted or verified. Returns the function that admits the next one. */
async function enter({ gates }: Context, name: string, limit: number): Promise<{ gate: Gate; leave: () => void }> {
  const gate = gates.get(name) ?? { active: 0, waiting: [], counting: new Set(), verifying: new Set() };
  gates.set(name, gate);
  if (gate.active >= limit) await new Promise<void>((resolve) => gate.waiting.push(resolve));
  else gate.active += 1;
  const leave = (): void => {
    const next = gate.waiting.shift();
    if (next) return next(); // The next attempt gets this one's place.
    gate.active -= 1;
    if (gate.active === 0) gates.delete(name);
  };
  return { gate, leave };
}

function beginVerifying(gate: Gate, leave: () => void): () => void {
  let end = (): void => undefined;
  const verified = new Promise<void>((resolve) => (end = resolve));
  gate.verifying.add(verified);
  return () => {
    gate.verifying.delete(verified);
    end();
    leave();
  };
}

/** Hashed: the store of the windows must not contain e-mail addresses, and a login may be of any length. */
const nameOf = (kind: string, value: string): string => `login:${kind}:${createHash('sha256').update(value).digest('base64url')}`;

function refusal({ resetMs }: Counted): AppError {
  const seconds = Math.max(1, Math.ceil(resetMs / 1000));
  return new AppError(
    'RATE_LIMITED',
    { scope: 'login', retryAfterSeconds: seconds },
    `Too many failed logins from this address. Try again in ${Math.ceil(seconds / 60)} minutes.`,
  );
}
