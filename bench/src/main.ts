import { setTimeout as sleep } from 'node:timers/promises';
import { bulkJobs } from './bulk.js';
import { hasPostgres, ownDatabase, postgresPort } from './database.js';
import { eventPages } from './events.js';
import { keyChecks } from './keys.js';
import { lists } from './lists.js';
import { callers, percentile } from './load.js';
import { readProcess, treesBelow } from './processes.js';
import { soak } from './soak/soak.js';
import { endChildrenWithUs, eventually, startStack, type Stack } from './stack.js';
import { statistics } from './statistics.js';
import { webhooks } from './webhooks.js';

endChildrenWithUs();

/**
 * `npm run bench`: each line is a promise, what was measured on this machine, and whether it was kept. Everything is real (both
 * processes, Chromium, the disk) but WhatsApp: its own share of the time is not measured here and cannot be.
 */

const me = (number: number): string => `551198888${String(7000 + number)}`;
const ana = '5511999990001';
const lines: { what: string; promise: string; measured: string; ok: boolean }[] = [];

function line(what: string, promise: string, measured: string, ok: boolean): void {
  lines.push({ what, promise, measured, ok });
  console.log(`${ok ? 'pass' : 'MISS'}  ${what.padEnd(58)} ${promise.padEnd(24)} ${measured}`);
}

/** Proportional memory of all browsers below the worker, in megabytes. */
function browserMemoryMb(worker: number): number {
  const sizes = treesBelow(worker)
    .flat()
    .map((pid) => Number(/^Pss:\s+(\d+)/m.exec(readProcess(pid, 'smaps_rollup') ?? '')?.[1] ?? 0));
  return sizes.reduce((sum, size) => sum + size, 0) / 1024;
}

async function link(stack: Stack, number: number): Promise<string> {
  const name = `bench-${number}`;
  await stack.api('POST', '/sessions', { name });
  await stack.api('POST', `/sessions/${name}/connect`);
  const { body } = await stack.api<{ qrText: string }>('GET', `/sessions/${name}/qr`);
  if (!body.success) throw new Error(`${name} shows no code: ${body.error?.message}`);
  await stack.simulator.client.scan({ qr: body.data.qrText, phone: me(number) });
  await eventually(
    `${name} to be connected`,
    async () => (await stack.api('GET', `/sessions/${name}`)).body.data['isConnected'] === true,
    30_000,
  );
  return name;
}

const toAna =
  (session: string, more: object = {}) =>
  (number: number): string =>
    JSON.stringify({ sessionId: session, recipient: ana, message: `bench ${number}`, ...more });

const sendText = (stack: Stack) => ({
  url: stack.urls.backend,
  path: '/api/v1/messages/send-text',
  headers: { authorization: `ApiKey ${stack.key()}` },
});

/** The best of three runs of four seconds: the first one warms the compiler up, and other work on the machine can only slow a run. */
async function accept(stack: Stack, database: string, promised: number): Promise<void> {
  await stack.api('POST', '/sessions', { name: 'queue' });
  const body = toAna('queue', { async: true, queueIfOffline: true });
  const runs: { rate: number; p99: number }[] = [];
  for (let run = 0; run < 3; run += 1) {
    const { times, seconds, statuses } = await callers({ ...sendText(stack), body, count: 50, forMs: 4_000 });
    if ([...statuses.keys()].some((status) => status !== 202)) throw new Error(`accept answered ${[...statuses].join(' ')}`);
    runs.push({ rate: times.length / seconds, p99: percentile(times, 0.99) });
  }
  const best = runs.reduce((one, other) => (other.rate > one.rate ? other : one));
  line(
    `accept, durable, ${database}, 50 callers on the same cores, best of 3`,
    `≥ ${promised.toLocaleString('en')}/s, p99 < 50 ms`,
    `${Math.round(best.rate)}/s, p99 ${best.p99.toFixed(1)} ms`,
    best.rate >= promised && best.p99 < 50,
  );
}

async function acceptOnSqlite(): Promise<void> {
  const stack = await startStack({ settings });
  try {
    await accept(stack, 'SQLite', 3_000);
  } finally {
    await stack.close();
  }
}

async function acceptOnPostgres(): Promise<void> {
  if (!(await hasPostgres()))
    return void console.log(`SKIPPED: accept on PostgreSQL, because nothing answers on port ${postgresPort}.`);
  const own = await ownDatabase();
  const stack = await startStack({ settings, databaseUrl: own.url });
  try {
    await accept(stack, 'PostgreSQL', 2_000);
  } finally {
    await stack.close();
    await own.drop();
  }
}

/** The session's own count: reading the simulator's long journal repeatedly would slow what is measured. */
const counter = async (stack: Stack, name: string, which: 'sent' | 'received'): Promise<number> =>
  (await stack.api<{ counters: Record<'sent' | 'received', number> }>('GET', `/sessions/${name}`)).body.data.counters[which];

