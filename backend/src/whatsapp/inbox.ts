import { workerEvents, type OutletEvent } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Core } from '../core.js';
import { withSums } from '../db/additions.js';
import { isSystemError, isUnrelatedToStatement } from '../db/database-errors.js';
import { deleteBefore, insertIfAbsent, insertMissing, lockRows, readAmong, updateRows } from '../db/rows.js';
import { behindSavepoint } from '../db/savepoint.js';
import type { Transaction } from '../db/unit-of-work.js';
import { errorFields } from '../lib/log.js';
import { drawQr } from '../sessions/present.js';
import { Session } from '../sessions/session.entity.js';
import { writeWorkerEvent, type WorkerEventContext } from './worker-events.js';
import { InboxEvent, InboxPosition } from './worker.entity.js';

/** The result of a batch, as the worker receives it. */
export interface IngestResult {
  /** Everything up to this cursor is committed or refused; the worker deletes it. */
  ackCursor: number;
  /** Events that the worker parks, each with the reason. */
  refused: { id: string; code: string }[];
  /** Sessions whose events have a gap, and the sequence from which the worker resends. */
  resend: { sessionId: string; fromSequence: number }[];
}

/**
 * Ingests batches of a worker's events: one transaction for each batch, in the order of the cursors.
 *
 * | what happens | then |
 * | --- | --- |
 * | the process dies before the commit | nothing was ingested; the worker sends the batch again |
 * | it dies after the commit, before the answer | the worker sends it again; known ids change nothing, and what was refused is refused again |
 * | the batch takes longer than a second | what was handled is committed and acknowledged; the worker sends the rest |
 * | a sequence is higher than the next one | a gap: the session's later events wait and are requested again; other sessions continue |
 * | the gap stays, because the worker has no events to fill it | it is logged and skipped |
 * | a sequence is lower, under a new id | the worker lost its outlet and began again: ingested |
 * | an old epoch | refused; only its id and the refusal are stored |
 * | the database fails during one event, and not without it | the other sessions continue; after 3 times and 30 seconds the event is refused |
 * | it fails during several events | each is tried without the others, one after the other |
 * | one event cannot be stored | rolled back alone to its savepoint, refused, and recorded in `failures`; the worker parks it |
 */
export interface Inbox {
  /** Ingests a batch. Throws when the database fails; the worker then sends the batch again. */
  ingest(workerId: string, batch: readonly OutletEvent[]): Promise<IngestResult>;
  /** Deletes the ids of events that no worker will send again. Returns their number. */
  prune(): Promise<number>;
}

type InboxParts = Omit<WorkerEventContext, keyof Core>;

interface Context extends Core, InboxParts {
  /** The open gap of each session, and how often its events were requested. In memory: after a restart they are requested again. */
  gaps: Map<string, Gap>;
  /** Events during which the database failed. */
  suspects: Map<string, Suspect>;
}

interface Gap {
  /** The worker, the epoch and the first missing sequence. */
  gap: string;
  requests: number;
}

/** An event during which the database failed. Usually the database is the cause. If only this event fails repeatedly, the event is the cause. */
interface Suspect {
  failures: number;
  /** The time of the first failure on the monotonic clock. */
  since: number;
}

/** The facts that each event of a batch is checked against: read at the beginning of the transaction, and updated with each event. */
interface BatchState {
  workerId: string;
  /** The ids that are stored, each with its refusal. */
  known: Map<string, string | null>;
  sessions: Map<string, Session>;
  positions: Map<string, { epoch: number; sequence: number }>;
  plan: Plan;
  qrCodes: QrCodes;
  /** What becomes of `gaps` once the worker has a reply that requests the events. Null: the gap is closed or skipped. */
  gapChanges: Map<string, Gap | null>;
}

/** What the caller of a transaction knows beforehand. */
type Given = Pick<BatchState, 'workerId' | 'plan' | 'qrCodes' | 'gapChanges'>;

/** The pictures of QR codes, by event. They are ready before the transaction begins, so that nothing in it waits for the drawing. */
type QrCodes = Map<string, Promise<string>>;

