import {
  isWorkerEventType,
  workerEvents,
  type OutletEvent,
  type WorkerEventPayload,
  type WorkerEventType,
} from '@chasqui/shared';
import { In } from 'typeorm';
import type { Database } from '../db/database.js';
import { insertRow, updateRows } from '../db/rows.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Arrivals } from '../messages/arrivals.js';
import { Session } from '../sessions/session.entity.js';
import type { SessionState } from '../sessions/state.js';
import { InboxEvent, InboxPosition } from './worker.entity.js';

export interface Intake {
  ackCursor: number;
  refused: { id: string; code: string }[];
  resend: { sessionId: string; fromSequence: number }[];
}

export type Inbox = ReturnType<typeof createInbox>;

/**
 * Takes in what a worker tells: one transaction for the batch, in the order of its cursors.
 *
 * | the process dies | then |
 * | --- | --- |
 * | before the commit | nothing was taken; the worker sends the batch again |
 * | after the commit, before the answer | the worker sends it again; every id is known and changes nothing |
 *
 * A sequence that is higher than the next one is a gap: what follows it is not taken, and is asked for again. A lower one is a worker
 * that lost its outlet and began anew; its ids are new, and it is taken.
 */
export function createInbox({
  database,
  events,
  state,
  arrivals,
  clock,
  log,
}: {
  database: Database;
  events: Events;
  state: SessionState;
  arrivals: Arrivals;
  clock: Clock;
  log: Log;
}) {
  /** Sequences begin anew with each epoch: a position says something only within its own. Known from the first event of this process on. */
  const positionEpoch = new Map<string, number>();

  /** One small function for each kind of event. */
  const handlers: {
    [T in WorkerEventType]: (tx: Transaction, session: Session, payload: WorkerEventPayload<T>) => Promise<unknown>;
  } = {
    'session.observed': (tx, session, payload) => state.observe(tx, session, payload),
    'session.qr': (tx, session, payload) => state.showQr(tx, session, payload),
    'session.pairing_code': (tx, session, { code, phoneNumber, expiresAt }) =>
      events.append(tx, { ...of(session), type: 'session.pairing_code', data: { code, phoneNumber, expiresAt } }),
    'session.heal': (tx, session, data) => events.append(tx, { ...of(session), type: 'session.heal', data }),
    'session.backfill': (tx, session, data) => events.append(tx, { ...of(session), type: 'session.backfill', data }),
    'message.observed': (tx, session, { message, origin }) => arrivals.observed(tx, session, message, origin),
    'message.ack': (tx, session, payload) => arrivals.acknowledged(tx, session, payload),
    'message.edited': (tx, session, payload) => arrivals.edited(tx, session, payload),
    'message.revoked': (tx, session, payload) => arrivals.revoked(tx, session, payload),
    'message.reaction': (tx, session, payload) => arrivals.reacted(tx, session, payload),
    'poll.vote': (tx, session, payload) => arrivals.voted(tx, session, payload),
    'chat.updated': (tx, session, data) => events.append(tx, { ...of(session), type: 'chat.updated', data }),
    'group.participants': (tx, session, data) => events.append(tx, { ...of(session), type: 'group.participants', data }),
    'group.updated': (tx, session, data) => events.append(tx, { ...of(session), type: 'group.updated', data }),
    'group.membership_request': (tx, session, data) =>
      events.append(tx, { ...of(session), type: 'group.membership_request', data }),
    'call.received': (tx, session, data) => events.append(tx, { ...of(session), type: 'call.received', data }),
  };

  async function handle(tx: Transaction, session: Session, event: OutletEvent): Promise<string | null> {
    if (!isWorkerEventType(event.type)) return 'UNKNOWN_EVENT_TYPE';
    const parsed = workerEvents[event.type].safeParse(event.payload);
    if (!parsed.success) {
      log.error('An event of a worker does not fit its schema.', {
        eventId: event.id,
        type: event.type,
        fields: parsed.error.issues.map((issue) => issue.path.join('.')),
      });
      return 'VALIDATION_FAILED';
    }
    await (handlers[event.type] as (tx: Transaction, session: Session, payload: unknown) => Promise<unknown>)(
      tx,
      session,
      parsed.data,
    );
    return null;
  }

  return {
    take: (workerId: string, batch: readonly OutletEvent[]): Promise<Intake> =>
      database.write.run(async (tx) => {
        const intake: Intake = { ackCursor: 0, refused: [], resend: [] };
        const known = new Set(
          (await tx.manager.find(InboxEvent, { where: { id: In(batch.map((event) => event.id)) }, select: { id: true } })).map(
            (row) => row.id,
          ),
        );
        const sessions = new Map(
          (
            await tx.manager
              .createQueryBuilder(Session, 's')
              .addSelect('s.qrText')
              .where('s.id IN (:...ids)', { ids: ['', ...new Set(batch.map((event) => event.sessionId))] })
              .getMany()
          ).map((row) => [row.id, row]),
        );
        const positions = new Map(
          (await tx.manager.find(InboxPosition, { where: { workerId, sessionId: In([...sessions.keys()]) } })).map((row) => [
            row.sessionId,
            row.sequence,
          ]),
        );
        const before = new Set(positions.keys());
        const gaps = new Set<string>();
        for (const event of batch) {
          if (gaps.has(event.sessionId)) break;
          if (known.has(event.id)) {
            intake.ackCursor = event.cursor;
            continue;
          }
          const session = sessions.get(event.sessionId);
          const refusal =
            !session || session.deletedAt
              ? 'SESSION_NOT_FOUND'
              : event.epoch < session.leaseEpoch || session.workerId !== workerId
                ? 'STALE_EPOCH'
                : null;
          const last = positions.get(event.sessionId);
          if (!refusal && last !== undefined && event.sequence > last + 1 && positionEpoch.get(event.sessionId) === event.epoch) {
            gaps.add(event.sessionId);
            intake.resend.push({ sessionId: event.sessionId, fromSequence: last + 1 });
            break;
          }
          const code = refusal ?? (await handle(tx, session!, event));
          if (code) intake.refused.push({ id: event.id, code });
          else {
            positions.set(event.sessionId, event.sequence);
            positionEpoch.set(event.sessionId, event.epoch);
          }
          await insertRow(tx, InboxEvent, { id: event.id, workerId, cursor: event.cursor, receivedAt: clock.now() });
          intake.ackCursor = event.cursor;
        }
        for (const [sessionId, sequence] of positions) {
          if (before.has(sessionId)) await updateRows(tx, InboxPosition, { sessionId, workerId }, { sequence });
          else await insertRow(tx, InboxPosition, { sessionId, workerId, sequence });
        }
        return intake;
      }),
  };
}

const of = (session: Session) => ({ accountId: session.accountId, sessionId: session.id });
