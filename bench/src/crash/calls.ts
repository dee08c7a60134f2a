import type { FailPoint } from '@chasqui/shared/fail-point';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../stack.js';
import type { Verdict } from './judge.js';
import type { Victim } from './plan.js';
import { ana, type Rig, sessions } from './rig.js';
import { victimsOf } from './special.js';

interface MessageBody {
  id: string;
  status: string;
  text: string | null;
}

interface CallEvent {
  data: { callId: string; autoReject: { attempted: boolean; messageId: string | null } };
}

/** The steps of a call and its answer, in their order, and which process passes them. */
export const callSteps: readonly { point: FailPoint; victim: Victim }[] = [
  { point: 'ring.recorded', victim: 'worker' },
  { point: 'ring.recorded', victim: 'chromium' },
  { point: 'ring.recorded', victim: 'backend' },
  { point: 'ring.rejected', victim: 'worker' },
  { point: 'outlet.written', victim: 'worker' },
  { point: 'outlet.committed', victim: 'worker' },
  { point: 'inbox.written', victim: 'backend' },
  { point: 'inbox.committed', victim: 'backend' },
  { point: 'delivery.answered', victim: 'worker' },
  { point: 'claim.committed', victim: 'backend' },
  { point: 'send.handed-over', victim: 'worker' },
  { point: 'send.answered', victim: 'worker' },
  { point: 'outcome.received', victim: 'backend' },
];

const settlesMs = 60_000;
/** A second answer would follow within this time. */
const watchMs = 2_500;

/** Switches the answers to calls on for the first session, and waits until its worker knows. */
export async function answerCalls(rig: Rig, message: string | null): Promise<void> {
  const [{ name }] = sessions;
  const body = { settings: { rejectCalls: { enabled: message !== null, message } } };
  await eventually('the settings to be saved', async () => {
    const answer = await rig.stack.api('PUT', `/sessions/${name}`, body).catch(() => null);
    return answer?.status === 200;
  });
  // The worker gets them with its next heartbeats, one every half second.
  await sleep(1_500);
}

/**
 * A call rings in a session that rejects and answers calls, while a process is killed at a step. Afterwards the call is one event, and the caller
 * has exactly one answer, which the event names.
 */
export async function killInCall(
  rig: Rig,
  { point, victim }: (typeof callSteps)[number],
  seed: number,
): Promise<{ verdict: Verdict; isHit: boolean }> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const text = `call-${seed}-${point}-${victim}`.replace(/\./g, '_');
  const [{ phone }] = sessions;
  await answerCalls(rig, text);
  rig.order({ id: text, point, pass: 1, victims: victimsOf(rig, victim, seed) });
  const { id: callId } = await stack.simulator.client.call({ from: ana, to: phone });
  const isHit = await eventually('the kill', async () => rig.wasHit(), 20_000).then(
    () => true,
    () => false,
  );
  rig.withdraw();
  await rig.connected().catch(() => verdict.stuck.push(`${text}: the sessions did not reconnect`));
  const answers = async (): Promise<MessageBody[]> =>
    (await stack.api<MessageBody[]>('GET', `/messages/list?direction=outbound&limit=200&search=${encodeURIComponent(text)}`)).body
      .data;
  const isAnswered = async (): Promise<boolean> => {
    const [answer] = await answers().catch(() => []);
    return answer !== undefined && ['sent', 'delivered', 'read'].includes(answer.status);
  };
  await eventually('the answer', isAnswered, settlesMs).catch(() => verdict.lost.push(`${text}: the call has no answer`));
  await sleep(watchMs);
  const rows = await answers();
  if (rows.length > 1) verdict.doubled.push(`${text}: ${rows.length} answers were accepted`);
  const arrived = (await stack.simulator.client.received({ phone: ana })).filter((one) => one.text === text).length;
  if (arrived > 1) verdict.doubled.push(`${text}: the caller has ${arrived} answers`);
  if (arrived === 0) verdict.lost.push(`${text}: the caller has no answer`);
  const { body } = await stack.api<CallEvent[]>('GET', '/events?types=call.received&limit=200');
  const events = body.data.filter(({ data }) => data.callId === callId);
  if (events.length === 0) verdict.lost.push(`${text}: the call is no event`);
  if (events.length > 1) verdict.doubled.push(`${text}: the call is ${events.length} events`);
  if (events[0] && events[0].data.autoReject.messageId !== rows[0]?.id)
    verdict.untrue.push(`${text}: the event names another answer`);
  return { verdict, isHit };
}