/** How to treat suspects: `refuse` one without handling it, and let others `wait` with all later events of their sessions. */
interface Plan {
  refuse?: string;
  wait: ReadonlySet<string>;
}

/**
 * The maximum duration of a transaction. It locks the event log, and every accept of every backend waits for that lock. After this time it commits
 * what it has, and the worker sends the rest at once.
 */
const maxTransactionMs = 1_000;
/** A suspect is refused after this many failures within at least this time. */
const suspectFailures = 3;
const suspectMs = 30_000;
const maxSuspects = 1_000;
/** How often the events of a gap are requested. A worker that still sends the same gap has no events to fill it. */
const maxGapRequests = 2;
/** How long the ids of events are stored. A worker resends only unacknowledged events, and on request a few thousand more. */
const retentionMs = 14 * 86_400_000;

export function createInbox(core: Core, parts: InboxParts): Inbox {
  const context: Context = { ...core, ...parts, gaps: new Map(), suspects: new Map() };
  return {
    ingest: (workerId, batch) => ingest(context, workerId, batch),
    prune: () => {
      const before = new Date(core.clock.now().getTime() - retentionMs);
      return deleteBefore(core.database, InboxEvent, { time: 'receivedAt', key: 'id', before });
    },
  };
}

async function ingest(context: Context, workerId: string, batch: readonly OutletEvent[]): Promise<IngestResult> {
  const { suspects, gaps } = context;
  const qrCodes = await drawCodes(batch);
  const gapChanges: BatchState['gapChanges'] = new Map();
  const waiting = new Set(batch.map(({ id }) => id).filter((id) => suspects.has(id)));
  const attempt = (refuse?: string): Promise<IngestResult> =>
    ingestOnce(context, batch, {
      workerId,
      qrCodes,
      gapChanges,
      plan: { wait: new Set(waiting), ...(refuse ? { refuse } : {}) },
    });
  // The other sessions come first. If this succeeds, the database works.
  let result = await attempt();
  for (const id of [...waiting]) {
    const isCause = isCauseOfFailures(context, id);
    waiting.delete(id);
    // This may fail again; the worker then sends the batch again, after its backoff.
    result = await attempt().catch((error: unknown) => {
      if (!isCause || !isSystemError(error) || isUnrelatedToStatement(error)) throw error;
      return attempt(id);
    });
    suspects.delete(id);
  }
  for (const [sessionId, gap] of gapChanges) {
    if (gap) gaps.set(sessionId, gap);
    else gaps.delete(sessionId);
  }
  return result;
}

/** Whether the database failed so often, and for so long, during this event that the event counts as the cause. */
function isCauseOfFailures({ suspects, clock }: Context, id: string): boolean {
  const known = suspects.get(id);
  return known !== undefined && known.failures >= suspectFailures && clock.monotonic() - known.since >= suspectMs;
}

/** Draws the QR codes of a batch. One that cannot be drawn rejects again where its event is handled, and that event alone is refused. */
async function drawCodes(batch: readonly OutletEvent[]): Promise<QrCodes> {
  const qrCodes: QrCodes = new Map();
  for (const { id, type, payload } of batch) {
    if (type !== 'session.qr') continue;
    const parsed = workerEvents[type].safeParse(payload);
    if (parsed.success) qrCodes.set(id, drawQr(parsed.data.qrText));
  }
  await Promise.allSettled(qrCodes.values());
  return qrCodes;
}

/** Ingests a batch in one transaction. Throws when the database fails; nothing is written then. */
async function ingestOnce(context: Context, batch: readonly OutletEvent[], given: Given): Promise<IngestResult> {
  const { newRefusals, ...result } = await context.database.write.run(async (tx) => {
    const state = await readState(tx, batch.filter(isStorable), given);
    const handled = await withSums(tx, (own) => handleInOrder(context, own, state, batch));
    failPoint('inbox.written');
    return handled;
  });
  failPoint('inbox.committed');
  reportRefused(
    context,
    batch,
    result.refused.filter(({ id }) => newRefusals.has(id)),
  );
  return result;
}

