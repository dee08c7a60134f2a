import { IsNull } from 'typeorm';
import { lockRows, readRows, updateRows } from '../../db/rows.js';
import { runStatement } from '../../db/statement.js';
import type { Transaction } from '../../db/unit-of-work.js';
import { requireReadable } from '../../db/unreadable.js';
import { timeIn } from '../../lib/clock.js';
import { Session } from '../../sessions/session.entity.js';
import { Message } from '../message.entity.js';
import { canSend, type SendContext } from './context.js';
import { handOver } from './handover.js';
import { reportMessage, requireOwnFault } from './isolation.js';
import { isForAnotherAccount } from './linked-account.js';

/** A hand-over that began this recently was counted in the session's pace with its claim. */
const countedForMs = 60_000;
/** The clocks of two backends may differ by this much before a stored time counts as wrong. */
const clockSkewMs = 5_000;

/** All claims. There is at most one for each session. */
const claimsSql = `SELECT id, "accountId", "sessionId", "chatId", "leaseOwner", "leaseExpiresAt" FROM messages WHERE status = 'sending'`;

interface Claim {
  id: string;
  accountId: string;
  sessionId: string;
  chatId: string;
  leaseOwner: string | null;
  leaseExpiresAt: number | string | null;
}

/**
 * Takes over the claims that no backend works on: those of backends that are gone, those whose lease expired, and those under this backend's
 * name that are not in `inFlight`. The call is repeated under the same id; the worker's send record answers it, or the worker sends.
 *
 * | a claim | then |
 * | --- | --- |
 * | whose worker or session cannot answer for the first call | its message becomes uncertain |
 * | whose lease is longer than any lease | a clock was set back: the lease is shortened |
 * | that cannot be taken over although the database works | it is reported and retried later; the other chats of its session continue |
 */
export async function takeOverClaims(context: SendContext): Promise<void> {
  const { database, presence, clock, lanes, inFlight, takeovers, options } = context;
  const { owner } = presence;
  const { rows: claims } = await runStatement<Claim>(database.reader, claimsSql, []);
  const otherOwners = [...new Set(claims.flatMap(({ leaseOwner }) => (leaseOwner && leaseOwner !== owner ? [leaseOwner] : [])))];
  const gone = new Set(otherOwners.length > 0 ? await presence.gone(otherOwners) : []);
  const now = clock.now().getTime();
  forgetEnded(context, new Set(claims.map(({ id }) => id)));
  for (const claim of claims) {
    const { id, sessionId, leaseOwner } = claim;
    if (takeovers.postponed.has(id)) continue;
    const expiresAt = Number(claim.leaseExpiresAt ?? 0);
    if (leaseOwner === owner) {
      const isDue = (takeovers.askAgainAt.get(id) ?? 0) <= clock.monotonic();
      if (!inFlight.has(id) && isDue) lanes.run(sessionId, () => takeOverIsolated(context, claim));
    } else if (leaseOwner === null || gone.has(leaseOwner) || expiresAt <= now)
      lanes.run(sessionId, () => takeOverIsolated(context, claim));
    else if (expiresAt > now + options.leaseMs + clockSkewMs) await shortenLease(context, id, leaseOwner);
  }
}

/** Returns the chats of a session whose first message has a claim that could not be taken over. */
export const blockedChats = ({ takeovers }: SendContext, sessionId: string): string[] =>
  [...takeovers.chats].flatMap(([id, one]) => (one.sessionId === sessionId && takeovers.postponed.has(id) ? [one.chatId] : []));

/** Forgets what was remembered of claims that have ended. */
function forgetEnded({ takeovers }: SendContext, claimed: ReadonlySet<string>): void {
  for (const id of takeovers.neverCalled) if (!claimed.has(id)) takeovers.neverCalled.delete(id);
  for (const id of takeovers.chats.keys()) if (!claimed.has(id)) takeovers.chats.delete(id);
  for (const id of takeovers.askAgainAt.keys()) if (!claimed.has(id)) takeovers.askAgainAt.delete(id);
}

