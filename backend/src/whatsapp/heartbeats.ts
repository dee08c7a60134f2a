import type { Heartbeat, HeartbeatReply, WorkerSettings } from '@chasqui/shared';
import { In, IsNull, LessThan, Not } from 'typeorm';
import type { Database } from '../db/database.js';
import { among, holdRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import type { SessionState } from '../sessions/state.js';
import type { StorageOf } from '../messages/storage.js';
import { Worker } from './worker.entity.js';
import { workerSettingsOf } from './worker-settings.js';

type Seen = Heartbeat['sessions'][number];

export type Heartbeats = ReturnType<typeof createHeartbeats>;

/** As many beats in a row must a session look different from its row before the beat is believed instead of its events. */
const beatsToBelieve = 3;

const runs = (seen: Seen | undefined): boolean => seen !== undefined && seen.status !== 'disconnected' && seen.status !== 'error';

/**
 * Closes the gap between what is desired and what is observed. A worker tells what it runs and is told what it should.
 *
 * | found | then |
 * | --- | --- |
 * | a session of this worker | its lease is renewed |
 * | desired `running`, not running there | it is told to start it |
 * | desired `stopped` or suspended, running there | it is told to stop it |
 * | desired `running`, leased to nobody | leased to this worker under the next epoch |
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
}: {
  database: Database;
  state: SessionState;
  storageOf: StorageOf;
  clock: Clock;
  log: Log;
  leaseMs: number;
  /** Deletes what this worker still has of deleted sessions. */
  wipeLeft: (workerId: string) => Promise<void>;
}) {
  const doubts = new Map<string, { status: string; updatedAt: number; beats: number }>();
  const startedAt = clock.now().getTime();
  let timer: NodeJS.Timeout | undefined;

  async function take(beat: Heartbeat): Promise<HeartbeatReply> {
    await adopt(beat);
    const reply = await database.write.run(async (tx) => {
      const now = clock.now();
      await remember(tx, beat, now);
      const { workerId } = beat;
      const ids = await tx.manager.find(Session, { where: { workerId, deletedAt: IsNull() }, select: { id: true } });
      await holdRows(
        tx,
        Session,
        ids.map(({ id }) => id),
      );
      // The order is the order of starting, where many wait for their turn: what has messages waiting first, then what was used last.
      const mine = await byImportance(tx, await tx.manager.find(Session, { where: { workerId, deletedAt: IsNull() } }));
      const expiresAt = new Date(now.getTime() + leaseMs);
      await updateRows(tx, Session, { workerId: beat.workerId, deletedAt: IsNull() }, { leaseExpiresAt: expiresAt });
      const seen = new Map(beat.sessions.map((session) => [session.sessionId, session]));
      const answer: HeartbeatReply = { leases: [], desired: [], revoke: [] };
      for (const session of mine) {
        const there = seen.get(session.id);
        if (there) await note(tx, session, there, now);
        const settings = workerSettingsOf(session, await storageOf(session, tx.manager));
        answer.leases.push({ sessionId: session.id, epoch: session.leaseEpoch, expiresAt: expiresAt.toISOString(), settings });
        const wanted = session.desired === 'running' && session.status !== 'suspended';
        if (wanted === (runs(there) && there?.epoch === session.leaseEpoch)) continue;
        if (!wanted && !runs(there)) continue;
        answer.desired.push(wishOf(session, wanted, settings));
      }
      const known = new Set(mine.map((session) => session.id));
      for (const { sessionId, epoch } of beat.sessions) if (!known.has(sessionId)) answer.revoke.push({ sessionId, epoch });
      return answer;
    });
    wipeLeft(beat.workerId).catch((error: unknown) =>
      log.error('A login could not be deleted; the next heartbeat tries again.', errorFields(error)),
    );
    return reply;
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

  const wishOf = (session: Session, wanted: boolean, settings: WorkerSettings): HeartbeatReply['desired'][number] => ({
    sessionId: session.id,
    state: wanted ? 'running' : 'stopped',
    epoch: session.leaseEpoch,
    settings,
    deviceName: session.deviceName,
  });

  /** Sessions that nobody runs and somebody should. The condition of the update is what was read: of two workers one gets it. */
  async function adopt(beat: Heartbeat): Promise<void> {
    const free = beat.draining ? 0 : beat.capacity - beat.sessions.filter(runs).length;
    if (free <= 0) return;
    const now = clock.now();
    const waiting = await database.reader.getRepository(Session).find({
      where: { desired: 'running', deletedAt: IsNull(), status: Not('suspended') },
      select: { id: true, workerId: true, phoneNumber: true, leaseEpoch: true, leaseExpiresAt: true },
      order: { createdAt: 'ASC' },
    });
    const isLeftBehind = ({ workerId, phoneNumber, leaseExpiresAt }: Session): boolean =>
      workerId !== beat.workerId && phoneNumber === null && leaseExpiresAt !== null && leaseExpiresAt <= now;
    const orphans = waiting.filter((session) => session.workerId === null || isLeftBehind(session));
    for (const { id, workerId, leaseEpoch } of orphans.slice(0, free)) {
      const asRead = { id, leaseEpoch, workerId: workerId ?? IsNull() };
      const lease = { workerId: beat.workerId, leaseEpoch: leaseEpoch + 1, leaseExpiresAt: new Date(now.getTime() + leaseMs) };
      const taken = await database.write.run((tx) => updateRows(tx, Session, asRead, lease));
      if (taken === 1) log.info('A session was given to a worker.', { sessionId: id, workerId: beat.workerId, from: workerId });
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
    const row = { id, url, bootId, version, draining, capacity, ...memory, sessions, lastHeartbeatAt: now };
    await tx.manager.upsert(Worker, row, ['id']);
  }

  /** Sessions whose worker has not been heard of for a lease. Just after a start nobody could be heard of yet. */
  async function writeOff(): Promise<void> {
    const now = clock.now();
    if (now.getTime() < startedAt + leaseMs) return;
    const lost = await database.reader.getRepository(Session).find({
      where: {
        leaseExpiresAt: LessThan(now),
        status: Not(In(['disconnected', 'error', 'suspended'])),
        deletedAt: IsNull(),
      },
      select: { id: true },
    });
    for (const { id } of lost)
      await database.write.run(async (tx) => {
        const session = await state.hold(tx, id);
        const isLost = session.leaseExpiresAt !== null && session.leaseExpiresAt < now;
        if (isLost && !['disconnected', 'error', 'suspended'].includes(session.status))
          await state.move(tx, session, 'disconnected', state.named('WORKER_LOST'));
      });
  }

  return {
    take,
    writeOff,
    start(): void {
      timer = setInterval(
        () => void writeOff().catch((error: unknown) => log.error('Leases could not be looked through.', errorFields(error))),
        Math.max(500, leaseMs / 4),
      );
      timer.unref();
    },
    stop: (): void => clearInterval(timer),
  };
}
