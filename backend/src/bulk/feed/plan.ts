import type { BulkReason } from '@chasqui/shared';
import { readable } from '../../db/unreadable.js';
import { endOfThrottle, factorAt } from '../../lib/throttle.js';
import { restrictionsOf } from '../../sessions/restrictions.js';
import type { Session } from '../../sessions/session.entity.js';
import type { BulkJob } from '../bulk.entity.js';
import type { JobChange } from '../state.js';
import { isBefore } from './estimate.js';

/** Decides what the feeder does for a session at one instant. Pure: the feeder calls it without a lock first, and again under the lock. */

export interface Situation {
  session: Session;
  isAccountActive: boolean;
  /** Jobs that run, wait or are scheduled; those of a deleted session that are paused, too. */
  jobs: readonly BulkJob[];
  now: Date;
  /** The end of the quiet hours; null outside them. */
  quietUntil: Date | null;
  /** When the session may queue the next message of a job. */
  nextAt: Date | null;
  /** Whether a message of the session is due or being sent. Single sends overtake jobs. */
  isBusy: boolean;
  /** Whether a job that waits for its quota is tried although the quota has not been reset: an operator may have raised it. */
  mayTry: (job: BulkJob) => boolean;
}

export interface Plan {
  /** Jobs whose state differs from what it should be. */
  changes: { job: BulkJob; change: JobChange }[];
  /** The job whose next recipient gets its message now. */
  feed: BulkJob | null;
  /** When to plan again; null: after an event. */
  againAt: Date | null;
}

/**
 * The maximum gap of a job. Milliseconds. A `nextAt` that is more than two such gaps ahead was stored before the clock was set back, and is ignored.
 */
export const maxGapMs = 600_000;

export function planOf(situation: Situation): Plan {
  const { jobs, now } = situation;
  const plan: Plan = { changes: [], feed: null, againAt: null };
  const ready: BulkJob[] = [];
  const times: number[] = [];
  for (const job of jobs) {
    const change = changeOf(job, situation);
    if (change && !isInState(job, change)) plan.changes.push({ job, change });
    const { status, until } = change ?? { status: job.status, until: job.waitingUntil };
    if (job.status === 'scheduled' && job.scheduledAt && job.scheduledAt > now) times.push(job.scheduledAt.getTime());
    if (until && until > now) times.push(until.getTime());
    if (job.pending > 0 && (status === 'running' || isToBeTried(job, change, situation))) ready.push(job);
  }
  if (ready.length > 0) {
    const openAt = gapEnd(situation);
    if (openAt !== null) times.push(openAt);
    else if (!situation.isBusy) plan.feed = ready.reduce((one, other) => (isFirst(other, one) ? other : one));
  }
  if (times.length > 0) plan.againAt = new Date(Math.min(...times));
  return plan;
}

const isFirst = (one: BulkJob, other: BulkJob): boolean =>
  isBefore({ id: one.id, fedAt: one.fedAt?.getTime() ?? null }, { id: other.id, fedAt: other.fedAt?.getTime() ?? null });

/** Returns when the current gap ends; null if it has passed. */
function gapEnd({ nextAt, now }: Situation): number | null {
  const waitMs = (nextAt?.getTime() ?? 0) - now.getTime();
  return waitMs > 0 && waitMs <= 2 * maxGapMs ? nextAt!.getTime() : null;
}

/** Reasons for waiting that end only with a further attempt or with the outcome of a message. */
const lastingReasons: ReadonlySet<string | null> = new Set<BulkReason>([
  'QUOTA_EXCEEDED',
  'QUEUE_FULL',
  'NUMBERS_NOT_CHECKED',
  'UNCERTAIN_MESSAGES',
]);

function isToBeTried(job: BulkJob, change: JobChange | null, { now, mayTry }: Situation): boolean {
  if (change || job.status !== 'waiting') return false;
  const isOver = job.waitingUntil === null || job.waitingUntil <= now;
  return job.reasonCode !== 'UNCERTAIN_MESSAGES' && (isOver || mayTry(job));
}

/** Restrictions under which the account can send nothing. */
const blocking: ReadonlySet<string> = new Set(['terms_block', 'temporary_ban', 'challenge']);

/** Returns the change to the state that a job must have now; null if its state does not change. */
function changeOf(job: BulkJob, { session, isAccountActive, now, quietUntil }: Situation): JobChange | null {
  if (session.deletedAt) return { status: 'cancelled', reason: 'SESSION_DELETED' };
  if (job.status === 'scheduled' && job.scheduledAt && job.scheduledAt > now) return null;
  if (job.linkedAccountNumber !== session.linkedAccountNumber) return pauseFor('SESSION_IDENTITY_CHANGED');
  const kinds = restrictionsOf(session, now.getTime()).map(({ kind }) => kind);
  if (kinds.some((kind) => blocking.has(kind))) return pauseFor('ACCOUNT_RESTRICTED');
  if (kinds.includes('reach_out_lock')) return pauseFor('REACH_OUT_LOCKED');
  if (job.status === 'scheduled') return { status: 'running' };
  if (job.reasonCode === 'UNCERTAIN_MESSAGES') return null;
  // A deactivated account sends nothing, and its messages would expire in the queue.
  if (!isAccountActive) return waitFor('ACCOUNT_INACTIVE', null);
  if (session.status !== 'connected') return waitFor('SESSION_NOT_CONNECTED', null);
  const throttle = readable(session.throttle, null);
  if (throttle && factorAt(throttle, now.getTime()) < 1) return waitFor('THROTTLED', new Date(endOfThrottle(throttle)));
  if (quietUntil) return waitFor('QUIET_HOURS', quietUntil);
  return job.status === 'running' || lastingReasons.has(job.reasonCode) ? null : { status: 'running' };
}

const pauseFor = (reason: BulkReason): JobChange => ({ status: 'paused', reason });
const waitFor = (reason: BulkReason, until: Date | null): JobChange => ({ status: 'waiting', reason, until });

const isInState = (job: BulkJob, { status, reason = null, until = null }: JobChange): boolean =>
  job.status === status && job.reasonCode === reason && (job.waitingUntil?.getTime() ?? null) === (until?.getTime() ?? null);