/** Whether the inbox can store the envelope of an event. One id that does not fit its column must not fail the batch. */
const isStorable = ({ id, sessionId, epoch }: OutletEvent): boolean =>
  /^[\w-]{1,36}$/.test(id) && /^[\w-]{1,36}$/.test(sessionId) && epoch <= 2_147_483_647;

async function readState(tx: Transaction, batch: readonly OutletEvent[], given: Given): Promise<BatchState> {
  const sessionIds = [...new Set(batch.map((event) => event.sessionId))];
  const ids = batch.map(({ id }) => id);
  // Closes: two backends receive one batch. The second waits here for the first, and then reads what the first has stored.
  await lockRows(tx, Session, sessionIds);
  const known = await readAmong(tx.manager, InboxEvent, 'id', ids);
  const sessions = await readSessions(tx, sessionIds);
  const positions = (await readAmong(tx.manager, InboxPosition, 'sessionId', sessionIds)).filter(
    (row) => row.workerId === given.workerId,
  );
  return {
    ...given,
    known: new Map(known.map(({ id, refusal }) => [id, refusal])),
    sessions: new Map(sessions.map((row) => [row.id, row])),
    positions: new Map(positions.map(({ sessionId, epoch, sequence }) => [sessionId, { epoch, sequence }])),
  };
}

const readSessions = (tx: Transaction, ids: readonly string[]): Promise<Session[]> =>
  readAmong(tx.manager, Session, 'id', ids, ['qrText']);

async function handleInOrder(
  context: Context,
  tx: Transaction,
  state: BatchState,
  batch: readonly OutletEvent[],
): Promise<IngestResult & { newRefusals: ReadonlySet<string> }> {
  const { clock } = context;
  const { known, positions, plan } = state;
  const result: IngestResult = { ackCursor: batch.at(-1)?.cursor ?? 0, refused: [], resend: [] };
  const until = clock.monotonic() + maxTransactionMs;
  const waiting = new Set<string>();
  const ingested: OutletEvent[] = [];
  const newRefusals = new Set<string>();
  const refuse = (id: string, code: string): void => {
    result.refused.push({ id, code });
    newRefusals.add(id);
  };
  const defer = ({ sessionId, cursor }: OutletEvent): void => {
    waiting.add(sessionId);
    result.ackCursor = Math.min(result.ackCursor, cursor - 1);
  };
  for (const event of batch) {
    if (!isStorable(event)) {
      refuse(event.id, 'VALIDATION_FAILED');
      continue;
    }
    const earlier = known.get(event.id);
    if (earlier) result.refused.push({ id: event.id, code: earlier });
    if (earlier !== undefined) continue;
    if (ingested.length > 0 && clock.monotonic() >= until) {
      defer(event);
      break;
    }
    if (waiting.has(event.sessionId) || plan.wait.has(event.id)) {
      defer(event);
      continue;
    }
    const refusal = refusalOf(state, event);
    const fromSequence = refusal ? null : missingBefore(context, state, event);
    if (fromSequence !== null) {
      result.resend.push({ sessionId: event.sessionId, fromSequence });
      defer(event);
      continue;
    }
    const code = refusal ?? (await handleAlone(context, tx, state, event));
    if (code) refuse(event.id, code);
    if (!refusal) positions.set(event.sessionId, { epoch: event.epoch, sequence: event.sequence });
    known.set(event.id, code);
    ingested.push(event);
  }
  await storeProgress(context, tx, state, ingested);
  return { ...result, newRefusals };
}

/** Refusals that are part of normal operation: the session moved to another worker, or was deleted. */
const expectedRefusals: readonly string[] = ['STALE_EPOCH', 'SESSION_NOT_FOUND'];

function refusalOf({ sessions, workerId }: BatchState, event: OutletEvent): 'STALE_EPOCH' | 'SESSION_NOT_FOUND' | null {
  const session = sessions.get(event.sessionId);
  if (!session || session.deletedAt) return 'SESSION_NOT_FOUND';
  return event.epoch < session.leaseEpoch || session.workerId !== workerId ? 'STALE_EPOCH' : null;
}

