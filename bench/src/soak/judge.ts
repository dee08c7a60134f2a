import { isClean, type Verdict } from '../crash/judge.js';
import { eventually } from '../stack.js';
import type { Fleet } from './fleet.js';
import { ana, type Asked } from './load.js';
import type { Sink } from './sinks.js';

export { isClean, type Verdict };

interface Row {
  id: string;
  status: string;
  text: string | null;
  reason: { code: string } | null;
}

const finals = new Set(['sent', 'delivered', 'read', 'played', 'failed', 'cancelled']);
const left = new Set(['sent', 'delivered', 'read', 'played']);
const restWithinMs = 180_000;

/** All stored messages of one direction. */
async function allRows(fleet: Fleet, direction: 'inbound' | 'outbound'): Promise<Row[]> {
  const rows: Row[] = [];
  for (let offset = 0; ; offset += 200) {
    const path = `/messages/list?direction=${direction}&order=asc&limit=200&offset=${offset}`;
    const { body } = await fleet.api<Row[]>('GET', path);
    rows.push(...body.data);
    if (body.data.length < 200) return rows;
  }
}

const basic = (text: string): string => text.replace(/ edited$/, '');

/** Waits until everything is settled, and compares the backend's answers with the simulator's journal and the receivers' logs. */
export async function judge(fleet: Fleet, asked: Asked, sinks: readonly { name: string; sink: Sink }[]): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [...asked.streamFaults] };
  for (const text of asked.unanswered) verdict.stuck.push(`${text}: its client never got an answer`);
  await judgeSends(fleet, asked, verdict);
  await judgeArrivals(fleet, asked, verdict);
  const cursors = await judgeEvents(fleet, sinks, verdict);
  for (const [reader, seen] of asked.streamed.entries()) judgeStream(reader, seen, cursors, verdict);
  return verdict;
}

async function judgeSends(fleet: Fleet, asked: Asked, verdict: Verdict): Promise<void> {
  let byId = new Map<string, Row>();
  const isOver = async (): Promise<boolean> => {
    byId = new Map((await allRows(fleet, 'outbound').catch(() => [])).map((row) => [row.id, row]));
    return [...asked.accepted.values()].every((id) => finals.has(byId.get(id)?.status ?? ''));
  };
  await eventually('every message to be final', isOver, restWithinMs).catch(() => undefined);
  const received = new Map<string, number>();
  for (const { text } of await fleet.simulator.client.received({ phone: ana }))
    if (text) received.set(text, (received.get(text) ?? 0) + 1);
  for (const [text, id] of asked.accepted) {
    const row = byId.get(id);
    const label = `${text} (${row?.status ?? 'no row'}${row?.reason ? `, ${row.reason.code}` : ''})`;
    const times = received.get(text) ?? 0;
    if (times > 1) verdict.doubled.push(`${label}: arrived ${times} times`);
    if (!row) verdict.lost.push(label);
    else if (left.has(row.status) && times === 0) verdict.lost.push(`${label}: never arrived`);
    else if (row.status === 'failed' && times > 0) verdict.untrue.push(`${label}: it arrived`);
    else if (!finals.has(row.status)) verdict.stuck.push(label);
  }
  for (const text of received.keys())
    if (text.startsWith('soak#') && !asked.accepted.has(text) && !asked.unanswered.includes(text))
      verdict.untrue.push(`${text}: arrived, and no client got a reply for it`);
  for (const { key, repeat } of await fleet.simulator.client.journal({}))
    if (repeat) verdict.doubled.push(`${key}: handed to WhatsApp twice`);
}

async function judgeArrivals(fleet: Fleet, asked: Asked, verdict: Verdict): Promise<void> {
  let rows = new Map<string, number>();
  const isOver = async (): Promise<boolean> => {
    rows = new Map();
    for (const { text } of await allRows(fleet, 'inbound').catch(() => []))
      if (text) rows.set(basic(text), (rows.get(basic(text)) ?? 0) + 1);
    return [...asked.arrived].every((text) => rows.has(text));
  };
  await eventually('every arrival to be a row', isOver, restWithinMs).catch(() => undefined);
  for (const text of asked.arrived) {
    const times = rows.get(text) ?? 0;
    if (times === 0) verdict.lost.push(`${text}: arrived at the phone, and is no row`);
    if (times > 1) verdict.doubled.push(`${text}: is ${times} rows`);
  }
}

/** Cursors and sequences have no gap, and every receiver has every event. Returns the cursors. */
async function judgeEvents(fleet: Fleet, sinks: readonly { name: string; sink: Sink }[], verdict: Verdict): Promise<string[]> {
  const cursors: string[] = [];
  const ids: string[] = [];
  const last = new Map<string, number>();
  for (let after = '0'; ;) {
    const { body } = await fleet.api<{ id: string; cursor: string; session: { id: string } | null; sequence: number | null }[]>(
      'GET',
      `/events?limit=200&after=${after}`,
    );
    for (const { id, cursor, session, sequence } of body.data) {
      if (after !== '0' && cursor <= after) verdict.untrue.push(`cursor ${cursor} comes after ${after}`);
      after = cursor;
      cursors.push(cursor);
      ids.push(id);
      if (!session || sequence === null) continue;
      const before = last.get(session.id);
      if (before !== undefined && sequence !== before + 1)
        verdict.untrue.push(`session ${session.id}: event ${sequence} comes after ${before}`);
      last.set(session.id, sequence);
    }
    if (body.data.length < 200) break;
  }
  for (const { name, sink } of sinks) {
    // Events from before the endpoint existed are not for it.
    const first = ids.findIndex((id) => sink.taken.has(id));
    const missing = (): string[] => ids.slice(Math.max(0, first)).filter((id) => !sink.taken.has(id));
    await eventually(`every event at the ${name} receiver`, async () => missing().length === 0, restWithinMs).catch(
      () => undefined,
    );
    for (const id of missing()) verdict.lost.push(`event ${id}: was not delivered to the ${name} receiver`);
  }
  return cursors;
}

/** A reader that resumes from its cursor misses nothing between its first and its last event. */
function judgeStream(reader: number, seen: ReadonlySet<string>, cursors: readonly string[], verdict: Verdict): void {
  const [first, last] = [[...seen][0], [...seen].at(-1)];
  if (first === undefined || last === undefined) return void verdict.stuck.push(`stream ${reader}: it got no event`);
  for (const cursor of cursors)
    if (cursor > first && cursor < last && !seen.has(cursor)) verdict.lost.push(`stream ${reader}: event ${cursor} never came`);
}
