import type { SessionReason } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { settlesWithin, type Clock } from '../clock.js';
import { EngineError, type ChallengeKind, type Engine, type EngineSession, type EngineSignal } from '../engine/engine.js';
import type { WorkerEvent } from '../events/worker-event.js';
import { errorFields, type Log } from '../log.js';
import type { Problems } from '../problems.js';
import { createAccountWatch, type AccountWatch } from './account-watch.js';
import { createCatchUp, type CatchUp } from './catch-up.js';
import { createHealth, type Health } from './health.js';
import { isSameProxy, type SessionProxy } from '../proxy/session-proxy.js';
import type { Forwarder } from '../proxy/forwarder.js';
import type { Proxies } from '../proxy/proxies.js';
import type { IncomingCalls } from './incoming-calls.js';
import type { Marks } from './marks.js';
import type { Profile, Profiles } from './profiles.js';
import type { StartLimit } from './start-limit.js';

/**
 * One browser of a session, from its launch to its end. The session uses at most one at a time. It reads these fields; except for `isCurrent`
 * and `codes`, only the functions of this file change them.
 */
export interface BrowserRun {
  readonly deps: BrowserDeps;
  readonly owner: BrowserOwner;
  readonly abort: AbortController;
  /** Resolves when the launch has succeeded or failed; never rejects. */
  launched: Promise<void>;
  /** The session sets it to false, then calls `releaseBrowser`. From then on nothing of this browser is reported. */
  isCurrent: boolean;
  /** Whether the launch has been abandoned. If it still succeeds, it closes its browser itself. */
  isAbandoned: boolean;
  /** The proxy that the browser was launched with. Undefined until it was read; null: none. */
  proxy: SessionProxy | null | undefined;
  /** Passes the browser's connections on to the proxy. */
  forwarder: Forwarder | null;
  /** The session has another proxy now, and the browser is about to be replaced. */
  isOutdated: boolean;
  /** Null until the launch has succeeded. */
  session: EngineSession | null;
  profile: Profile | null;
  /** Null until the page is proven for the first time, and while it is reloaded. */
  health: Health | null;
  /** Null until the page is proven for the first time. */
  catchUp: CatchUp | null;
  /** Null until the page is proven for the first time. */
  account: AccountWatch | null;
  /** The page has reported its login since it was last loaded. */
  isReady: boolean;
  isProving: boolean;
  /** Whether the page was proven to work, so that its login may be copied after the browser has closed. */
  isSound: boolean;
  /** The page was reloaded for the current failure; the next step is another browser. */
  isReloaded: boolean;
  /** The number of QR codes that were shown, counted by the session. */
  codes: number;
}

/** The parts of the worker that a browser run uses. */
export interface BrowserDeps {
  engine: Engine;
  profiles: Profiles;
  startLimit: StartLimit;
  /** The session's current proxy; null: none. */
  proxy: () => SessionProxy | null;
  proxies: Proxies;
  marks: Marks;
  emit: (event: WorkerEvent) => void;
  calls: IncomingCalls;
  /** Keys of messages that had a reaction or a change since a time (milliseconds). */
  watched: (since: number) => string[];
  clock: Clock;
  random: () => number;
  log: Log;
  problems: Problems;
  /** The interval of the probes of a connected page. */
  probeMs: number;
}

/** What a browser run asks of its session and reports to it. A run that is not current reports nothing. */
export interface BrowserOwner {
  readonly sessionId: string;
  /** Shown on the phone in the list of linked devices. */
  deviceName(): string | null;
  /** See `LaunchOptions.presence`. */
  readonly presence: Set<string>;
  /** See `startRank` of start-limit.ts. */
  startRank(): number;
  /** The number of the linked account; null while it is unknown. */
  phoneNumber(): string | null;
  /** Until when the backend has the messages of this account from another worker or login. Milliseconds. */
  inheritedMark(): number | null;
  /** A signal that may change the status. Events of messages are emitted without it. */
  onSignal(run: BrowserRun, signal: StateSignal): void;
  onLaunched(run: BrowserRun): void;
  /** A round trip and a canary succeeded. */
  onProven(run: BrowserRun): void;
  /** The page answers, and WhatsApp wants to check the account in it: nothing would be sent. */
  onChallenged(run: BrowserRun, by: 'proof' | 'probe', kind: ChallengeKind): void;
  /** The browser is lost or did not start. */
  onLost(reason: SessionReason, detail: string): void;
  /** A watched page failed two probes in a row. */
  onUnresponsive(run: BrowserRun, reason: SessionReason, detail: string): void;
  /** Receives each measurement of the browser's memory, in megabytes. */
  onMemory(memoryMb: number): void;
}