async function sends(stack: Stack, name: string): Promise<void> {
  const rates: number[] = [];
  for (let run = 0; run < 3; run += 1) {
    const count = 400;
    const before = await counter(stack, name, 'sent');
    const started = performance.now();
    await callers({ ...sendText(stack), body: toAna(name, { async: true }), count: 20, requests: count });
    await eventually('all to be sent', async () => (await counter(stack, name, 'sent')) >= before + count, 60_000);
    rates.push(count / ((performance.now() - started) / 1000));
  }
  const rate = Math.max(...rates);
  line('sends through one session, pacing off, best of 3', '≥ 100/s', `${Math.round(rate)}/s`, rate >= 100);

  const { times } = await callers({ ...sendText(stack), body: toAna(name), count: 1, requests: 60 });
  const p95 = percentile(times, 0.95);
  line('send that waits for its outcome, our own share, p95', '< 100 ms', `${p95.toFixed(0)} ms`, p95 < 100);
}

async function inbound(stack: Stack): Promise<void> {
  const count = 1000;
  const received = (): Promise<number> => counter(stack, 'bench-0', 'received');
  const before = await received();
  const started = performance.now();
  for (let sent = 0; sent < count; sent += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, number) =>
        stack.simulator.client.deliver({ from: ana, to: me(0), type: 'text', text: `inbound ${sent + number}` }),
      ),
    );
  await eventually('all to be taken in', async () => (await received()) >= before + count, 60_000);
  const rate = count / ((performance.now() - started) / 1000);
  line('inbound messages through one session, to database and log', '≥ 500/s', `${Math.round(rate)}/s`, rate >= 500);
}

const settings = { SEND_RATE_PER_MINUTE: '0', HEARTBEAT_SECONDS: '1', MAX_QUEUED_PER_SESSION: '1000000', LOG_LEVEL: 'warn' };

async function messages(): Promise<void> {
  const stack = await startStack({ settings });
  try {
    line('backend start to first answer', '< 3 s', `${(stack.backendStartMs / 1000).toFixed(2)} s`, stack.backendStartMs < 3000);
    await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
    const first = await link(stack, 0);
    await sends(stack, first);
    await inbound(stack);
  } finally {
    await stack.close();
  }
}

/** The promised number of sessions on one worker: memory, kill -9 of both processes, all connected again, all sending. */
async function fleet(size: number): Promise<void> {
  const stack = await startStack({ settings: { ...settings, MAX_SESSIONS: String(size) } });
  try {
    await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
    await link(stack, 0);
    await sleep(3_000);
    const one = browserMemoryMb(stack.pid('worker'));
    for (let number = 1; number < size; number += 1) await link(stack, number);
    await sleep(3_000);
    const each = (browserMemoryMb(stack.pid('worker')) - one) / (size - 1);
    const memory = `${each.toFixed(1)} MB (the first ${one.toFixed(0)} MB, ${size} sessions)`;
    line('memory per session beyond the first, lean, PSS', '≤ 45 MB', memory, each <= 45);
    await returnOf(stack, size);
    const statuses = await Promise.all(
      Array.from({ length: size }, async (_, number) => {
        const input = { sessionId: `bench-${number}`, recipient: ana, message: `fleet ${number}` };
        return (await stack.api('POST', '/messages/send-text', input)).status;
      }),
    );
    const sent = statuses.filter((status) => status === 200).length;
    line('of them send at once', `${size} of ${size}`, `${sent} of ${size}`, sent === size);
  } finally {
    await stack.close();
  }
}

async function returnOf(stack: Stack, size: number): Promise<void> {
  await Promise.all([stack.end('worker', 'SIGKILL'), stack.end('backend', 'SIGKILL')]);
  const started = performance.now();
  await stack.start('backend');
  await stack.start('worker');
  const waiting = new Set(Array.from({ length: size }, (_, number) => `bench-${number}`));
  let slowestMs = 0;
  const isBack = async (name: string): Promise<boolean> => {
    const at = performance.now();
    // The status route asks the worker: the backend's state from before the kill does not count.
    const { body } = await stack.api<{ isConnected: boolean; stale: boolean }>('GET', `/sessions/${name}/status`);
    slowestMs = Math.max(slowestMs, performance.now() - at);
    return body.data.isConnected && !body.data.stale;
  };
  const allBack = async (): Promise<boolean> => {
    for (const name of waiting) if (await isBack(name)) waiting.delete(name);
    return waiting.size === 0;
  };
  await eventually(`${size} sessions to be back`, allBack, 180_000);
  const seconds = (performance.now() - started) / 1000;
  const back = `${seconds.toFixed(1)} s; the slowest status answer meanwhile ${Math.round(slowestMs)} ms`;
  line(`${size} linked sessions back after kill -9 of both processes`, '< 60 s', back, seconds < 60);
}

/** `npm run bench -- accept fleet`: those lines alone. */
const parts: Record<string, () => Promise<void>> = {
  messages,
  accept: acceptOnSqlite,
  postgres: acceptOnPostgres,
  events: () => eventPages(line),
  lists: () => lists(line),
  statistics: () => statistics(line),
  keys: () => keyChecks(line),
  webhooks: () => webhooks(line),
  bulk: () => bulkJobs(line, settings, link),
  fleet: () => fleet(Number(process.env['FLEET'] ?? 50)),
};

/** Half an hour: only when it is asked for by name. */
const byName: Record<string, () => Promise<void>> = { soak: () => soak(line) };

const wanted = process.argv.slice(2);
for (const [name, run] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await run();
for (const [name, run] of Object.entries(byName)) if (wanted.includes(name)) await run();
if (lines.some(({ ok }) => !ok)) process.exitCode = 1;
