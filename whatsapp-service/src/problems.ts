import { newId, workerProblems, type WorkerProblem, type WorkerProblemCode } from '@chasqui/shared';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';

/**
 * Collects the problems of this worker: what it isolated or could not do. Each problem is logged and sent to the backend with the next heartbeat.
 * The collection is in memory and bounded: one entry for each code and session.
 */
export interface Problems {
  /** Records a problem. Never throws. `detail` contains no message content, numbers or codes. */
  note(code: WorkerProblemCode, options: { sessionId?: string | null; detail: string; error?: unknown }): void;
  /**
   * The problems that were not yet reported to the backend, latest first; `count` is the number since the last report. A report without a
   * reply may have arrived, so it is repeated unchanged under its id; later occurrences go into the next report.
   */
  unreported(): WorkerProblem[];
  /** Records that the backend has replied to the heartbeat with these problems. Without a reply they are repeated in the next heartbeat. */
  reported(problems: readonly WorkerProblem[]): void;
  /** Whether a problem that degrades the worker happened within the last five minutes. */
  isDegraded(): boolean;
}

const retentionMs = 3_600_000;
const degradedMs = 300_000;
const maxEntries = 50;
const maxDetail = 300;
/** The minimum time between two log lines of the same problem. */
const logEveryMs = 10_000;

interface Entry {
  code: WorkerProblemCode;
  sessionId: string | null;
  detail: string;
  /** When the problem last happened, as wall time and on the monotonic clock. */
  wall: number;
  lastAt: number;
  /** When it was last logged, on the monotonic clock. */
  loggedAt: number;
  /** How often it happened, and how many of those the backend knows. */
  count: number;
  reported: number;
  /** The report that was sent without a reply yet. */
  sent: { id: string; count: number } | null;
}

const keyOf = ({ code, sessionId }: Pick<WorkerProblem, 'code' | 'sessionId'>): string => `${code} ${sessionId ?? ''}`;

interface Context {
  readonly clock: Clock;
  readonly log: Log;
  /** The problems by code and session, in the order in which they last happened, oldest first. */
  readonly entries: Map<string, Entry>;
}

export function createProblems({ clock, log }: { clock: Clock; log: Log }): Problems {
  const context: Context = { clock, log, entries: new Map() };
  return {
    note: (code, options) => note(context, code, options),
    unreported: () => unreported(context),
    reported: (problems) => reported(context, problems),
    isDegraded: () => isDegraded(context),
  };
}

function note(
  context: Context,
  code: WorkerProblemCode,
  { sessionId = null, detail, error }: { sessionId?: string | null; detail: string; error?: unknown },
): void {
  const { clock, log, entries } = context;
  const key = keyOf({ code, sessionId });
  const before = entries.get(key);
  const now = clock.monotonic();
  const isDue = !before || now - before.loggedAt >= logEveryMs;
  const count = (before?.count ?? 0) + 1;
  entries.delete(key);
  entries.set(key, {
    code,
    sessionId,
    detail: detail.slice(0, maxDetail),
    wall: clock.now(),
    lastAt: now,
    loggedAt: isDue ? now : before.loggedAt,
    count,
    reported: before?.reported ?? 0,
    sent: before?.sent ?? null,
  });
  forgetOld(context);
  if (!isDue) return;
  const line = workerProblems[code].degrades ? log.error : log.warn;
  line(workerProblems[code].message, {
    problem: code,
    sessionId,
    detail,
    count,
    ...(error === undefined ? {} : errorFields(error)),
  });
}

function forgetOld({ clock, entries }: Context): void {
  for (const [key, { lastAt }] of entries) if (clock.monotonic() - lastAt > retentionMs) entries.delete(key);
  for (const key of entries.keys()) {
    if (entries.size <= maxEntries) break;
    entries.delete(key);
  }
}

function unreported(context: Context): WorkerProblem[] {
  const { clock, entries } = context;
  forgetOld(context);
  return [...entries.values()]
    .filter(({ count, reported: reportedCount }) => count > reportedCount)
    .map((entry) => {
      entry.sent ??= { id: newId(clock.now()), count: entry.count - entry.reported };
      const { code, sessionId, detail, wall, sent } = entry;
      return { code, sessionId, detail, at: new Date(wall).toISOString(), count: sent.count, report: sent.id };
    })
    .reverse();
}

function reported({ entries }: Context, problems: readonly WorkerProblem[]): void {
  for (const problem of problems) {
    const entry = entries.get(keyOf(problem));
    if (!entry?.sent || entry.sent.id !== problem.report) continue;
    entry.reported += entry.sent.count;
    entry.sent = null;
  }
}

function isDegraded({ clock, entries }: Context): boolean {
  return [...entries.values()].some(
    ({ code, lastAt }) => workerProblems[code].degrades && clock.monotonic() - lastAt < degradedMs,
  );
}
