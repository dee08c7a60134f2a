import { setTimeout as sleep } from 'node:timers/promises';
import type { FailPoint } from '@chasqui/shared/fail-point';
import { eventually } from '../stack.js';
import type { Verdict } from './judge.js';
import { randomOf, type Victim } from './plan.js';
import { type Rig, sessions } from './rig.js';
import { victimsOf } from './special.js';

/** The steps of a bulk job at which a process is killed: accepted, expanded, claimed, sent, counted, and each change by a caller. */
export const bulkPoints = [
  'bulk.accepted',
  'bulk.expanded',
  'bulk.fed',
  'claim.committed',
  'send.answered',
  'outcome.received',
  'bulk.counted',
  'bulk.paused',
  'bulk.resumed',
  'bulk.cancelled',
] as const satisfies readonly FailPoint[];
export type BulkPoint = (typeof bulkPoints)[number];

interface JobBody {
  id: string;
  status: string;
  reason: { code: string } | null;
  counts: Record<string, number>;
}
interface RowBody {
  row: number;
  recipient: string;
  status: string;
}

/** How long a job may take after the kill: a busy machine sends one message a second. */
const settleMs = (recipients: number): number => 120_000 + recipients * 1_000;
const arrivedStates = ['sent', 'delivered', 'read'];
const phoneOf = (row: number): string => `5511944${String(row).padStart(6, '0')}`;

/** The phones that exist in a simulator, so that the cases of one rig share them. */
const phones = new WeakMap<Rig, number>();
async function ensurePhones(rig: Rig, count: number): Promise<void> {
  for (let row = phones.get(rig) ?? 0; row < count; row += 1)
    await rig.stack.simulator.client.createAccount({ phone: phoneOf(row), name: `Person ${row}` });
  phones.set(rig, Math.max(count, phones.get(rig) ?? 0));
}

/** A bulk job during which a process is killed: each person gets the message exactly once, and the counts are those of the other phones. */
export async function killInBulk(rig: Rig, point: BulkPoint, victim: Victim, seed: number, recipients: number): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const id = `bulk-${seed}-${point.replace('.', '_')}-${victim}`;
  const random = randomOf(seed * 100 + bulkPoints.indexOf(point));
  const [{ name }] = sessions;
  await rig.connected();
  await ensurePhones(rig, recipients);
  const journalFrom = (await stack.simulator.client.journal({})).length;
  const isChange = point === 'bulk.paused' || point === 'bulk.resumed' || point === 'bulk.cancelled';
  const pass = isChange || point === 'bulk.accepted' ? 1 : 1 + Math.floor(random() * Math.min(8, recipients));
  const order = (): void => rig.order({ id, point, pass, victims: victimsOf(rig, victim, seed) });
  if (!isChange) order();
  const job = await accept(rig, id, name, recipients);
  if (isChange) await change(rig, job, point, order, verdict);
  await eventually('the kill', async () => rig.wasHit(), 30_000).catch(() =>
    verdict.untrue.push(`${id}: the kill did not happen`),
  );
  rig.withdraw();
  const isOver = async (): Promise<boolean> => {
    const now = await read<JobBody>(rig, `/messages/bulk/${job}`);
    const status = now?.status;
    const counts = now?.counts ?? {};
    const open = (counts['pending'] ?? 1) + (counts['queued'] ?? 1) + (counts['uncertain'] ?? 1);
    return (status === 'completed' || status === 'cancelled') && open === 0;
  };
  await eventually('the job to be over', isOver, settleMs(recipients)).catch(async () => {
    const now = await read<JobBody>(rig, `/messages/bulk/${job}`);
    verdict.stuck.push(`${id}: ${now?.status} ${now?.reason?.code ?? ''} ${JSON.stringify(now?.counts)}`);
  });
  await judgeRecipients(rig, job, id, recipients, verdict);
  for (const { key, repeat } of (await stack.simulator.client.journal({})).slice(journalFrom))
    if (repeat) verdict.doubled.push(`${id}: ${key} was handed to WhatsApp twice`);
  await rig.connected().catch(() => verdict.stuck.push(`${id}: the sessions did not reconnect`));
  return verdict;
}

const read = async <T>(rig: Rig, path: string): Promise<T | null> =>
  (await rig.stack.api<T>('GET', path).catch(() => null))?.body.data ?? null;

