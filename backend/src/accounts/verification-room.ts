import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { AppError } from '@chasqui/shared';

/**
 * Bounds the work of logins. Each one counts its attempt in the database and then takes tens of milliseconds of a thread and 19 MB to verify its
 * password. Node has four threads for these, for files and for looking up names: a flood of logins from many addresses, of which each stays below its
 * own limit, would otherwise occupy all of them, and every connection to the database, and let all other calls wait behind it.
 *
 * At most two logins run at once. A caller that has signed in to the account before from the same address goes first, so the owner signs in
 * beside a flood. Logins of other callers leave one core to the rest of the process. When too many others wait, a further one is refused before it
 * costs anything, and so is one that has waited for long.
 */
export interface VerificationRoom {
  /** Runs `login` when it is its turn. Throws `OVERLOADED` when too many wait, or when it has waited for too long. */
  run<T>(caller: LoginCaller, login: () => Promise<T>): Promise<T>;
  /** Records that this caller gave the right password: its later logins go first. */
  remember(caller: LoginCaller): void;
}

export interface LoginCaller {
  email: string;
  ip: string | null;
  /** The account's last login came from this address, as the database knows it: also before a restart, and on another backend. */
  isKnown?: boolean;
}

export interface VerificationRoomOptions {
  /** The cores that this process may use. */
  cores?: number;
  /** How long a login may wait for its turn: its caller has given up by then. Milliseconds. */
  maxWaitMs?: number;
}

const maxRunning = 2;
/** Of each of the two kinds of callers. */
const maxWaiting = 100;
/** Of one address: a flood from one must not keep the others out. */
const maxWaitingPerAddress = 60;
const maxKnown = 10_000;

interface Waiting {
  ip: string | null;
  admit: () => void;
}

interface State {
  readonly maxWaitMs: number;
  /** How many logins of callers that are not known may run at once. */
  readonly maxOthers: number;
  running: number;
  runningOthers: number;
  readonly waiting: { known: Waiting[]; other: Waiting[] };
  /** Hashes of callers, the one that signed in longest ago first. */
  readonly known: Set<string>;
}

export function createVerificationRoom(options: VerificationRoomOptions = {}): VerificationRoom {
  const { cores = availableParallelism(), maxWaitMs = 10_000 } = options;
  const state: State = {
    maxWaitMs,
    maxOthers: Math.max(1, Math.min(maxRunning, cores - 1)),
    running: 0,
    runningOthers: 0,
    waiting: { known: [], other: [] },
    known: new Set(),
  };
  return {
    async run(caller, login) {
      const kind = caller.isKnown || state.known.has(nameOf(caller)) ? 'known' : 'other';
      await enter(state, kind, caller.ip);
      try {
        return await login();
      } finally {
        leave(state, kind);
      }
    },
    remember: (caller) => remember(state, caller),
  };
}

/** Resolves when it is this login's turn. Throws `OVERLOADED`. */
function enter(state: State, kind: 'known' | 'other', ip: string | null): Promise<void> {
  const queue = state.waiting[kind];
  if (queue.length >= maxWaiting) throw refusal();
  if (queue.filter((one) => one.ip === ip).length >= maxWaitingPerAddress) throw refusal();
  return new Promise((resolve, reject) => {
    const waiting: Waiting = {
      ip,
      admit: () => {
        clearTimeout(timer);
        resolve();
      },
    };
    const timer = setTimeout(() => {
      queue.splice(queue.indexOf(waiting), 1);
      reject(refusal());
    }, state.maxWaitMs);
    queue.push(waiting);
    admit(state);
  });
}

function leave(state: State, kind: 'known' | 'other'): void {
  state.running -= 1;
  if (kind === 'other') state.runningOthers -= 1;
  admit(state);
}

function admit(state: State): void {
  const { known, other } = state.waiting;
  while (state.running < maxRunning) {
    const isKnown = known.length > 0;
    const next = known.shift() ?? (state.runningOthers < state.maxOthers ? other.shift() : undefined);
    if (!next) return;
    state.running += 1;
    if (!isKnown) state.runningOthers += 1;
    next.admit();
  }
}

function remember({ known }: State, caller: LoginCaller): void {
  const name = nameOf(caller);
  known.delete(name);
  known.add(name);
  const [oldest] = known;
  if (known.size > maxKnown) known.delete(oldest!);
}

const refusal = (): AppError =>
  new AppError('OVERLOADED', { retryAfterSeconds: 5 }, 'Too many logins at the same time. Try again in a moment.');

const nameOf = ({ email, ip }: LoginCaller): string =>
  createHash('sha256').update(`${email.toLowerCase()} ${ip}`).digest('base64url');
