import { readdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import { eventually, startStack, type Stack } from './stack.js';

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

const percentile = (values: number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

/** Calls over kept connections; fetch would measure itself. */
function caller(stack: Stack) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const { hostname, port } = new URL(stack.urls.backend);
  return (path: string, body: object): Promise<number> =>
    new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const request = http.request(
        {
          agent,
          hostname,
          port,
          method: 'POST',
          path: `/api/v1${path}`,
          headers: {
            authorization: `ApiKey ${stack.key()}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(text),
          },
        },
        (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode ?? 0));
        },
      );
      request.on('error', reject);
      request.end(text);
    });
}

/** Proportional memory of all browsers below the worker, in megabytes. */
function browserMemoryMb(worker: number): number {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = read(`/proc/${name}/stat`);
    if (stat) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const below = (pid: number): boolean => pid === worker || (parents.has(pid) && below(parents.get(pid)!));
  const sizes = [...parents.keys()]
    .filter((pid) => pid !== worker && below(pid))
    .map((pid) => Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`) ?? '')?.[1] ?? 0));
  return sizes.reduce((sum, size) => sum + size, 0) / 1024;
}
function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null; // The process ended while we looked.
  }
}

async function link(stack: Stack, number: number): Promise<string> {
  const name = `bench-${number}`;
  await stack.api('POST', '/sessions', { name });
  await stack.api('POST', `/sessions/${name}/connect`);
  const { body } = await stack.api<{ qrText: string }>('GET', `/sessions/${name}/qr`);
  await stack.simulator.client.scan({ qr: body.data.qrText, phone: me(number) });
  await eventually(
    `${name} to be connected`,
    async () => (await stack.api('GET', `/sessions/${name}`)).body.data['isConnected'] === true,
    30_000,
  );
  return name;
}

async function accept(stack: Stack): Promise<void> {
  await stack.api('POST', '/sessions', { name: 'queue' });
  const call = caller(stack);
  const times: number[] = [];
  const until = performance.now() + 4_000;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      while (performance.now() < until) {
        const at = performance.now();
        const status = await call('/messages/send-text', {
          sessionId: 'queue',
          recipient: ana,
          message: 'bench',
          async: true,
          queueIfOffline: true,
        });
        if (status !== 202) throw new Error(`accept answered ${status}`);
        times.push(performance.now() - at);
      }
    }),
  );
  const rate = times.length / ((performance.now() - started) / 1000);
  const p99 = percentile(times, 0.99);
  line(
    'accept, durable, 50 callers (callers on the same two cores)',
    '≥ 3,000/s, p99 < 50 ms',
    `${Math.round(rate)}/s, p99 ${p99.toFixed(1)} ms`,
    rate >= 3000 && p99 < 50,
  );
}

async function sends(stack: Stack, name: string): Promise<void> {
  const call = caller(stack);
  const count = 400;
  const journal = async (): Promise<number> => (await stack.simulator.client.journal({})).length;
  const before = await journal();
  const started = performance.now();
  await Promise.all(
    Array.from({ length: count }, () =>
      call('/messages/send-text', { sessionId: name, recipient: ana, message: 'bench', async: true }),
    ),
  );
  await eventually('all to be sent', async () => (await journal()) >= before + count, 60_000);
  const rate = count / ((performance.now() - started) / 1000);
  line('sends through one session, pacing off', '≥ 100/s', `${Math.round(rate)}/s`, rate >= 100);

  const times: number[] = [];
  for (let number = 0; number < 60; number += 1) {
    const at = performance.now();
    await call('/messages/send-text', { sessionId: name, recipient: ana, message: 'bench' });
    times.push(performance.now() - at);
  }
  const p95 = percentile(times, 0.95);
  line('send that waits for its outcome, our own share, p95', '< 100 ms', `${p95.toFixed(0)} ms`, p95 < 100);
}

async function inbound(stack: Stack): Promise<void> {
  const count = 1000;
  const received = async (): Promise<number> =>
    Number(
      (await stack.api('GET', '/sessions/bench-0')).body.data['counters'] &&
        ((await stack.api('GET', '/sessions/bench-0')).body.data['counters'] as { received: number }).received,
    );
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

async function main(): Promise<void> {
  const stack = await startStack({
    settings: { SEND_RATE_PER_MINUTE: '0', HEARTBEAT_SECONDS: '1', MAX_QUEUED_PER_SESSION: '1000000', LOG_LEVEL: 'warn' },
  });
  try {
    line('backend start to first answer', '< 3 s', `${(stack.backendStartMs / 1000).toFixed(2)} s`, stack.backendStartMs < 3000);
    await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
    const first = await link(stack, 0);
    await sends(stack, first);
    await inbound(stack);
    await accept(stack);

    await new Promise((resolve) => setTimeout(resolve, 3000));
    const one = browserMemoryMb(stack.pid('worker'));
    for (let number = 1; number < 8; number += 1) await link(stack, number);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const each = (browserMemoryMb(stack.pid('worker')) - one) / 7;
    line(
      'memory per session beyond the first, lean, PSS',
      '≤ 45 MB',
      `${each.toFixed(1)} MB (the first ${one.toFixed(0)} MB)`,
      each <= 45,
    );

    await stack.end('worker', 'SIGKILL');
    const started = performance.now();
    await stack.start('worker');
    // The status route asks the worker itself: what the backend remembers from before the kill does not count.
    const isBack = async (name: string): Promise<boolean> => {
      const { body } = await stack.api<{ isConnected: boolean; stale: boolean }>('GET', `/sessions/${name}/status`);
      return body.data.isConnected && !body.data.stale;
    };
    const all = Array.from({ length: 8 }, (_, number) => `bench-${number}`);
    await eventually('8 sessions to be back', async () => (await Promise.all(all.map(isBack))).every(Boolean), 90_000);
    const seconds = (performance.now() - started) / 1000;
    line('8 linked sessions back after kill -9 of the worker', '< 60 s (50 of them)', `${seconds.toFixed(1)} s`, seconds < 60);
  } finally {
    await stack.close();
  }
  if (lines.some(({ ok }) => !ok)) process.exitCode = 1;
}

await main();