/** Repeats the call with the same Idempotency-Key until there is a conclusive reply, as a client must. */
async function accept(rig: Rig, id: string, sessionId: string, count: number): Promise<string> {
  const recipients = Array.from({ length: count }, (_, row) => ({ recipient: `+${phoneOf(row)}`, variables: { n: row } }));
  const body = { sessionId, type: 'text', message: `${id} to {{n}}`, gapMs: [0, 30], recipients };
  const reply = await eventually(
    'the job to be accepted',
    async () => {
      const answer = await rig.stack.api<JobBody>('POST', '/messages/bulk', body, { 'Idempotency-Key': id }).catch(() => null);
      return answer?.status === 202 ? answer : null;
    },
    60_000,
  );
  return reply.body.data.id;
}

/** Repeats a change until it is done. A refusal with the wanted status says that an earlier call did it. */
async function call(rig: Rig, job: string, verb: string, wanted: readonly string[]): Promise<void> {
  await eventually(
    `the ${verb}`,
    async () => {
      const answer = await rig.stack.api<JobBody>('POST', `/messages/bulk/${job}/${verb}`, {}).catch(() => null);
      if (answer === null) return false;
      return answer.status === 200 || wanted.includes(String(answer.body.error?.details['status']));
    },
    60_000,
  );
}

const arrivedCount = async (rig: Rig, job: string): Promise<number> => {
  const counts = (await read<JobBody>(rig, `/messages/bulk/${job}`))?.counts ?? {};
  return arrivedStates.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
};

async function change(rig: Rig, job: string, point: BulkPoint, order: () => void, verdict: Verdict): Promise<void> {
  await eventually('some messages', async () => (await arrivedCount(rig, job)) >= 3, 60_000);
  if (point === 'bulk.cancelled') {
    order();
    return call(rig, job, 'cancel', ['cancelled', 'completed']);
  }
  if (point === 'bulk.paused') order();
  await call(rig, job, 'pause', ['paused', 'completed']);
  await eventually('the kill', async () => point !== 'bulk.paused' || rig.wasHit(), 30_000).catch(() => undefined);
  await eventually(
    'the queue to be empty',
    async () => (await read<JobBody>(rig, `/messages/bulk/${job}`))?.counts['queued'] === 0,
    60_000,
  );
  const before = await arrivedCount(rig, job);
  await sleep(1_500);
  const paused = await read<JobBody>(rig, `/messages/bulk/${job}`);
  if (paused?.status === 'paused' && (await arrivedCount(rig, job)) > before + (paused.counts['uncertain'] ?? 0))
    verdict.untrue.push(`${job}: messages left while it was paused`);
  if (point === 'bulk.resumed') order();
  await call(rig, job, 'resume', ['running', 'waiting', 'completed']);
}

async function judgeRecipients(rig: Rig, job: string, id: string, count: number, verdict: Verdict): Promise<void> {
  const { rows, counts } = await sameMoment(rig, job, count);
  if (rows.length !== count) verdict.lost.push(`${id}: ${rows.length} of ${count} recipients are stored`);
  const found: Record<string, number> = {};
  for (const { row, status } of rows) {
    const text = `${id} to ${row - 1}`;
    const times = (await rig.stack.simulator.client.received({ phone: phoneOf(row - 1) })).filter(
      (one) => one.text === text,
    ).length;
    found[status] = (found[status] ?? 0) + 1;
    if (times > 1) verdict.doubled.push(`${text} (${status}): arrived ${times} times`);
    if (arrivedStates.includes(status) && times === 0) verdict.lost.push(`${text} (${status}): never arrived`);
    if (!arrivedStates.includes(status) && times > 0) verdict.untrue.push(`${text} (${status}): it arrived`);
  }
  for (const [state, number] of Object.entries(counts))
    if (state !== 'total' && number !== (found[state] ?? 0))
      verdict.untrue.push(`${id}: it counts ${number} ${state}, and ${found[state] ?? 0} recipients are`);
}

/** Recipients and counts of one moment: if a receipt arrives while they are read, they are read again. */
async function sameMoment(rig: Rig, job: string, count: number): Promise<{ rows: RowBody[]; counts: Record<string, number> }> {
  for (let tries = 0; ; tries += 1) {
    const before = (await read<JobBody>(rig, `/messages/bulk/${job}`))?.counts ?? {};
    const rows: RowBody[] = [];
    for (let offset = 0; offset < count; offset += 200)
      rows.push(...((await read<RowBody[]>(rig, `/messages/bulk/${job}/recipients?limit=200&offset=${offset}`)) ?? []));
    const counts = (await read<JobBody>(rig, `/messages/bulk/${job}`))?.counts ?? {};
    if (JSON.stringify(before) === JSON.stringify(counts) || tries === 50) return { rows, counts };
  }
}