/** At a stop, a copy of the login that is younger than this is not replaced. */
const recentCopyMs = 600_000;
/** The time limit for copying a login at a stop, which closes up to 50 browsers. A login that takes longer keeps its earlier copy. */
const copyingMs = 2_000;

export type StateSignal = Exclude<EngineSignal, { type: 'event' | 'unreadable' }>;

const probeDeadlineMs = 10_000;
/** The time limit within which the browser must accept the command to reload. */
const reloadDeadlineMs = 4_000;
/** A cancelled launch ends by its signal. After this time it is abandoned: a stop of the worker has 30 s in total. */
const launchEndsMs = 12_000;
/** Closing kills a browser that does not end within 5 s; this limit is for a close that hangs. */
const closeEndsMs = 15_000;

/** Starts a browser after `former`, the end of the previous browser, has resolved. */
export function launchBrowser(deps: BrowserDeps, owner: BrowserOwner, former: Promise<void>): BrowserRun {
  const run: BrowserRun = {
    deps,
    owner,
    abort: new AbortController(),
    launched: Promise.resolve(),
    isCurrent: true,
    isAbandoned: false,
    proxy: undefined,
    forwarder: null,
    isOutdated: false,
    session: null,
    profile: null,
    health: null,
    catchUp: null,
    account: null,
    isReady: false,
    isProving: false,
    isSound: false,
    isReloaded: false,
    codes: 0,
  };
  run.launched = launch(run, former);
  return run;
}

async function launch(run: BrowserRun, former: Promise<void>): Promise<void> {
  const { deps, owner } = run;
  let leave = (): void => undefined;
  try {
    await former;
    await openProxy(run);
    leave = await deps.startLimit.enter(run.abort.signal, owner.startRank());
    run.profile = await deps.profiles.claim(owner.sessionId);
    run.session = await deps.engine.launch({
      sessionId: owner.sessionId,
      profileDir: run.profile.dir,
      deviceName: owner.deviceName(),
      presence: owner.presence,
      proxyPort: run.forwarder?.port,
      abort: run.abort.signal,
      onSignal: (signal) => receive(run, signal),
    });
    if (run.isCurrent) owner.onLaunched(run);
  } catch (error) {
    // What the page reports of a failed connection does not say whether the proxy was the cause.
    const cause = run.forwarder?.failure() ?? error;
    if (run.isCurrent) owner.onLost(cause instanceof EngineError ? cause.reason : 'BROWSER_CRASHED', messageOf(cause));
  } finally {
    leave();
    if (run.isAbandoned) await discard(run);
  }
}

/** Checks the session's proxy before the browser starts, so that a dead one needs none of the places of `startLimit`. */
async function openProxy(run: BrowserRun): Promise<void> {
  const { deps, owner, abort } = run;
  const proxy = deps.proxy();
  run.proxy = proxy;
  if (proxy === null) return;
  await deps.proxies.check(proxy, abort.signal);
  run.forwarder = await deps.proxies.open(proxy, ({ reason, message }) => {
    if (run.isCurrent) owner.onLost(reason, message);
  });
}

/** Whether the session has another proxy than this browser uses. */
export const hasOtherProxy = ({ proxy, deps }: BrowserRun): boolean => proxy !== undefined && !isSameProxy(proxy, deps.proxy());

function receive(run: BrowserRun, signal: EngineSignal): void {
  if (!run.isCurrent) return;
  const { deps, owner } = run;
  switch (signal.type) {
    case 'event':
      if (signal.event === 'call.received') return void deps.calls.received(signal.payload, run.session);
      if (signal.event.startsWith('message.')) failPoint('event.seen');
      deps.emit(signal);
      if (signal.event === 'message.observed') run.catchUp?.observed(Date.parse(signal.payload.message.timestamp));
      return;
    case 'unreadable':
      return deps.problems.note('EVENT_UNREADABLE', {
        sessionId: owner.sessionId,
        detail: `${signal.what}: ${signal.detail}`,
      });
    case 'ready':
      run.isReady = true;
      return owner.onSignal(run, signal);
    default:
      return owner.onSignal(run, signal);
  }
}