/** Returns the first sequence that is missing before this event; null when none is, or when the worker cannot resend it. */
function missingBefore({ gaps, log }: Context, state: BatchState, event: OutletEvent): number | null {
  const { gapChanges } = state;
  const { sessionId, epoch, sequence } = event;
  const last = state.positions.get(sessionId);
  const next = last?.epoch === epoch ? last.sequence + 1 : 1;
  if (sequence <= next) {
    if (gaps.has(sessionId)) gapChanges.set(sessionId, null);
    return null;
  }
  const gap = [state.workerId, epoch, next].join(' ');
  const known = gaps.get(sessionId);
  const requests = known?.gap === gap ? known.requests : 0;
  if (requests < maxGapRequests) {
    gapChanges.set(sessionId, { gap, requests: requests + 1 });
    return next;
  }
  gapChanges.set(sessionId, null);
  log.warn('A worker cannot resend missing events; the events after the gap are ingested.', { sessionId, epoch, next, sequence });
  return null;
}

/** Handles one event behind its own savepoint: if it fails, what it wrote is rolled back and its public events are not published. */
async function handleAlone(context: Context, tx: Transaction, state: BatchState, event: OutletEvent): Promise<string | null> {
  const { log } = context;
  const fields = { eventId: event.id, type: event.type, sessionId: event.sessionId };
  if (state.plan.refuse === event.id) {
    log.error('A worker event was isolated: the transaction failed with it and succeeded without it.', fields);
    return 'INTERNAL_ERROR';
  }
  try {
    return await behindSavepoint(tx, 'event', (own) =>
      writeWorkerEvent(context, own, state.sessions.get(event.sessionId)!, event, state.qrCodes.get(event.id)),
    );
  } catch (error) {
    if (isSystemError(error)) {
      suspect(context, event, error);
      throw error;
    }
    log.error('A worker event could not be ingested; the worker parks it.', { ...fields, ...errorFields(error) });
    for (const session of await readSessions(tx, [event.sessionId])) state.sessions.set(session.id, session);
    return 'INTERNAL_ERROR';
  }
}

/** Records that the database failed during this event. A lock or a full disk does not count, because no event causes it. */
function suspect({ suspects, clock }: Context, { id }: OutletEvent, error: unknown): void {
  if (isUnrelatedToStatement(error)) return;
  const known = suspects.get(id);
  if (!known && suspects.size >= maxSuspects) suspects.clear();
  suspects.set(id, { failures: (known?.failures ?? 0) + 1, since: known?.since ?? clock.monotonic() });
}

/** Stores the ids of the ingested events and the new position of each session. */
async function storeProgress(
  { clock }: Context,
  tx: Transaction,
  { workerId, positions, known }: BatchState,
  ingested: readonly OutletEvent[],
): Promise<void> {
  const receivedAt = clock.now();
  // Events of sessions that do not exist are refused without a lock, so another backend may have stored the same ids meanwhile.
  await insertMissing(
    tx,
    InboxEvent,
    ingested.map(({ id, cursor }) => ({ id, workerId, cursor, receivedAt, refusal: known.get(id) ?? null })),
  );
  for (const sessionId of new Set(ingested.map((event) => event.sessionId))) {
    const position = positions.get(sessionId);
    if (!position) continue;
    if ((await updateRows(tx, InboxPosition, { sessionId, workerId }, position)) === 0)
      await insertIfAbsent(tx, InboxPosition, { sessionId, workerId, ...position });
  }
}

/** Records new refusals after the commit: those of a transaction that was rolled back are made again, and reported then. */
function reportRefused({ report }: Context, batch: readonly OutletEvent[], refused: IngestResult['refused']): void {
  const byId = new Map(batch.map((event) => [event.id, event]));
  for (const { id, code } of refused) {
    if (expectedRefusals.includes(code)) continue;
    const { sessionId = null, type = '' } = byId.get(id) ?? {};
    report({ kind: 'worker_event', subject: id, sessionId, code, detail: `The worker parks the event ${type}.` });
  }
}
