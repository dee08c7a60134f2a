import { createHash } from 'node:crypto';
import { AppError } from '@chasqui/shared';
import { countedAddress } from '../lib/client-address.js';
import type { Clock } from '../lib/clock.js';
import { createLocalWindows, type Counted, type Windows } from '../lib/windows.js';

const windowMs = 15 * 60_000;
/** Failed logins within the window: of one account from one address, and of one address over all accounts. */
const limits = { account: 10, address: 30 };

export interface LoginLimitOptions {
  clock: Pick<Clock, 'monotonic'>;
  /** The id of the latest reset of this account's password by somebody else, at most `withinMs` ago; null when there was none. */
  findReset: (login: string, withinMs: number) => Promise<string | null>;
}

/** One login between the moment it is counted and the moment its outcome is known. */
export interface LoginAttempt {
  /** The password was right: it does not count, and the account's failures from this address are forgotten. */
  succeeded(): Promise<void>;
  /** The password was not checked, because something else failed: the attempt does not count. */
  cancelled(): Promise<void>;
  /** The password was wrong: it counts. */
  failed(): void;
}

/** The attempts of this process under one name. */
interface Gate {
  /** How many are being counted or judged. */
  inside: number;
  waiting: (() => void)[];
  counting: Set<Promise<Counted>>;
  judging: Set<Promise<void>>;
}

/**
 * Limits failed logins: 10 for one account from one address and 30 for one address, in 15 minutes, over all backends that share `windows`.
 *
 * An attempt is counted before its password is verified and given back when the password was right. So however many come at once, no more
 * passwords are judged than the limit allows. When a limit is used up by attempts that are still being judged, the next one waits for
 * them instead of being refused: many right logins at once all succeed.
 *
 * Failures from one address never lock an account for another address: otherwise any stranger could lock its owner out.
 *
 * A reset password ends the lock: the failures before it were of a password that no longer counts. A reset may come from another process, so
 * it is looked for when an attempt is about to be refused. Each process forgets each window once for a reset: a caller that keeps guessing after
 * it gets one more round, not one with every attempt.
 */
export function createLoginLimit(windows: Windows, { clock, findReset }: LoginLimitOptions) {
  const gates = new Map<string, Gate>();
  const forgotten = createLocalWindows(clock);
  const lookups = new Map<string, Promise<string | null>>();

  /** Counts as `take` does. Where that is refused and the password was reset meanwhile, forgets what was counted before, once. */
  async function takeAfterReset(name: string, limit: number, login: string): Promise<() => void> {
    try {
      return await take(name, limit);
    } catch (error) {
      if (!(error instanceof AppError) || !(await mayForget(name, login))) throw error;
      await windows.forget(name, windowMs);
      return take(name, limit);
    }
  }

  /** One query at a time for each login: a flood of refused attempts must not become a flood of queries. */
  function lookForReset(login: string): Promise<string | null> {
    const running = lookups.get(login);
    if (running) return running;
    const lookup = findReset(login, windowMs).finally(() => lookups.delete(login));
    lookups.set(login, lookup);
    return lookup;
  }

  async function mayForget(name: string, login: string): Promise<boolean> {
    const reset = await lookForReset(login.toLowerCase());
    return reset !== null && (await forgotten.count(`${name} ${reset}`, 1, 2 * windowMs)).isAllowed;
  }

  /** Waits until fewer than `limit` attempts of this process are being counted or judged under this name. Returns what lets the next in. */
  async function enter(name: string, limit: number): Promise<{ gate: Gate; leave: () => void }> {
    const gate = gates.get(name) ?? { inside: 0, waiting: [], counting: new Set(), judging: new Set() };
    gates.set(name, gate);
    if (gate.inside >= limit) await new Promise<void>((resolve) => gate.waiting.push(resolve));
    else gate.inside += 1;
    const leave = (): void => {
      const next = gate.waiting.shift();
      if (next) return next(); // It takes over this one's place.
      gate.inside -= 1;
      if (gate.inside === 0) gates.delete(name);
    };
    return { gate, leave };
  }

  /** Counts an attempt; returns what is to be called when it was judged. Throws when the limit is used up by attempts that failed. */
  async function take(name: string, limit: number): Promise<() => void> {
    const { gate, leave } = await enter(name, limit);
    try {
      for (;;) {
        const counting = windows.count(name, limit, windowMs);
        gate.counting.add(counting);
        let counted: Counted;
        try {
          counted = await counting;
          if (counted.isAllowed) return judging(gate, leave);
        } finally {
          gate.counting.delete(counting);
        }
        if (gate.judging.size === 0) {
          // One that was counted before us may not have heard of it yet.
          await Promise.allSettled(gate.counting);
          await new Promise(setImmediate);
        }
        if (gate.judging.size === 0) throw refusal(counted);
        await Promise.race(gate.judging);
      }
    } catch (error) {
      leave();
      throw error;
    }
  }

  function judging(gate: Gate, leave: () => void): () => void {
    let end = (): void => undefined;
    const judged = new Promise<void>((resolve) => (end = resolve));
    gate.judging.add(judged);
    return () => {
      gate.judging.delete(judged);
      end();
      leave();
    };
  }

  return {
    /** Counts an attempt. Throws `RATE_LIMITED` when too many have failed. Exactly one of the verbs of the result must be called. */
    async begin(login: string, ip: string | null): Promise<LoginAttempt> {
      const address = ip === null ? 'unknown' : countedAddress(ip);
      const byAddress = nameOf('address', address);
      const byAccount = nameOf('account', `${login.toLowerCase()} ${address}`);
      const endAddress = await takeAfterReset(byAddress, limits.address, login);
      let endAccount: () => void;
      try {
        endAccount = await takeAfterReset(byAccount, limits.account, login);
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
    },
  };
}

/** Hashed, because the windows' store must not hold e-mail addresses, and a name may be of any length. */
const nameOf = (kind: string, value: string): string => `login:${kind}:${createHash('sha256').update(value).digest('base64url')}`;

function refusal({ resetMs }: Counted): AppError {
  const seconds = Math.max(1, Math.ceil(resetMs / 1000));
  return new AppError(
    'RATE_LIMITED',
    { scope: 'login', retryAfterSeconds: seconds },
    `Too many failed logins from this address. Try again in ${Math.ceil(seconds / 60)} minutes.`,
  );
}