/** Probes a page that is ready. A session is connected only after a successful probe, not when the page says so. */
export async function proveBrowser(run: BrowserRun): Promise<void> {
  if (!run.isReady || run.isProving) return;
  run.isProving = true;
  // `ready` may arrive before the launch has returned the session.
  await run.launched;
  if (!run.isCurrent || !run.session) return;
  try {
    const { canary, challenge } = await run.session.probe(probeDeadlineMs);
    if (!run.isCurrent) return;
    if (!canary) return run.owner.onLost('EVENT_BRIDGE_BROKEN', 'The page answers, but its events do not arrive.');
    if (challenge) return run.owner.onChallenged(run, 'proof', challenge);
  } catch (error) {
    if (run.isCurrent) run.owner.onLost('PAGE_UNRESPONSIVE', messageOf(error));
    return;
  } finally {
    run.isProving = false;
  }
  run.isSound = true;
  run.owner.onProven(run);
}

/** Probes a proven page at an interval from now on, and reads the messages that arrived while no browser was connected. */
export function watchBrowser(run: BrowserRun): void {
  const { deps, owner, session } = run;
  if (!session) return;
  const { sessionId } = owner;
  const { marks, emit, watched, clock, random, log, problems } = deps;
  run.health ??= createHealth({
    session,
    clock,
    everyMs: deps.probeMs,
    onLost: (reason, detail) => {
      if (run.isCurrent) owner.onUnresponsive(run, reason, detail);
    },
    onChallenged: (kind) => {
      if (run.isCurrent) owner.onChallenged(run, 'probe', kind);
    },
    onMemory: (memoryMb) => {
      if (run.isCurrent) owner.onMemory(memoryMb);
    },
    onFailure: (error) => problems.note('TASK_FAILED', { sessionId, detail: 'health probe', error }),
    onProbeFailed: (reason) => emit({ event: 'session.heal', payload: { step: 'probe', reason, ok: false } }),
  });
  const { phoneNumber, inheritedMark: inherited } = owner;
  run.catchUp ??= createCatchUp({
    sessionId,
    session,
    marks,
    emit,
    phoneNumber,
    inherited,
    watched,
    clock,
    random,
    log,
    problems,
  });
  run.account ??= createAccountWatch({
    session,
    clock,
    emit,
    onFailure: (error) => log.warn('The limits of the account could not be read.', { sessionId, ...errorFields(error) }),
  });
  run.account.check();
  void run.catchUp.run(null);
}

/** Reloads a page that failed its probes; `ready` follows when that worked. A browser that does not accept the command is lost. */
export async function reloadPage(run: BrowserRun, reason: SessionReason): Promise<void> {
  run.isReloaded = true;
  run.health?.stop();
  run.health = null;
  run.isReady = false;
  try {
    await run.session?.reload(reloadDeadlineMs);
  } catch (error) {
    if (run.isCurrent && !run.isReady) run.owner.onLost(reason, messageOf(error));
  }
}

/** Ends a browser at any stage. The login stays locked until the launch has ended, so two browsers never use it at once. */
export async function releaseBrowser(run: BrowserRun): Promise<void> {
  const { clock, log } = run.deps;
  run.health?.stop();
  run.catchUp?.stop();
  run.account?.stop();
  run.abort.abort();
  if (!(await settlesWithin(clock, run.launched, launchEndsMs)))
    log.error('A cancelled start did not end.', { sessionId: run.owner.sessionId });
  // If that start ends later, its browser is closed and the lock on the login is released then.
  run.isAbandoned = true;
  await discard(run);
}

async function discard(run: BrowserRun): Promise<void> {
  const { clock, log } = run.deps;
  const closing = run.session?.close() ?? Promise.resolve();
  const isClosed = await settlesWithin(clock, closing, closeEndsMs);
  if (!isClosed) log.error('A browser did not close in time.', { sessionId: run.owner.sessionId });
  if (isClosed && run.isSound && run.profile) await copyClosedLogin(run);
  await run.forwarder?.close();
  await run.profile?.release();
}

/** Copies the login of a browser that was closed normally, unless there is a recent copy. */
async function copyClosedLogin({ deps, owner }: BrowserRun): Promise<void> {
  const { clock, profiles } = deps;
  const copiedAt = await profiles.copiedAt(owner.sessionId);
  if (copiedAt !== null && clock.now() - copiedAt < recentCopyMs) return;
  const tooLate = new AbortController();
  const cancel = clock.after(copyingMs, () => tooLate.abort());
  await profiles.saveCopy(owner.sessionId, tooLate.signal);
  cancel();
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
