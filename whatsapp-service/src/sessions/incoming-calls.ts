import { AppError, type WorkerEventPayload } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import type { EngineSession } from '../engine/engine.js';
import type { CallRecord } from '../events/calls.js';
import { bareEvent } from '../events/payload.js';
import type { WorkerEvent } from '../events/worker-event.js';
import type { Problems } from '../problems.js';

type Call = WorkerEventPayload<'call.received'>;
type AutoReject = NonNullable<Call['autoReject']>;

/** Reports the incoming calls of one session, and rejects them first if its settings say so. */
export interface IncomingCalls {
  /** A call rings in the page of `session`. Never rejects. */
  received(call: Call, session: EngineSession | null): Promise<void>;
}

export interface IncomingCallParts {
  sessionId: string;
  record: Pick<CallRecord, 'record'>;
  /** The session's current setting `rejectCalls`. */
  rejects: () => boolean;
  /** Whether the session stores only metadata. */
  isBare: () => boolean;
  emit: (event: WorkerEvent) => void;
  problems: Problems;
}

/** A call rings for about 45 seconds. A page that does not answer in time is not asked again. */
const rejectDeadlineMs = 8_000;

export function createIncomingCalls(parts: IncomingCallParts): IncomingCalls {
  return { received: (call, session) => receive(parts, call, session) };
}

async function receive(parts: IncomingCallParts, call: Call, session: EngineSession | null): Promise<void> {
  const { rejects, emit } = parts;
  const isRejecting = rejects() && call.callId !== '' && session !== null;
  if (!isRejecting) return emit({ event: 'call.received', payload: call });
  // What the next process reports if this one ends before it knows better.
  const unknown = { ...call, autoReject: { attempted: true, confirmed: false } };
  const isNew = recorded(parts, unknown);
  failPoint('ring.recorded');
  // A call that was reported before rings again after a restart, and may never have been rejected.
  const autoReject = await reject(parts, session, call.callId);
  failPoint('ring.rejected');
  if (isNew) emit({ event: 'call.received', payload: { ...call, autoReject } });
}

/** Whether the call is new. On a full disk it counts as new: it is reported, and rejected, without the record. */
function recorded({ record, sessionId, isBare, problems }: IncomingCallParts, call: Call): boolean {
  const event: WorkerEvent = { event: 'call.received', payload: call };
  const stored = isBare() ? (bareEvent(event, new Set()).payload as Call) : call;
  try {
    return record.record(sessionId, stored);
  } catch (error) {
    problems.note('STORE_WRITE_FAILED', { sessionId, detail: 'call record', error });
    return true;
  }
}

/**
 * A call that no longer rings was answered on the phone, or the caller has hung up: nothing was attempted. After any other failure the
 * rejection may have happened.
 */
async function reject({ sessionId, problems }: IncomingCallParts, session: EngineSession, callId: string): Promise<AutoReject> {
  try {
    const output = await session.run('calls.reject', { callId }, rejectDeadlineMs);
    const { rejected, confirmed } = output as { rejected?: unknown; confirmed?: unknown };
    return { attempted: rejected !== false, confirmed: confirmed === true };
  } catch (error) {
    if (error instanceof AppError && (error.code === 'CALL_NOT_FOUND' || error.details['effect'] === 'none'))
      return { attempted: false, confirmed: false };
    problems.note('TASK_FAILED', { sessionId, detail: 'call rejection', error });
    return { attempted: true, confirmed: false };
  }
}
