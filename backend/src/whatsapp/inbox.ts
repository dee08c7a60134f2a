import {
  isWorkerEventType,
  withoutContent,
  workerEvents,
  type OutletEvent,
  type WorkerEventPayload,
  type WorkerEventType,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { deleteBefore, lockRows, insertIfAbsent, insertMissing, readAmong, updateRows } from '../db/rows.js';
import { behindSavepoint } from '../db/savepoint.js';
import { isSystemError, isUnrelatedToStatement } from '../db/database-errors.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { Events } from '../events/events.js';
import type { ReportFailure } from '../failures/failures.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Arrivals } from '../messages/receive/arrivals.js';
import { drawQr } from '../sessions/present.js';
import { Session } from '../sessions/session.entity.js';
import type { SessionState } from '../sessions/state.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { InboxEvent, InboxPosition } from './worker.entity.js';

export interface Intake {
  ackCursor: number;
  refused: { id: string; code: string }[];
  resend: { sessionId: string; fromSequence: number }[];
}

/** What one batch is judged by, read at its beginning and kept up while it is taken in. */
interface Desk {
  workerId: string;
  known: Set<string>;
  sessions: Map<string, Session>;
  positions: Map<string, { epoch: number; sequence: number }>;
  /** An event that is refused without being handled, and one that waits with all that follows in its session. */
  plan: Plan;
  /** Pictures of codes to scan, by event. They are ready: nothing inside the transaction waits for the drawing. */
  drawn: Map<string, Promise<string>>;
}

/**
 * A transaction holds the lock of the event log, which every accept of every backend waits for. After so long it commits what it has; the worker
 * sends the rest again at once.
 */
const maxTransactionMs = 1_000;

interface Plan {
  refuse?: string;
  wait?: string;
}

/** An event during which the database failed. Usually the database is the cause; when only this event fails, again and again, it is the event. */
interface Suspect {
  times: number;
  /** On the monotonic clock. */
  since: number;
}
const suspectTimes = 3;
const suspectMs = 30_000;
const maxSuspects = 1_000;

export type Inbox = ReturnType<typeof createInbox>;

/** As often is a gap asked for again; a worker that answers with the same gap then has nothing to fill it with. */
const maxRequested = 2;
/** A worker sends again only what was not acknowledged, and on demand a few thousand events more. */
const keptMs = 14 * 86_400_000;

/**
 * Takes in what a worker tells: one transaction for the batch, in the order of its cursors.
 *
 * | what happens | then |
 * | --- | --- |
 * | the process dies before the commit | nothing was taken; the worker sends the batch again |
 * | it dies after the commit, before the answer | the worker sends it again; every id is known and changes nothing |
 * | the batch takes longer than a second | what was handled is committed and acknowledged; the worker sends the rest |
 * | a sequence is higher than the next one | a gap: what follows of this session waits and is asked for again; other sessions go on |
 * | the gap stays, because the worker has nothing left to fill it | it is logged and left behind: what there is, is taken |
 * | a sequence is lower, under a new id | the worker lost its outlet and began again: taken |
 * | an old epoch | refused, counts as taken, writes nothing |
 * | the database fails during one event, and not without it | the other sessions go on; after 3 times and 30 seconds the event is refused |
 * | one event cannot be stored | undone alone behind its savepoint, refused, and recorded in `failures`; the worker keeps it aside |
 */
export function createInbox({
  database,
  events,
  state,
  contacts,
  arrivals,
  storageOf,
  clock,
  log,
  report,
}: {
  database: Database;
  events: Events;
  state: SessionState;
  contacts: Contacts;
  arrivals: Arrivals;
  storageOf: StorageOf;
  clock: Clock;
  log: Log;
  report: ReportFailure;
}) {
  /** The open gap of each session, and how often it was asked for. In memory: after a restart it is asked for again. */
  const asked = new Map<string, { gap: string; times: number }>();
  const suspects = new Map<string, Suspect>();

  /** One small function for each kind of event. */
  const handlers: {
    [T in WorkerEventType]: (
      tx: Transaction,
      session: Session,
      payload: WorkerEventPayload<T>,
      drawn: Promise<string> | undefined,
    ) => Promise<unknown>;
  } = {
    'session.observed': async (tx, session, payload) => {
      await state.observe(tx, session, payload);
      await contacts.learn(tx, session, [ownSighting(payload)]);
    },
    'contact.observed': (tx, session, { contact }) => contacts.learn(tx, session, [{ contact, isNews: true }]),
    'session.qr': async (tx, session, payload, drawn) => state.showQr(tx, session, { ...payload, qrCode: (await drawn) ?? '' }),
    'session.pairing_code': (tx, session, data) => state.showPairingCode(tx, session, data),
    'session.heal': (tx, session, data) => events.append(tx, { ...of(session), type: 'session.heal', data }),
    'session.recycled': (tx, session, data) => events.append(tx, { ...of(session), type: 'session.recycled', data }),
    'session.backfill': (tx, session, data) => events.append(tx, { ...of(session), type: 'session.backfill', data }),
    'session.caught_up': (tx, session, data) => noteCaughtUp(tx, session, data),
    'message.observed': (tx, session, { message, origin }) => arrivals.observed(tx, session, message, origin),
    'message.ack': (tx, session, payload) => arrivals.acknowledged(tx, session, payload),
    'message.edited': (tx, session, payload) => arrivals.edited(tx, session, payload),
    'message.revoked': (tx, session, payload) => arrivals.revoked(tx, session, payload),
    'message.reaction': (tx, session, payload) => arrivals.reacted(tx, session, payload),
    'poll.vote': (tx, session, payload) => arrivals.voted(tx, session, payload),
    'chat.updated': (tx, session, data) => events.append(tx, { ...of(session), type: 'chat.updated', data }),
    'group.participants': async (tx, session, data) =>
      events.append(tx, { ...of(session), type: 'group.participants', data: await contacts.observe(tx, session, data) }),
    'group.updated': async (tx, session, data) =>
      events.append(tx, { ...of(session), type: 'group.updated', data: await contacts.observe(tx, session, data) }),
    'group.membership_request': async (tx, session, data) =>
      events.append(tx, { ...of(session), type: 'group.membership_request', data: await contacts.observe(tx, session, data) }),
    'call.received': async (tx, session, data) =>
      events.append(tx, { ...of(session), type: 'call.received', data: await contacts.observe(tx, session, data) }),
  };

  async function open(
    tx: Transaction,
    workerId: string,
    batch: readonly OutletEvent[],
    drawn: Desk['drawn'],
    plan: Plan,
  ): Promise<Desk> {
    const sessionIds = [...new Set(batch.map((event) => event.sessionId))];
    const ids = batch.map(({ id }) => id);
    // Closes: two backends are given one batch. The second waits here for the first, and then reads what that one has stored.
    await lockRows(tx, Session, sessionIds);
    const seen = await readAmong(tx.manager, InboxEvent, 'id', ids);
    const sessions = await readSessions(tx, sessionIds);
    const positions = (await readAmong(tx.manager, InboxPosition, 'sessionId', sessionIds)).filter(
      (row) => row.workerId === workerId,
    );
    return {
      workerId,
      plan,
      drawn,
      known: new Set(seen.map((row) => row.id)),
      sessions: new Map(sessions.map((row) => [row.id, row])),
      positions: new Map(positions.map(({ sessionId, epoch, sequence }) => [sessionId, { epoch, sequence }])),
    };
  }

  const readSessions = (tx: Transaction, ids: readonly string[]): Promise<Session[]> =>
    readAmong(tx.manager, Session, 'id', ids, ['qrText']);

  const refusalOf = (desk: Desk, event: OutletEvent): string | null => {
    const session = desk.sessions.get(event.sessionId);
    if (!session || session.deletedAt) return 'SESSION_NOT_FOUND';
    return event.epoch < session.leaseEpoch || session.workerId !== desk.workerId ? 'STALE_EPOCH' : null;
  };

  /** From which sequence on events are missing before this one; null when it is the next, or when nobody can give them any more. */
  function missingBefore(desk: Desk, event: OutletEvent): number | null {
    const last = desk.positions.get(event.sessionId);
    const next = last?.epoch === event.epoch ? last.sequence + 1 : 1;
    if (event.sequence <= next) {
      asked.delete(event.sessionId);
      return null;
    }
    const gap = [desk.workerId, event.epoch, next].join(' ');
    const open = asked.get(event.sessionId);
    const times = open?.gap === gap ? open.times : 0;
    if (times < maxRequested) {
      asked.set(event.sessionId, { gap, times: times + 1 });
      return next;
    }
    asked.delete(event.sessionId);
    const { sessionId, epoch, sequence } = event;
    log.warn('A worker cannot give the events that are missing; what follows is taken.', { sessionId, epoch, next, sequence });
    return null;
  }

  async function handle(tx: Transaction, desk: Desk, session: Session, event: OutletEvent): Promise<string | null> {
    if (!isWorkerEventType(event.type)) return 'UNKNOWN_EVENT_TYPE';
    const parsed = workerEvents[event.type].safeParse(event.payload);
    if (!parsed.success) {
      const fields = parsed.error.issues.map((issue) => issue.path.join('.'));
      log.error('An event of a worker does not fit its schema.', { eventId: event.id, type: event.type, fields });
      return 'VALIDATION_FAILED';
    }
    const isBare = (await storageOf(session, tx.manager)) === 'metadata';
    // The table's row fits the payload that its own schema has just parsed.
    await (
      handlers[event.type] as (
        tx: Transaction,
        session: Session,
        payload: unknown,
        drawn: Promise<string> | undefined,
      ) => Promise<unknown>
    )(tx, session, isBare ? withoutContent(event.type, parsed.data) : parsed.data, desk.drawn.get(event.id));
    return null;
  }

  /** One event behind its own savepoint: what it told before it failed is neither written nor heard of. */
  async function handleAlone(tx: Transaction, desk: Desk, event: OutletEvent): Promise<string | null> {
    if (desk.plan.refuse === event.id) {
      log.error('A worker event was isolated: the transaction failed with it and succeeded without it.', {
        eventId: event.id,
        type: event.type,
        sessionId: event.sessionId,
      });
      return 'INTERNAL_ERROR';
    }
    try {
      return await behindSavepoint(tx, 'event', (own) => handle(own, desk, desk.sessions.get(event.sessionId)!, event));
    } catch (error) {
      if (isSystemError(error)) {
        suspect(event, error);
        throw error;
      }
      log.error('A worker event could not be ingested; the worker parked it.', {
        eventId: event.id,
        type: event.type,
        sessionId: event.sessionId,
        ...errorFields(error),
      });
      for (const session of await readSessions(tx, [event.sessionId])) desk.sessions.set(session.id, session);
      return 'INTERNAL_ERROR';
    }
  }

  /** After the commit: what was rolled back is sent again, and reported then. */
  function reportRefused(batch: readonly OutletEvent[], { refused }: Intake): void {
    const byId = new Map(batch.map((event) => [event.id, event]));
    for (const { id, code } of refused) {
      if (expectedRefusals.includes(code)) continue;
      const { sessionId = null, type = '' } = byId.get(id) ?? {};
      report({ kind: 'worker_event', subject: id, sessionId, code, detail: `The worker keeps the event ${type} aside.` });
    }
  }

  async function close(tx: Transaction, desk: Desk, taken: readonly OutletEvent[]): Promise<void> {
    const { workerId } = desk;
    const receivedAt = clock.now();
    // Events of sessions that do not exist are refused under no lock: another backend may have noted the same ones meanwhile.
    await insertMissing(
      tx,
      InboxEvent,
      taken.map(({ id, cursor }) => ({ id, workerId, cursor, receivedAt })),
    );
    for (const sessionId of new Set(taken.map((event) => event.sessionId))) {
      const position = desk.positions.get(sessionId);
      if (!position) continue;
      if ((await updateRows(tx, InboxPosition, { sessionId, workerId }, position)) === 0)
        await insertIfAbsent(tx, InboxPosition, { sessionId, workerId, ...position });
    }
  }

  /** Notes that the database failed during this event. A lock or a full disk is not the event's doing, however often it is met. */
  function suspect({ id }: OutletEvent, error: unknown): void {
    if (isUnrelatedToStatement(error)) return;
    const known = suspects.get(id);
    if (!known && suspects.size >= maxSuspects) suspects.clear();
    suspects.set(id, { times: (known?.times ?? 0) + 1, since: known?.since ?? clock.monotonic() });
  }

  /** Takes in a batch in one transaction. Throws when the database fails; nothing is written then. */
  async function takeIn(workerId: string, batch: readonly OutletEvent[], drawn: Desk['drawn'], plan: Plan): Promise<Intake> {
    const intake = await database.write.run(async (tx) => {
      const desk = await open(tx, workerId, batch.filter(isStorable), drawn, plan);
      const intake: Intake = { ackCursor: batch.at(-1)?.cursor ?? 0, refused: [], resend: [] };
      const until = clock.monotonic() + maxTransactionMs;
      const waiting = new Set<string>();
      const taken: OutletEvent[] = [];
      const defer = ({ sessionId, cursor }: OutletEvent): void => {
        waiting.add(sessionId);
        intake.ackCursor = Math.min(intake.ackCursor, cursor - 1);
      };
      for (const event of batch) {
        if (!isStorable(event)) {
          intake.refused.push({ id: event.id, code: 'VALIDATION_FAILED' });
          continue;
        }
        if (desk.known.has(event.id)) continue;
        if (taken.length > 0 && clock.monotonic() >= until) {
          defer(event);
          break;
        }
        if (waiting.has(event.sessionId) || plan.wait === event.id) {
          defer(event);
          continue;
        }
        const refusal = refusalOf(desk, event);
        const fromSequence = refusal ? null : missingBefore(desk, event);
        if (fromSequence !== null) {
          intake.resend.push({ sessionId: event.sessionId, fromSequence });
          defer(event);
          continue;
        }
        const code = refusal ?? (await handleAlone(tx, desk, event));
        if (code) intake.refused.push({ id: event.id, code });
        if (!refusal) desk.positions.set(event.sessionId, { epoch: event.epoch, sequence: event.sequence });
        desk.known.add(event.id);
        taken.push(event);
      }
      await close(tx, desk, taken);
      failPoint('inbox.written');
      return intake;
    });
    failPoint('inbox.committed');
    reportRefused(batch, intake);
    return intake;
  }

  return {
    async take(workerId: string, batch: readonly OutletEvent[]): Promise<Intake> {
      const drawn = await drawCodes(batch);
      const id = suspects.size > 0 ? batch.find((event) => suspects.has(event.id))?.id : undefined;
      if (id === undefined) return takeIn(workerId, batch, drawn, {});
      const { times, since } = suspects.get(id)!;
      // The other sessions first: that this succeeds also shows that the database works.
      await takeIn(workerId, batch, drawn, { wait: id });
      const isGuilty = times >= suspectTimes && clock.monotonic() - since >= suspectMs;
      // Here it may fail once more; the worker then sends the batch again, after its backoff.
      const intake = await takeIn(workerId, batch, drawn, {}).catch((error: unknown) => {
        if (!isGuilty || !isSystemError(error) || isUnrelatedToStatement(error)) throw error;
        return takeIn(workerId, batch, drawn, { refuse: id });
      });
      suspects.delete(id);
      return intake;
    },
    /** Forgets ids that no worker will send again. */
    async prune(): Promise<void> {
      const before = new Date(clock.now().getTime() - keptMs);
      await deleteBefore(database, InboxEvent, { time: 'receivedAt', key: 'id', before });
    },
  };
}

/** Refusals that are part of normal operation: the session moved to another worker, or was deleted. */
const expectedRefusals: readonly string[] = ['STALE_EPOCH', 'SESSION_NOT_FOUND'];

/** Whether the inbox can store the envelope of an event. A batch must not fail because of one id that no column takes. */
const isStorable = ({ id, sessionId, epoch }: OutletEvent): boolean =>
  /^[\w-]{1,36}$/.test(id) && /^[\w-]{1,36}$/.test(sessionId) && epoch <= 2_147_483_647;

/** Draws the codes of a batch. One that cannot be drawn rejects again where its event is handled, and is refused alone. */
async function drawCodes(batch: readonly OutletEvent[]): Promise<Desk['drawn']> {
  const drawn: Desk['drawn'] = new Map();
  for (const { id, type, payload } of batch) {
    if (type !== 'session.qr') continue;
    const parsed = workerEvents[type].safeParse(payload);
    if (parsed.success) drawn.set(id, drawQr(parsed.data.qrText));
  }
  await Promise.allSettled(drawn.values());
  return drawn;
}

/** The session's own number and LID are one person too. Its name is the session's `pushName`. */
const ownSighting = ({ phoneNumber, lid }: WorkerEventPayload<'session.observed'>): Sighting | null =>
  phoneNumber && lid ? { contact: { id: lid, phone: `+${phoneNumber.replace(/^\+/, '')}`, lid, name: null } } : null;

const of = (session: Session) => ({ accountId: session.accountId, sessionId: session.id });

/** How far the messages of a session are recorded: for the worker that runs it next, which may have nothing of it on its disk. */
async function noteCaughtUp(
  tx: Transaction,
  session: Session,
  { phoneNumber, at }: WorkerEventPayload<'session.caught_up'>,
): Promise<void> {
  const changes = { caughtUpAt: new Date(at), caughtUpNumber: phoneNumber };
  await updateRows(tx, Session, { id: session.id }, changes);
  Object.assign(session, changes);
}
