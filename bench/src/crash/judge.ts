import { messageMoves, type MessageStatus } from '@chasqui/shared';
import { eventually } from '../stack.js';
import { ana, type Rig, sessions } from './rig.js';
import { inboundOf, type Run } from './scenario.js';

/** The faults of a run, by kind. The promise is that all lists are empty. */
export interface Verdict {
  lost: string[];
  doubled: string[];
  stuck: string[];
  /** A state that differs from what happened, a transition that is not in the table, or a gap in the log. */
  untrue: string[];
}

interface MessageBody {
  id: string;
  status: MessageStatus;
  reason: { code: string } | null;
  whatsappId: string | null;
}

/** A webhook's circuit may be open for a minute after a kill. */
const deliveredWithinMs = 75_000;

const left: readonly MessageStatus[] = ['sent', 'delivered', 'read', 'played'];

/** Compares the backend's answers with what the other phone and WhatsApp's server received according to the simulator. */
export async function judge(rig: Rig, run: Run): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  for (const text of run.unanswered) verdict.stuck.push(`${text}: its client never got an answer`);
  await judgeSends(rig, run, verdict);
  await judgeArrivals(rig, run, verdict);
  await judgeTold(rig, await judgeLog(rig, run, verdict), verdict);
  return verdict;
}

async function judgeSends(rig: Rig, run: Run, verdict: Verdict): Promise<void> {
  const { client } = rig.stack.simulator;
  // The words of an event are its name.
  const received = (await client.received({ phone: ana })).map(({ text, data }) => text ?? data['eventName']);
  const handed = (await client.journal({})).slice(run.journalFrom);
  for (const [text, id] of run.accepted) {
    const { message, way } = await settled(rig, id);
    const label = `${text} (${message.status}${message.reason ? `, ${message.reason.code}` : ''})`;
    const times = received.filter((candidate) => candidate === text).length;
    if (times > 1) verdict.doubled.push(`${label}: arrived ${times} times`);
    if (left.includes(message.status)) {
      if (times === 0) verdict.lost.push(`${label}: never arrived`);
    } else if (message.status === 'failed') {
      if (times > 0) verdict.untrue.push(`${label}: it arrived`);
    } else verdict.stuck.push(label);
    judgeWay(way, message, label, verdict);
  }
  for (const { key, repeat } of handed) if (repeat) verdict.doubled.push(`${key}: handed to WhatsApp twice`);
  const texts = new Set(run.accepted.keys());
  for (const text of received)
    if (typeof text === 'string' && text.startsWith(`${run.id}#`) && !texts.has(text) && !run.unanswered.includes(text))
      verdict.untrue.push(`${text}: arrived, and no client got a reply for it`);
}

/** Message and timeline of the same moment: if a receipt arrives between the two replies, both are requested again. */
async function settled(rig: Rig, id: string): Promise<{ message: MessageBody; way: MessageStatus[] }> {
  for (let tries = 0; ; tries += 1) {
    const way = await timelineOf(rig, id);
    const { body } = await rig.stack.api<MessageBody>('GET', `/messages/${id}`);
    if (way.at(-1) === body.data.status || tries === 5) return { message: body.data, way };
  }
}

const timelineOf = async (rig: Rig, id: string): Promise<MessageStatus[]> =>
  (await rig.stack.api<{ status: MessageStatus }[]>('GET', `/messages/${id}/timeline`)).body.data.map(({ status }) => status);

/** The timeline is the log: it must be a path through the table that ends at the message's status. */
function judgeWay(way: MessageStatus[], message: MessageBody, label: string, verdict: Verdict): void {
  if (way.at(-1) !== message.status) verdict.untrue.push(`${label}: its timeline ends with ${way.at(-1)}`);
  for (const [index, to] of way.slice(1).entries()) {
    const from = way[index]!;
    const isHeld = from === 'uncertain' && to === 'uncertain';
    if (!isHeld && !messageMoves[from].includes(to)) verdict.untrue.push(`${label}: went from ${from} to ${to}`);
  }
}

async function judgeArrivals(rig: Rig, run: Run, verdict: Verdict): Promise<void> {
  const rows = await inboundOf(rig, run.id);
  for (const { name } of sessions) {
    for (const text of run.arrived.get(name)!) {
      const times = rows.filter((row) => row.text === text).length;
      if (times === 0) verdict.lost.push(`${text}: arrived at the phone, and is no row`);
      if (times > 1) verdict.doubled.push(`${text}: is ${times} rows`);
    }
  }
}

interface EventBody {
  id: string;
  type: string;
  cursor: string;
  session: { id: string } | null;
  sequence: number | null;
}

/** Cursors grow, and within a session the sequence has no gap. */
async function judgeLog(rig: Rig, run: Run, verdict: Verdict): Promise<EventBody[]> {
  const all: EventBody[] = [];
  const last = new Map<string, number>();
  for (let after = run.cursorFrom; ;) {
    const { body } = await rig.stack.api<EventBody[]>('GET', `/events?limit=200&after=${after}`);
    all.push(...body.data);
    for (const { session, sequence, cursor } of body.data) {
      if (cursor <= after) verdict.untrue.push(`cursor ${cursor} comes after ${after}`);
      after = cursor;
      if (!session || sequence === null) continue;
      const before = last.get(session.id);
      if (before !== undefined && sequence !== before + 1)
        verdict.untrue.push(`session ${session.id}: event ${sequence} comes after ${before}`);
      last.set(session.id, sequence);
    }
    if (body.data.length < 200) return all;
  }
}

/** The webhook receiver has received every event of the run at least once. */
async function judgeTold(rig: Rig, events: readonly EventBody[], verdict: Verdict): Promise<void> {
  const missing = (): EventBody[] => events.filter(({ id }) => !rig.received.has(id));
  await eventually('every event to be delivered', async () => missing().length === 0, deliveredWithinMs).catch(() => undefined);
  for (const { type, cursor } of missing()) verdict.lost.push(`${type} ${cursor}: was not delivered to the webhook`);
}

export const isClean = (verdict: Verdict): boolean => Object.values(verdict).every((list: string[]) => list.length === 0);
