import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../stack.js';
import { type Case, randomOf, type Victim } from './plan.js';
import { treesBelow } from '../processes.js';
import { ana, type Rig, sessions } from './rig.js';

/** The requests and replies of one run. The judge compares them with what the simulator received. */
export interface Run {
  id: string;
  /** The words of what clients sent, and the message that each was accepted as. All words of a run differ. */
  accepted: Map<string, string>;
  /** Clients that got no conclusive reply until they gave up. */
  unanswered: string[];
  /** Texts that Ana wrote, by session. */
  arrived: Map<string, string[]>;
  hit: boolean;
  /** Before it began. */
  journalFrom: number;
  cursorFrom: string;
  /** Milliseconds from the first call until every message was final and both sessions were connected. */
  settledMs: number;
}

interface Answer {
  id: string;
  status: string;
}

/** The kinds of sends that a run mixes. A forward needs an original, which arrives before the kill. */
const kinds = ['text', 'calendar_event', 'story', 'forward'] as const;
type Kind = (typeof kinds)[number];
/** Without an original. */
const simpleKinds = ['text', 'calendar_event', 'story'] as const satisfies readonly Kind[];
const kindOf = <K extends Kind>(of: readonly K[], seed: number, number: number): K => of[(seed + number) % of.length]!;

const sends = 6;
const arrivals = 4;
const clientGivesUpMs = 60_000;
export const settleMs = 60_000;
const finals = new Set(['sent', 'delivered', 'read', 'played', 'failed', 'cancelled']);

/** Sends and arrivals on both sessions while a process is killed; ends when every message is final, or at the time limit. */
export async function play(rig: Rig, plan: Case): Promise<Run> {
  const { stack } = rig;
  const random = randomOf(plan.seed * 1_000 + plan.id.length);
  const run: Run = {
    id: plan.id,
    accepted: new Map(),
    unanswered: [],
    arrived: new Map(sessions.map(({ name }) => [name, []])),
    hit: false,
    journalFrom: (await stack.simulator.client.journal({})).length,
    cursorFrom: await latestCursor(rig),
    settledMs: 0,
  };
  const started = performance.now();
  const words = Array.from({ length: sends }, (_, number) => `${plan.id}#${number}`);
  const originals = await receiveOriginals(
    rig,
    words.filter((_, number) => kindOf(kinds, plan.seed, number) === 'forward'),
  );
  const uncertain = plan.point === 'lookup.received' ? await causeUncertain(rig, plan, run) : null;
  const order = (): void =>
    rig.order({ id: plan.id, point: plan.point, pass: plan.pass, victims: victimsOf(rig, plan.victim, random) });
  order();
  const traffic = [
    ...words.map((text, number) => {
      const call = callOf(kindOf(kinds, plan.seed, number), text, sessions[number % 2]!.name, originals.get(text));
      return after(random() * 250, () => client(rig, run, text, call, random() < 0.5, isLater(plan)));
    }),
    ...Array.from({ length: arrivals }, (_, number) =>
      after(random() * 250, () => write(rig, run, sessions[number % 2]!, `${plan.id}<${number}`)),
    ),
  ];
  await Promise.all([...traffic, uncertain?.sending]);
  await keepGoing(rig, run, plan);
  // An acknowledgement before the lookup settles the uncertain message; then another one is made.
  for (let more = 1; uncertain && more <= 6 && !rig.wasHit(); more += 1) {
    const next = await causeUncertain(rig, plan, run, more);
    order();
    await next.sending;
    await eventually('the kill', async () => rig.wasHit(), 2_000).catch(() => undefined);
  }
  rig.withdraw();
  run.hit = rig.wasHit();
  await waitUntilSettled(rig, run);
  run.settledMs = performance.now() - started;
  return run;
}

/**
 * An uncertain message needs a separate crash first: the page has sent, and the worker dies before it reports that. Ends as soon as the next worker
 * runs: when its session is connected the message is looked up, and the order for the kill must be there by then.
 */
async function causeUncertain(rig: Rig, plan: Case, run: Run, number = 0): Promise<{ sending: Promise<void> }> {
  const before = rig.stack.pid('worker');
  rig.order({ id: `${plan.id}-uncertain${number}`, point: 'send.answered', pass: 1, victims: [before] });
  const text = `${plan.id}#uncertain${number}`;
  const sending = client(rig, run, text, callOf(kindOf(simpleKinds, plan.seed, number), text, 'one'), true);
  await eventually('the worker to be killed', async () => rig.wasHit(), 15_000);
  await eventually('the next worker', async () => rig.stack.isUp('worker') && rig.stack.pid('worker') !== before, 15_000);
  return { sending };
}

/** Some points are passed only occasionally: sends more messages until the kill has happened. */
async function keepGoing(rig: Rig, run: Run, plan: Case): Promise<void> {
  for (let more = 0; more < 12 && !rig.wasHit(); more += 1) {
    const text = `${plan.id}#more${more}`;
    const call = callOf(kindOf(simpleKinds, plan.seed, more), text, sessions[more % 2]!.name);
    await Promise.all([
      client(rig, run, text, call, false, isLater(plan)),
      write(rig, run, sessions[more % 2]!, `${plan.id}<more${more}`),
    ]);
    // Messages that arrive within milliseconds share a batch; each of these must be a separate batch.
    await eventually('the kill', async () => rig.wasHit(), isLater(plan) ? laterMs + 1_000 : 250).catch(() => undefined);
  }
}

