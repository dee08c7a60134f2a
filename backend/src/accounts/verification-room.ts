import { createHash } from 'node:crypto';
import { AppError } from '@chasqui/shared';

/**
 * Bounds the work of verifying passwords. Each verification takes tens of milliseconds of a thread and 19 MB. Node has four threads for these, for
 * files and for looking up names: a flood of logins from many addresses, of which each stays below its own limit, would otherwise occupy all of them
 * and let every later login wait behind it.
 *
 * At most two verifications run at once. A caller that has signed in to the account before from the same address goes first, so the owner signs in
 * beside a flood. When too many others wait, a further one is refused before its password is looked at.
 */
export interface VerificationRoom {
  /** Runs `verify` when it is its turn. Throws `OVERLOADED` when too many wait. */
  run<T>(caller: LoginCaller, verify: () => Promise<T>): Promise<T>;
  /** Records that this caller gave the right password: its later logins go first. */
  remember(caller: LoginCaller): void;
}

export interface LoginCaller {
  email: string;
  ip: string | null;
  /** The account's last login came from this address, as the database knows it: also before a restart, and on another backend. */
  isKnown?: boolean;
}

const maxRunning = 2;
/** Of each of the two kinds of callers. The last one waits about two seconds. */
const maxWaiting = 100;
const maxKnown = 10_000;

export function createVerificationRoom(): VerificationRoom {
  let running = 0;
  const waiting = { known: [] as (() => void)[], other: [] as (() => void)[] };
  /** Hashes of callers, the one that signed in longest ago first. */
  const known = new Set<string>();

  async function enter(caller: LoginCaller): Promise<void> {
    if (running < maxRunning) return void (running += 1);
    const queue = caller.isKnown || known.has(nameOf(caller)) ? waiting.known : waiting.other;
    if (queue.length >= maxWaiting)
      throw new AppError('OVERLOADED', { retryAfterSeconds: 5 }, 'Too many logins at the same time. Try again in a moment.');
    await new Promise<void>((resolve) => queue.push(resolve));
  }

  function leave(): void {
    const next = waiting.known.shift() ?? waiting.other.shift();
    // The next one gets this place.
    if (next) next();
    else running -= 1;
  }

  return {
    async run(caller, verify) {
      await enter(caller);
      try {
        return await verify();
      } finally {
        leave();
      }
    },
    remember(caller) {
      const name = nameOf(caller);
      known.delete(name);
      known.add(name);
      const [oldest] = known;
      if (known.size > maxKnown) known.delete(oldest!);
    },
  };
}

const nameOf = ({ email, ip }: LoginCaller): string =>
  createHash('sha256').update(`${email.toLowerCase()} ${ip}`).digest('base64url');
