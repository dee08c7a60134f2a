import { AppError, type Heartbeat, type HeartbeatReply, type WorkerSettings } from '@chasqui/shared';
import { In, IsNull, LessThan, MoreThan, Not, type DataSource, type EntityManager } from 'typeorm';
import type { Database } from '../db/database.js';
import { among, lockRows, updateRows } from '../db/rows.js';
import { behindSavepoint } from '../db/savepoint.js';
import { runStatement } from '../db/statement.js';
import { isSystemError } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import { lockSession, reasonFor, type SessionState } from '../sessions/state.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { Worker } from './worker.entity.js';
import { caughtUpOf, workerSettingsOf } from './worker-settings.js';

type Seen = Heartbeat['sessions'][number];

export type Heartbeats = ReturnType<typeof createHeartbeats>;

/** As many beats in a row must a session look different from its row before the beat is believed instead of its events. */
const beatsToBelieve = 3;
/** Problems taken from one heartbeat. */
const maxProblems = 100;

/** Notes what one session failed with. Trouble of the database ends the whole, since nothing else would succeed. */
const noteIn =
  (failed: Map<string, unknown>, sessionId: string) =>
  (error: unknown): void => {
    if (isSystemError(error)) throw error;
    failed.set(sessionId, error);
  };
/** Two backends' clocks may differ by this much before a stored time counts as wrong. */
const clockSkewMs = 5_000;

const runs = (seen: Seen | undefined): boolean => seen !== undefined && seen.status !== 'disconnected' && seen.status !== 'error';

/**
 * Closes the gap between what is desired and what is observed. A worker tells what it runs and is told what it should.
 *
 * | found | then |
 * | --- | --- |
 * | a session of this worker | its lease is renewed |
 * | desired `running`, not running there | it is told to start it |
 * | desired `stopped`, suspended, or of a deactivated account, running there | it is told to stop it |
 * | desired `running`, not leased | leased to this worker under the next epoch |
 * | the same, with a worker that is gone, and no phone linked yet | likewise: there is no login that would be left behind |
 * | the same, with a phone linked | waits for its worker, which has the login on its disk; `connect` moves it by hand |
 * | running there, leased to another or deleted | revoked |
 * | a lease that ran out | `disconnected` with `WORKER_LOST`: told, not guessed |
 *
 * A beat names only what is to change: one that was on its way while somebody started or stopped the session must not undo that.
 */
