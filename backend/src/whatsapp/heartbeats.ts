import { type Heartbeat, type HeartbeatReply } from '@chasqui/shared';
import { In, IsNull, LessThan, Not } from 'typeorm';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import { errorFields } from '../lib/log.js';
import { Session } from '../sessions/session.entity.js';
import type { SessionState } from '../sessions/state.js';
import { Worker } from './worker.entity.js';

export type Heartbeats = ReturnType<typeof createHeartbeats>;

/**
 * Closes the gap between what is desired and what is observed. A worker tells what it runs and is told what it should: its leases are
 * renewed, sessions without a living worker are given to it if their login is on its disk (or nowhere yet), what belongs to somebody
 * else is revoked. A lease that ran out makes the session `disconnected` with `WORKER_LOST`: told, not guessed.
 */
export function createHeartbeats({
  database,
  state,
  clock,
  log,
  leaseMs,
}: {
  database: Database;
  state: SessionState;
  clock: Clock;
  log: Log;
  leaseMs: number;
}) {
  let timer: NodeJS.Timeout | undefined;

  async function take(beat: Heartbeat): Promise<HeartbeatReply> {
    return database.write.run(async (tx) => {
      const now = clock.now();
      await remember(tx, beat, now);
      const mine = await tx.manager.find(Session, { where: { workerId: beat.workerId, deletedAt: IsNull() } });
      const expiresAt = new Date(now.getTime() + leaseMs);
      const reply: HeartbeatReply = { leases: [], desired: [], revoke: [] };
      for (const session of mine) {
        const seen = beat.sessions.find((candidate) => candidate.sessionId === session.id);
        const wanted = session.desired === 'running' && session.status !== 'suspended';
        const epoch = Math.max(session.leaseEpoch, 1);
        const measured = seen
          ? {
              memoryMb: seen.metrics.memoryMb,
              roundTripMs: seen.metrics.roundTripMs,
              ...(seen.compat.length > 0 ? { compat: seen.compat } : {}),
              ...(seen.status === 'connected' ? { lastSeen: now } : {}),
            }
          : {};
        await updateRows(tx, Session, { id: session.id }, { leaseExpiresAt: expiresAt, leaseEpoch: epoch, ...measured });
        // Its events may be on their way; but a session that was written off while its worker went on is back with its first beat.
        if (seen && seen.epoch === epoch && session.reasonCode === 'WORKER_LOST' && seen.status !== session.status)
          await state.observe(tx, Object.assign(session, { leaseEpoch: epoch }), seen);
        reply.leases.push({ sessionId: session.id, epoch, expiresAt: expiresAt.toISOString() });
        reply.desired.push({
          sessionId: session.id,
          state: wanted ? 'running' : 'stopped',
          epoch,
          settings: {},
          deviceName: session.deviceName,
        });
      }
      const known = new Set(mine.map((session) => session.id));
      for (const { sessionId, epoch } of beat.sessions) if (!known.has(sessionId)) reply.revoke.push({ sessionId, epoch });
      return reply;
    });
  }

  async function remember(tx: Transaction, beat: Heartbeat, now: Date): Promise<void> {
    const { workerId: id, url, bootId, version, draining, capacity } = beat;
    const memory = {
      memoryMb: Math.round(beat.memoryMb),
      memoryLimitMb: beat.memoryLimitMb,
      cpuPercent: beat.cpuPercent === null ? null : Math.round(beat.cpuPercent),
    };
    await tx.manager.upsert(
      Worker,
      {
        id,
        url,
        bootId,
        version,
        draining,
        capacity,
        ...memory,
        sessions: beat.sessions.filter(({ status }) => status !== 'disconnected' && status !== 'error').length,
        lastHeartbeatAt: now,
      },
      ['id'],
    );
  }

  /** Sessions whose worker has not been heard of for a lease. */
  async function writeOff(): Promise<void> {
    await database.write.run(async (tx) => {
      const lost = await tx.manager.find(Session, {
        where: {
          leaseExpiresAt: LessThan(clock.now()),
          status: Not(In(['disconnected', 'error', 'suspended'])),
          deletedAt: IsNull(),
        },
      });
      for (const session of lost) await state.move(tx, session, 'disconnected', state.named('WORKER_LOST'));
    });
  }

  return {
    take,
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
