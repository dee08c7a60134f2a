import type { WorkerSettings } from '@chasqui/shared';
import type { Clock } from '../clock.js';
import { sessionProxy, type SessionProxy } from '../proxy/session-proxy.js';
import { errorFields, type Log } from '../log.js';

/** Keeps the settings of this worker's sessions as the backend last sent them. In memory: every command and every heartbeat repeats them. */
export interface SessionSettings {
  /** Applies the settings of a session; an absent setting is unchanged. Removes stored content that the storage mode `metadata` does not allow. */
  apply(sessionId: string, settings: WorkerSettings | undefined): void;
  /** Whether the session stores only metadata: no content of its messages may be written to disk. */
  isBare(sessionId: string): boolean;
  /** The words that are still reported of texts that are withheld. */
  keywords(sessionId: string): ReadonlySet<string>;
  /** Whether a lost browser of this session is started again. */
  mayReconnect(sessionId: string): boolean;
  /** Whether the incoming calls of this session are rejected. */
  rejectsCalls(sessionId: string): boolean;
  /** The number for which the session requests pairing codes; null: none. */
  pairingNumber(sessionId: string): string | null;
  /** The proxy through which the session connects; null: none. */
  proxy(sessionId: string): SessionProxy | null;
  /** The session's own memory mark in megabytes; 0: never. Null: it has none. */
  recycleAboveMb(sessionId: string): number | null;
}

interface Context {
  readonly clock: Clock;
  readonly log: Log;
  readonly strip: (sessionId: string) => boolean;
  /** Whether a session stores only metadata. No entry: the backend has not sent its storage mode yet. */
  readonly bare: Map<string, boolean>;
  readonly keywords: Map<string, ReadonlySet<string>>;
  readonly withoutReconnect: Set<string>;
  readonly withoutCalls: Set<string>;
  readonly recycleMarks: Map<string, number | null>;
  readonly proxies: Map<string, SessionProxy | null>;
  readonly pairingNumbers: Map<string, string | null>;
  /** Sessions whose stored content is still to be removed. */
  readonly unstripped: Set<string>;
  /** The sessions in `unstripped` whose next part is scheduled. */
  readonly scheduled: Set<string>;
}

const stripPauseMs = 10;
const none: ReadonlySet<string> = new Set();

export function createSessionSettings(options: {
  clock: Clock;
  log: Log;
  /**
   * Removes the stored content of a session that stores only metadata. Each call removes a part and returns false while there is more. May
   * throw while the disk accepts no writes; then it is called again.
   */
  strip: (sessionId: string) => boolean;
}): SessionSettings {
  const context: Context = {
    ...options,
    bare: new Map(),
    keywords: new Map(),
    withoutReconnect: new Set(),
    withoutCalls: new Set(),
    recycleMarks: new Map(),
    proxies: new Map(),
    pairingNumbers: new Map(),
    unstripped: new Set(),
    scheduled: new Set(),
  };
  return {
    apply: (sessionId, settings) => apply(context, sessionId, settings),
    isBare: (sessionId) => context.bare.get(sessionId) ?? false,
    keywords: (sessionId) => context.keywords.get(sessionId) ?? none,
    mayReconnect: (sessionId) => !context.withoutReconnect.has(sessionId),
    rejectsCalls: (sessionId) => context.withoutCalls.has(sessionId),
    pairingNumber: (sessionId) => context.pairingNumbers.get(sessionId) ?? null,
    proxy: (sessionId) => context.proxies.get(sessionId) ?? null,
    recycleAboveMb: (sessionId) => context.recycleMarks.get(sessionId) ?? null,
  };
}

function apply(context: Context, sessionId: string, settings: WorkerSettings | undefined): void {
  const { bare, withoutReconnect, withoutCalls, recycleMarks, proxies, unstripped, scheduled } = context;
  if (settings?.autoReconnect === false) withoutReconnect.add(sessionId);
  else if (settings?.autoReconnect) withoutReconnect.delete(sessionId);
  if (settings?.rejectCalls) withoutCalls.add(sessionId);
  else if (settings?.rejectCalls === false) withoutCalls.delete(sessionId);
  if (settings?.recycleAboveMb !== undefined) recycleMarks.set(sessionId, settings.recycleAboveMb);
  if (settings?.proxy !== undefined) proxies.set(sessionId, settings.proxy && sessionProxy(settings.proxy));
  if (settings?.pairingNumber !== undefined) context.pairingNumbers.set(sessionId, settings.pairingNumber);
  if (settings?.keywords) context.keywords.set(sessionId, new Set(settings.keywords));
  if (settings?.storage === undefined) return;
  const isBare = settings.storage === 'metadata';
  if (isBare && bare.get(sessionId) !== true) unstripped.add(sessionId);
  // Set before the stored content is removed, so that new events are written without content.
  bare.set(sessionId, isBare);
  if (isBare && unstripped.has(sessionId) && !scheduled.has(sessionId)) stripStored(context, sessionId);
}

/** Removes the stored content in parts, so that other work runs in between. */
function stripStored(context: Context, sessionId: string): void {
  const { clock, log, strip, bare, unstripped, scheduled } = context;
  scheduled.delete(sessionId);
  if (bare.get(sessionId) !== true) return;
  try {
    if (strip(sessionId)) return void unstripped.delete(sessionId);
    scheduled.add(sessionId);
    clock.after(stripPauseMs, () => stripStored(context, sessionId));
  } catch (error) {
    log.error('Stored content could not be removed; the next heartbeat retries.', { sessionId, ...errorFields(error) });
  }
}
