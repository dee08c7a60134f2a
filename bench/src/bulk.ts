import { hasPostgres, ownDatabase } from './database.js';
import type { Line } from './events.js';
import { callers, percentile } from './load.js';
import { readProcess } from './processes.js';
import { eventually, startStack, type Stack } from './stack.js';

const count = 10_000;
const ana = '5511999990001';
/** Single sends that are timed in each window, and how often each window is measured. The rounds take turns, so that other work on the machine meets all windows. */
const singles = 60;
const rounds = 5;

interface JobBody {
  id: string;
  counts: Record<string, number>;
}

/**
 * A bulk job of 10,000 recipients: how long it takes to accept, and what single sends of another session notice of it while it runs. A job without gaps
 * uses the cores up, as single sends of its session would do; so it is compared with those too.
 */
export async function bulkJobs(
  line: Line,
  settings: Record<string, string>,
  link: (stack: Stack, number: number) => Promise<string>,
): Promise<void> {
  for (const dialect of (await hasPostgres()) ? (['SQLite', 'PostgreSQL'] as const) : (['SQLite'] as const)) {
    const own = dialect === 'PostgreSQL' ? await ownDatabase() : null;
    const stack = await startStack({ settings, ...(own ? { databaseUrl: own.url } : {}) });
    try {
      await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
      const [single, bulk] = [await link(stack, 0), await link(stack, 1)];
      await sendSingles(stack, single, singles * 2);
      await acceptance(line, dialect, stack, bulk);
      await besideOthers(line, dialect, stack, single, bulk);
    } finally {
      await stack.close();
      await own?.drop();
    }
  }
}

async function sendSingles(stack: Stack, sessionId: string, requests = singles): Promise<number[]> {
  const { times } = await callers({
    url: stack.urls.backend,
    path: '/api/v1/messages/send-text',
    headers: { authorization: `ApiKey ${stack.key()}` },
    body: (number) => JSON.stringify({ sessionId, recipient: ana, message: `single ${number}` }),
    count: 1,
    requests,
  });
  return times;
}

async function createJob(stack: Stack, sessionId: string, size: number, gap: { gapMs?: [number, number] }): Promise<string> {
  const recipients = Array.from({ length: size }, (_, row) => ({
    recipient: `+55119${String(10_000_000 + row)}`,
    variables: { name: `Person ${row}`, order: row },
  }));
  const body = { sessionId, type: 'text', message: 'Hello {{name}}, order {{order}} is ready.', ...gap, recipients };
  const reply = await stack.api<JobBody>('POST', '/messages/bulk', body);
  if (reply.status !== 202) throw new Error(`The job was answered ${reply.status}: ${reply.body.error?.message}`);
  return reply.body.data.id;
}

async function acceptance(line: Line, dialect: string, stack: Stack, bulk: string): Promise<void> {
  const memoryBefore = memoryMb(stack);
  const started = performance.now();
  const id = await createJob(stack, bulk, count, { gapMs: [0, 0] });
  const seconds = (performance.now() - started) / 1000;
  line(
    `bulk job of ${count.toLocaleString('en')} recipients accepted, ${dialect}`,
    '< 3 s',
    `${seconds.toFixed(2)} s`,
    seconds < 3,
  );
  await hasBegun(stack, id, count - 20);
  const grownMb = memoryMb(stack) - memoryBefore;
  line(`memory that the job adds to the backend, ${dialect}`, '< 100 MB', `${grownMb.toFixed(0)} MB`, grownMb < 100);
  await stack.api('POST', `/messages/bulk/${id}/cancel`, {});
}

/** Resolves when a job of so many recipients has queued its first messages. */
async function hasBegun(stack: Stack, id: string, size: number): Promise<void> {
  const isFed = async (): Promise<boolean> =>
    (await stack.api<JobBody>('GET', `/messages/bulk/${id}`)).body.data.counts['pending']! < size;
  await eventually('the job to run', isFed, 60_000);
}

/** Runs `during` while a job of another session runs. */
async function withJob(
  stack: Stack,
  bulk: string,
  gap: { gapMs?: [number, number] },
  during: () => Promise<void>,
): Promise<void> {
  const id = await createJob(stack, bulk, count, gap);
  await hasBegun(stack, id, count);
  await during();
  await stack.api('POST', `/messages/bulk/${id}/cancel`, {});
}

/** Runs `during` while one caller sends through another session as fast as it is answered. */
async function withSingles(stack: Stack, bulk: string, during: () => Promise<void>): Promise<void> {
  let isOver = false;
  const sending = (async () => {
    while (!isOver) await sendSingles(stack, bulk, 10);
  })();
  await during();
  isOver = true;
  await sending;
}

type Window = 'alone' | 'defaultGaps' | 'noGaps' | 'otherSingles';

async function besideOthers(line: Line, dialect: string, stack: Stack, single: string, bulk: string): Promise<void> {
  const times: Record<Window, number[]> = { alone: [], defaultGaps: [], noGaps: [], otherSingles: [] };
  const timed = (window: Window) => async (): Promise<void> => void times[window].push(...(await sendSingles(stack, single)));
  for (let round = 0; round < rounds; round += 1) {
    await timed('alone')();
    await withJob(stack, bulk, {}, timed('defaultGaps'));
    await withJob(stack, bulk, { gapMs: [0, 0] }, timed('noGaps'));
    await withSingles(stack, bulk, timed('otherSingles'));
  }
  const median = (window: Window): number => percentile(times[window], 0.5);
  const compared = (what: string, window: Window, other: Window, words: string): void => {
    const p95 = (one: Window): string => `p95 ${percentile(times[one], 0.95).toFixed(0)} ms`;
    line(
      `single send of another session ${what}, ${dialect}, median`,
      `< 1.5 × ${words}`,
      `${median(window).toFixed(0)} ms (${p95(window)}), ${median(other).toFixed(0)} ms (${p95(other)}) ${words}`,
      median(window) < median(other) * 1.5,
    );
  };
  compared('while a job with the default gaps runs', 'defaultGaps', 'alone', 'without it');
  compared('while a job without gaps runs', 'noGaps', 'otherSingles', 'beside single sends of that session');
  console.log(`      without any other session: ${median('alone').toFixed(0)} ms`);
}

/** Resident memory of the backend. */
const memoryMb = (stack: Stack): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readProcess(stack.pid('backend'), 'status') ?? '')?.[1] ?? 0) / 1024;
