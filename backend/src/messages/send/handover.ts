import type { MessageReason } from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { lockRows, updateRows } from '../../db/rows.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { timeIn } from '../../lib/clock.js';
import { errorFields } from '../../lib/log.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import type { Move } from '../state.js';
import type { SendContext } from './context.js';
import type { Outcome } from './outcomes.js';
import type { TransportResult } from './transport.js';

const defaultRefusalBackoffMs = { first: 1_000, max: 10_000 };
/** The delay before the worker is asked again for a call that it still works on. */
const askAgainMs = 1_000;

/**
 * Hands a claimed message to the transport and returns the outcome, which the caller must commit. `isRepeat`: an earlier call for the same
 * claim may have reached the worker, so that a refusal of this one proves nothing.
 */
export async function handOver(
  context: SendContext,
  session: Session,
  message: Message,
  { isRepeat }: { isRepeat: boolean },
): Promise<Outcome> {
  const { transport, pacing, log } = context;
  const isFirst = !isRepeat && message.attempts === 1;
  const result = await transport.send(session, message, isFirst).catch((error: unknown): TransportResult => {
    log.error('A message could not be handed over; it is uncertain and is looked up.', {
      messageId: message.id,
      ...errorFields(error),
    });
    return { outcome: 'unknown' };
  });
  failPoint('outcome.received');
  if (result.outcome !== 'refused') context.refusals.delete(session.id);
  const writeResult = writeOf(context, session, message, result, isRepeat);
  const write = async (tx: Transaction): Promise<void> => {
    if (session.settings.pacing.perMinute > 0) {
      await lockRows(tx, Session, [session.id]);
      await pacing.recordEnd(tx, session, message.id, context.steadyMs());
    }
    await writeResult(tx);
  };
  return { messageId: message.id, joinsNextClaim: result.outcome === 'sent', write };
}

/** The write of a result. It works on a copy of the row each time, because it may run again after a commit that failed. */
function writeOf(
  context: SendContext,
  session: Session,
  message: Message,
  result: TransportResult,
  isRepeat: boolean,
): Outcome['write'] {
  const { state, clock } = context;
  const ownLease = { leaseOwner: context.presence.owner };
  const markUncertain =
    (reason: MessageReason): Outcome['write'] =>
    (tx) =>
      context.uncertain.mark(tx, { ...message }, reason, ownLease);
  const moveTo =
    (to: Message['status'], how: Move): Outcome['write'] =>
    async (tx) =>
      void (await state.move(tx, { ...message }, to, { from: ['sending'], where: ownLease, ...how }));
  switch (result.outcome) {
    case 'sent': {
      const { whatsappId, ack, at } = result;
      // Proof of success is written even if the lease has a new owner.
      return (tx) => state.acknowledge(tx, { ...message }, Math.max(1, ack), { whatsappId, at: new Date(at) });
    }
    case 'failed':
      return moveTo(...moveAfterFailure(context, message, result));
    case 'uncertain':
      return markUncertain(result.reason);
    case 'unknown':
      return markUncertain('TIMEOUT_AFTER_HANDOVER');
    case 'refused':
      if (isRepeat) return markUncertain('CRASHED_DURING_SEND');
      pauseSession(context, session.id);
      // Nothing was sent: the message stays first in its chat, and the attempt does not count.
      return moveTo('queued', { reason: result.reason, fields: { attempts: message.attempts - 1 } });
    case 'sending':
      context.takeovers.askAgainAt.set(message.id, clock.monotonic() + askAgainMs);
      return async (tx) =>
        void (await updateRows(
          tx,
          Message,
          { id: message.id, status: 'sending', ...ownLease },
          { leaseExpiresAt: timeIn(clock, askAgainMs) },
        ));
  }
}

function moveAfterFailure(
  { options, clock }: SendContext,
  message: Message,
  result: Extract<TransportResult, { outcome: 'failed' }>,
): [Message['status'], Move] {
  const { reason, message: detail, retryable } = result;
  if (!retryable) return ['failed', { detail, reason }];
  if (message.attempts > options.maxRetries) return ['failed', { detail, reason: 'RETRIES_EXHAUSTED' }];
  const nextAttemptAt = timeIn(clock, options.retryIntervalMs * 2 ** (message.attempts - 1));
  return ['queued', { detail, reason: 'RETRY_SCHEDULED', fields: { nextAttemptAt } }];
}

/** Pauses the session, so that an absent worker is not called again and again. */
function pauseSession({ refusals, options, clock }: SendContext, sessionId: string): void {
  const { first, max } = options.refusalBackoffMs ?? defaultRefusalBackoffMs;
  const ms = Math.min(max, (refusals.get(sessionId)?.ms ?? first / 2) * 2);
  refusals.set(sessionId, { until: clock.monotonic() + ms, ms });
}