export function createHeartbeats({
  database,
  state,
  storageOf,
  clock,
  log,
  leaseMs,
  wipeLeft,
  report,
}: {
  database: Database;
  state: SessionState;
  storageOf: StorageOf;
  clock: Clock;
  log: Log;
  leaseMs: number;
  /** Deletes what this worker still has of deleted sessions. */
  wipeLeft: (workerId: string) => Promise<void>;
  report: ReportFailure;
}) {
  const doubts = new Map<string, { status: string; updatedAt: number; beats: number }>();
  const startedAt = clock.monotonic();
  let timer: NodeJS.Timeout | undefined;
  let checking: Promise<void> | null = null;

  async function take(beat: Heartbeat): Promise<HeartbeatReply> {
    reportProblems(beat);
    await adopt(beat);
    const before = new Map(doubts);
    let reply: HeartbeatReply;
    try {
      reply = await answer(beat, null);
    } catch (error) {
      if (isSystemError(error)) throw error;
      // One session failed and undid the whole. The second attempt isolates each, which costs two statements more for each session.
      doubts.clear();
      for (const [id, doubt] of before) doubts.set(id, doubt);
      const failed = new Map<string, unknown>();
      reply = await answer(beat, failed);
      for (const [sessionId, why] of failed) failedSession(sessionId, why);
    }
    wipeLeft(beat.workerId).catch((error: unknown) =>
      log.error('A login could not be deleted; the next heartbeat tries again.', errorFields(error)),
    );
    return reply;
  }

  function failedSession(sessionId: string, error: unknown): void {
    log.error('A session could not be updated by its heartbeat; the other sessions were.', { sessionId, ...errorFields(error) });
    report({ kind: 'heartbeat', subject: sessionId, sessionId, ...describeError(error) });
  }

  /** What the worker itself isolated. Of a worker that reports without end only the first ones are kept. */
  function reportProblems({ workerId, problems = [] }: Heartbeat): void {
    for (const { code, sessionId, detail, at, count, report: reportId } of problems.slice(0, maxProblems))
      report({
        kind: 'worker',
        subject: [workerId, sessionId ?? ''].join(' ').trim(),
        sessionId,
        code,
        detail,
        at: new Date(at),
        count,
        reportId,
      });
  }

  /**
   * Updates the worker and its sessions and says what the worker should run. `failed` null: the first session that fails undoes all.
   * Otherwise each session is behind a savepoint of its own and those that fail are put into `failed`.
   */
  function answer(beat: Heartbeat, failed: Map<string, unknown> | null): Promise<HeartbeatReply> {
    return database.write.run(async (tx) => {
      failed?.clear();
      const now = clock.now();
      await remember(tx, beat, now);
      const { workerId } = beat;
      const ids = await tx.manager.find(Session, {
        where: { workerId, deletedAt: IsNull() },
        select: { id: true, leaseEpoch: true },
      });
      await lockRows(
        tx,
        Session,
        ids.map(({ id }) => id),
      );
      // The order is the order of starting, where many wait for their turn: what has messages waiting first, then what was used last.
      const read = failed
        ? await readEach(tx, ids, failed)
        : await tx.manager.find(Session, { where: { workerId, deletedAt: IsNull() } });
      const mine = await byImportance(tx, read);
      const switchedOff = await inactiveAccounts(tx.manager, read);
      const expiresAt = new Date(now.getTime() + leaseMs);
      await updateRows(tx, Session, { workerId: beat.workerId, deletedAt: IsNull() }, { leaseExpiresAt: expiresAt });
      const seen = new Map(beat.sessions.map((session) => [session.sessionId, session]));
      const answer: HeartbeatReply = { leaseMs, leases: [], desired: [], revoke: [] };
      const ofSession = async (own: Transaction, session: Session): Promise<void> => {
        const there = seen.get(session.id);
        if (there) await note(own, session, there, now);
        const settings = workerSettingsOf(session, await storageOf(session, own.manager));
        answer.leases.push({ sessionId: session.id, epoch: session.leaseEpoch, expiresAt: expiresAt.toISOString(), settings });
        const wanted = session.desired === 'running' && session.status !== 'suspended' && !switchedOff.has(session.accountId);
        if (wanted === (runs(there) && there?.epoch === session.leaseEpoch)) return;
        if (!wanted && !runs(there)) return;
        answer.desired.push(desiredOf(session, wanted, settings));
      };
      for (const session of mine)
        if (failed) await behindSavepoint(tx, 'session', (own) => ofSession(own, session)).catch(noteIn(failed, session.id));
        else await ofSession(tx, session);
      // Its lease was renewed as well: the worker keeps it, under the settings that it has.
      for (const { id: sessionId, leaseEpoch: epoch } of ids)
        if (failed?.has(sessionId)) answer.leases.push({ sessionId, epoch, expiresAt: expiresAt.toISOString() });
      const known = new Set(ids.map(({ id }) => id));
      for (const { sessionId, epoch } of beat.sessions) if (!known.has(sessionId)) answer.revoke.push({ sessionId, epoch });
      return answer;
    });
  }

  /** Reads sessions one by one: a row that cannot be read keeps only itself away. */
  async function readEach(tx: Transaction, ids: readonly { id: string }[], failed: Map<string, unknown>): Promise<Session[]> {
    const sessions: Session[] = [];
    for (const { id } of ids)
      try {
        sessions.push(await tx.manager.findOneByOrFail(Session, { id }));
      } catch (error) {
        noteIn(failed, id)(error);
      }
    return sessions;
  }

  /** The deactivated accounts among those of the sessions. Their sessions do not run; what is desired of them stays as it is. */
  async function inactiveAccounts(
    source: DataSource | EntityManager,
    sessions: readonly { accountId: string }[],
  ): Promise<Set<string>> {
    const ids = [...new Set(sessions.map(({ accountId }) => accountId))];
    if (ids.length === 0) return new Set();
    const { condition, parameter } = among(source, 'id', ids);
    const { rows } = await runStatement(source, `SELECT id FROM accounts WHERE ${condition} AND NOT "isActive"`, [parameter]);
    return new Set((rows as { id: string }[]).map(({ id }) => id));
  }

  async function byImportance(tx: Transaction, sessions: Session[]): Promise<Session[]> {
    if (sessions.length < 2) return sessions;
    const { condition, parameter } = among(
      tx.manager,
      'id',
      sessions.map(({ id }) => id),
    );
    const { rows: busy } = await runStatement(
      tx.manager,
      `SELECT id FROM sessions WHERE ${condition} AND EXISTS
        (SELECT 1 FROM messages m WHERE m.status IN ('queued', 'sending', 'uncertain') AND m."sessionId" = sessions.id)`,
      [parameter],
    );
    const hasWork = new Set((busy as { id: string }[]).map(({ id }) => id));
    const seenAt = (session: Session): number => session.lastSeen?.getTime() ?? 0;
    return sessions.sort((a, b) => Number(hasWork.has(b.id)) - Number(hasWork.has(a.id)) || seenAt(b) - seenAt(a));
  }

  const desiredOf = (session: Session, wanted: boolean, settings: WorkerSettings): HeartbeatReply['desired'][number] => ({
    sessionId: session.id,
    state: wanted ? 'running' : 'stopped',
    epoch: session.leaseEpoch,
    settings,
    deviceName: session.deviceName,
    caughtUp: caughtUpOf(session),
  });

  /** Whether staff want this worker to take no new sessions. */
  const isDrained = (id: string): Promise<boolean> =>
    database.reader.getRepository(Worker).existsBy({ id, drainRequested: true });

  /** Sessions that should run and that no worker runs. The condition of the update is what was read: of two workers one gets it. */
  async function adopt(beat: Heartbeat): Promise<void> {
    const free = beat.draining ? 0 : beat.capacity - beat.sessions.filter(runs).length;
    if (free <= 0 || (await isDrained(beat.workerId))) return;
    const now = clock.now();
    const waiting = await database.reader.getRepository(Session).find({
      where: { desired: 'running', deletedAt: IsNull(), status: Not('suspended') },
      select: { id: true, accountId: true, workerId: true, phoneNumber: true, leaseEpoch: true, leaseExpiresAt: true },
      order: { createdAt: 'ASC' },
    });
    const isLeftBehind = ({ workerId, phoneNumber, leaseExpiresAt }: Session): boolean =>
      workerId !== beat.workerId && phoneNumber === null && leaseExpiresAt !== null && leaseExpiresAt <= now;
    const candidates = waiting.filter((session) => session.workerId === null || isLeftBehind(session));
    const switchedOff = await inactiveAccounts(database.reader, candidates);
    const orphans = candidates.filter(({ accountId }) => !switchedOff.has(accountId));
    for (const { id, workerId, leaseEpoch } of orphans.slice(0, free)) {
      const asRead = { id, leaseEpoch, workerId: workerId ?? IsNull() };
      const lease = { workerId: beat.workerId, leaseEpoch: leaseEpoch + 1, leaseExpiresAt: new Date(now.getTime() + leaseMs) };
      try {
        const taken = await database.write.run((tx) => updateRows(tx, Session, asRead, lease));
        if (taken === 1) log.info('A session was given to a worker.', { sessionId: id, workerId: beat.workerId, from: workerId });
      } catch (error) {
        if (isSystemError(error)) throw error;
        failedSession(id, error);
      }
    }
  }

  /** What the worker measured; and its word on the status where its events will not come. */
  async function note(tx: Transaction, session: Session, seen: Seen, now: Date): Promise<void> {
    // A database from a backup knows an older epoch than the worker, which would refuse every command under it.
    const leaseEpoch = Math.max(session.leaseEpoch, seen.epoch);
    const changes = {
      leaseEpoch,
      memoryMb: seen.metrics.memoryMb === null ? null : Math.round(seen.metrics.memoryMb),
      roundTripMs: seen.metrics.roundTripMs === null ? null : Math.round(seen.metrics.roundTripMs),
      ...(seen.compat.length > 0 ? { compat: seen.compat } : {}),
      ...(seen.status === 'connected' ? { lastSeen: now } : {}),
    };
    await updateRows(tx, Session, { id: session.id }, changes);
    Object.assign(session, changes);
    if (seen.epoch === leaseEpoch && believes(session, seen)) await state.observe(tx, session, seen);
  }

  /**
   * Its events say how it got there, in order, so they come first. But a session that was written off while its worker went on is
   * back with the first beat, and one that stays different over several beats has lost an event.
   */
  function believes(session: Session, seen: Seen): boolean {
    if (seen.status === session.status || session.status === 'suspended') return (void doubts.delete(session.id), false);
    if (session.reasonCode === 'WORKER_LOST' && session.status === 'disconnected') return true;
    const before = doubts.get(session.id);
    const updatedAt = session.updatedAt.getTime();
    const isSame = before?.status === seen.status && before.updatedAt === updatedAt;
    const beats = isSame ? before.beats + 1 : 1;
    doubts.set(session.id, { status: seen.status, updatedAt, beats });
    return beats >= beatsToBelieve;
  }

  async function remember(tx: Transaction, beat: Heartbeat, now: Date): Promise<void> {
    const { workerId: id, url, bootId, version, draining, capacity } = beat;
    const memory = {
      memoryMb: Math.round(beat.memoryMb),
      memoryLimitMb: beat.memoryLimitMb,
      cpuPercent: beat.cpuPercent === null ? null : Math.round(beat.cpuPercent),
    };
    const sessions = beat.sessions.filter(runs).length;
    const degraded = beat.status === 'degraded';
    const row = { id, url, bootId, version, draining, degraded, capacity, ...memory, sessions, lastHeartbeatAt: now };
    await tx.manager.upsert(Worker, row, ['id']);
  }

  /** No lease is longer than ours: one that ends later was written before the clock was set back, and would hold its session for as long. */
  async function shortenLeases(): Promise<void> {
    const longest = new Date(clock.now().getTime() + leaseMs + clockSkewMs);
    const tooLong = { leaseExpiresAt: MoreThan(longest), deletedAt: IsNull() };
    const found = await database.reader.getRepository(Session).find({ where: tooLong, select: { id: true } });
    for (const { id } of found) {
      const leaseExpiresAt = new Date(clock.now().getTime() + leaseMs);
      await database.write.run((tx) => updateRows(tx, Session, { id, leaseExpiresAt: MoreThan(longest) }, { leaseExpiresAt }));
    }
  }

  /** Sessions whose worker has not been heard of for a lease. Just after a start nobody could be heard of yet. */
  async function writeOff(): Promise<void> {
    if (clock.monotonic() < startedAt + leaseMs) return;
    await shortenLeases();
    const now = clock.now();
    const lost = await database.reader.getRepository(Session).find({
      where: {
        leaseExpiresAt: LessThan(now),
        status: Not(In(['disconnected', 'error', 'suspended'])),
        deletedAt: IsNull(),
      },
      select: { id: true },
    });
    for (const { id } of lost)
      try {
        await database.write.run(async (tx) => {
          const session = await lockSession(tx, id);
          const isLost = session.leaseExpiresAt !== null && session.leaseExpiresAt < now;
          if (isLost && !['disconnected', 'error', 'suspended'].includes(session.status))
            await state.move(tx, session, 'disconnected', reasonFor('WORKER_LOST'));
        });
      } catch (error) {
        // Deleted since it was looked up: it has no lease any more.
        if (error instanceof AppError && error.code === 'SESSION_NOT_FOUND') continue;
        if (isSystemError(error)) throw error;
        failedSession(id, error);
      }
  }

  /** One pass at a time: on a slow database the next one would only wait behind it. */
  function checkLeases(): void {
    checking ??= writeOff()
      .catch((error: unknown) => log.error('Expired leases could not be checked; it is retried.', errorFields(error)))
      .finally(() => (checking = null));
  }

  return {
    take,
    writeOff,
    start(): void {
      timer = setInterval(checkLeases, Math.max(500, leaseMs / 4));
      timer.unref();
    },
    stop: (): void => clearInterval(timer),
  };
}