function victimsOf(rig: Rig, victim: Victim, random: () => number): number[] {
  if (victim !== 'chromium') return [rig.stack.pid(victim)];
  const browsers = treesBelow(rig.stack.pid('worker'));
  return browsers[Math.floor(random() * browsers.length)] ?? [];
}

const after = async (ms: number, work: () => Promise<void>): Promise<void> => {
  await sleep(ms);
  await work();
};

/** How far ahead the messages of a run are scheduled, so that their requests are answered before they are due. */
const laterMs = 1_200;
/** Whether the messages of a run are scheduled: only those pass these points. */
const isLater = ({ point }: Case): boolean => point.startsWith('due.');

/** A request to send, without what the client decides on its own. */
interface Call {
  path: string;
  body: Record<string, unknown>;
}

/** The request that makes `text` readable on Ana's phone. `original`: the message to forward, which has that text. */
function callOf(kind: Kind, text: string, session: string, original = ''): Call {
  const toAna = { sessionId: session, recipient: ana };
  switch (kind) {
    case 'text':
      return { path: '/messages/send-text', body: { ...toAna, message: text } };
    case 'calendar_event':
      return { path: '/messages/send-calendar-event', body: { ...toAna, name: text, startsAt: '2040-01-15T14:00:00Z' } };
    case 'story':
      return { path: `/sessions/${session}/stories`, body: { message: text } };
    case 'forward':
      return { path: `/messages/${original}/forward`, body: { recipient: ana } };
  }
}

/** Ana writes these texts to the sessions that forward them back to her. Returns our ids of the recorded messages, by text. */
async function receiveOriginals(rig: Rig, texts: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const text of texts) {
    const { phone } = sessions[Number(text.at(-1)) % 2]!;
    await rig.stack.simulator.client.deliver({ from: ana, to: phone, type: 'text', text });
    const id = await eventually('the original of a forward', async () => {
      const query = `direction=inbound&limit=200&search=${encodeURIComponent(text)}`;
      const answer = await rig.stack.api<{ id: string; text: string }[]>('GET', `/messages/list?${query}`).catch(() => null);
      return answer?.body.data?.find((message) => message.text === text)?.id;
    });
    found.set(text, id);
  }
  return found;
}

/** A client as the integration guide demands: one Idempotency-Key for each message, and the same call until there is a conclusive reply. */
async function client(rig: Rig, run: Run, text: string, call: Call, waits: boolean, isScheduled = false): Promise<void> {
  const later = (): object => (isScheduled ? { scheduledAt: new Date(Date.now() + laterMs).toISOString() } : {});
  let body = { ...call.body, queueIfOffline: true, async: !waits, ...later() };
  for (const until = Date.now() + clientGivesUpMs; Date.now() < until; await sleep(60)) {
    const answer = await rig.stack.api<Answer>('POST', call.path, body, { 'Idempotency-Key': text }).catch(() => null); // The backend is down, or the connection was cut during the reply.
    if (answer?.status === 200 || answer?.status === 202) return void run.accepted.set(text, answer.body.data.id);
    const refused = answer?.body.error;
    // The backend was down until that time, and accepted nothing.
    if (refused?.code === 'SCHEDULE_IN_PAST') body = { ...body, ...later() };
    if (refused?.code === 'SEND_FAILED') return void run.accepted.set(text, (refused.details['message'] as Answer).id);
  }
  run.unanswered.push(text);
}

async function write(rig: Rig, run: Run, { name, phone }: { name: string; phone: string }, text: string): Promise<void> {
  await rig.stack.simulator.client.deliver({ from: ana, to: phone, type: 'text', text });
  run.arrived.get(name)!.push(text);
}

async function waitUntilSettled(rig: Rig, run: Run): Promise<void> {
  const status = async (id: string): Promise<string> => {
    const answer = await rig.stack.api<Answer>('GET', `/messages/${id}`).catch(() => null);
    return answer?.body.data?.status ?? 'unknown';
  };
  const waiting = new Set(run.accepted.values());
  const isOver = async (): Promise<boolean> => {
    for (const id of waiting) if (finals.has(await status(id))) waiting.delete(id);
    return waiting.size === 0;
  };
  // The judge reports what is not settled.
  await eventually('every message to be final', isOver, settleMs).catch(() => undefined);
  await rig.connected(settleMs).catch(() => undefined);
  const texts = [...run.arrived.values()].flat();
  await eventually(
    'every arrival to be a row',
    async () => (await inboundOf(rig, run.id)).length >= texts.length,
    settleMs,
  ).catch(() => undefined);
}

export interface Inbound {
  text: string;
  sessionId: string;
  createdAt: string;
}

/** The stored incoming messages of a run, oldest first. */
export async function inboundOf(rig: Rig, id: string): Promise<Inbound[]> {
  const answer = await rig.stack
    .api<Inbound[]>('GET', `/messages/list?direction=inbound&limit=200&order=asc&search=${encodeURIComponent(`${id}<`)}`)
    .catch(() => null);
  return answer?.body.data ?? [];
}

async function latestCursor(rig: Rig): Promise<string> {
  const { body } = await rig.stack.api('GET', '/events?limit=1');
  return String(body.meta?.['latestCursor'] ?? '');
}