/** No lease is longer than a new one. If one is, a clock was set back after it was written. */
async function shortenLease({ database, clock, options }: SendContext, id: string, leaseOwner: string): Promise<void> {
  const leaseExpiresAt = timeIn(clock, options.leaseMs);
  await database.write.run((tx) => updateRows(tx, Message, { id, status: 'sending', leaseOwner }, { leaseExpiresAt }));
}

/** Takes a claim over. If that fails and the database works, the claim is postponed. Throws only failures of the database. */
async function takeOverIsolated(context: SendContext, claim: Claim): Promise<void> {
  const { takeovers } = context;
  const { id, sessionId, chatId } = claim;
  try {
    await takeOver(context, claim);
    takeovers.postponed.delete(id);
    takeovers.chats.delete(id);
  } catch (error) {
    await requireOwnFault(context.database, sessionId, error);
    const inMs = takeovers.postponed.add(id);
    takeovers.chats.set(id, { sessionId, chatId });
    const sentence = 'A claim could not be taken over; it is retried later, and the other chats continue.';
    reportMessage(context, sentence, claim, inMs, error);
    context.lanes.wake(sessionId);
  }
}

async function takeOver(context: SendContext, claim: Claim): Promise<void> {
  const { database, presence, outcomes, inFlight, takeovers } = context;
  const { id, sessionId, leaseOwner } = claim;
  await outcomes.commit(sessionId);
  if (context.isStopped || inFlight.has(id)) return;
  inFlight.add(id);
  let renewed: { session: Session; message: Message } | null = null;
  try {
    renewed = await database.write.run((tx) => renewLease(context, tx, claim));
  } finally {
    if (!renewed) inFlight.delete(id);
  }
  if (!renewed) return;
  const isRepeat = leaseOwner !== presence.owner || !takeovers.neverCalled.delete(id);
  outcomes.add(sessionId, await handOver(context, renewed.session, renewed.message, { isRepeat }));
  await outcomes.commit(sessionId);
}

/**
 * Renews the lease under this backend's name. Returns null if there is nothing to call: the claim was moved or taken over in the meantime, the
 * pace does not allow the call now, or no worker could answer for the first one.
 */
async function renewLease(
  context: SendContext,
  tx: Transaction,
  claim: Claim,
): Promise<{ session: Session; message: Message } | null> {
  const { pacing, clock, options, takeovers } = context;
  const { id, sessionId, leaseOwner: previousOwner } = claim;
  await lockRows(tx, Session, [sessionId]);
  const [message] = await readRows(tx.manager, Message, 'id = ?', [id]);
  if (message?.status !== 'sending' || message.leaseOwner !== previousOwner) return null;
  // A message that cannot be read is not handed over, and nothing is decided for it: its claim waits until it can be read.
  requireReadable(message);
  const [session = null] = await readRows(tx.manager, Session, 'id = ?', [sessionId]);
  const where = { leaseOwner: previousOwner ?? IsNull() };
  // Without a connection, or with another worker, no record answers for the first call; the lookup waits for the session.
  // The page of another WhatsApp account neither sends the message nor knows of it.
  if (!canSend(session) || session.leaseEpoch !== message.epoch || isForAnotherAccount(message, session)) {
    await context.uncertain.mark(tx, message, 'CRASHED_DURING_SEND', where);
    return null;
  }
  // The outcome of the call could not be written without them.
  requireReadable({ settings: session.settings });
  // The call may be the one that hands the message over: it counts, unless its claim was counted within this window.
  const claimedAgoMs = clock.now().getTime() + options.leaseMs - (message.leaseExpiresAt?.getTime() ?? 0);
  const isCounted = takeovers.askAgainAt.has(id) || (claimedAgoMs >= 0 && claimedAgoMs < countedForMs);
  if (!isCounted && !(await pacing.claim(tx, session, id, context.steadyMs()))) return null;
  const lease = { leaseOwner: context.presence.owner, leaseExpiresAt: timeIn(clock, options.leaseMs) };
  const isRenewed = (await updateRows(tx, Message, { id, status: 'sending', ...where }, lease)) === 1;
  return isRenewed ? { session, message: Object.assign(message, lease) } : null;
}
