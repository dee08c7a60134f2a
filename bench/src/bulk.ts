import { hasPostgres, ownDatabase } from './database.js';
import type { Line } from './events.js';
import { callers, percentile } from './load.js';
import { readProcess } from './processes.js';
import { eventually, startStack, type Stack } from './stack.js';

const count = 10_000;
const ana = '5511999990001';
/** Single sends that are timed before and while a job runs. */
const singles = 60;

interface JobBody {
  id: string;
  counts: Record<string, number>;
}

/** A bulk job of 10,000 recipients: how long it takes to accept, and what single sends of another session notice of it while it runs. */
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
      await measure(line, dialect, stack, single, bulk);
    } finally {
      await stack.close();
      await own?.drop();
    }
  }
}

async function measure(line: Line, dialect: string, stack: Stack, single: string, bulk: string): Promise<void> {
  const sendSingles = async (): Promise<number[]> => {
    const { times } = await callers({
      url: stack.urls.backend,
      path: '/api/v1/messages/send-text',
      headers: { authorization: `ApiKey ${stack.key()}` },
      body: (number) => JSON.stringify({ sessionId: single, recipient: ana, message: `single ${number}` }),
      count: 1,
      requests: singles,
    });
    return times;
  };
  await sendSingles();
  const before = await sendSingles();
  const memoryBefore = memoryMb(stack);
  const recipients = Array.from({ length: count }, (_, row) => ({
    recipient: `+55119${String(10_000_000 + row)}`,
    variables: { name: `Person ${row}`, order: row },
  }));
  const body = { sessionId: bulk, type: 'text', message: 'Hello {{name}}, order {{order}} is ready.', gapMs: [0, 0], recipients };
  const started = performance.now();
  const reply = await stack.api<JobBody>('POST', '/messages/bulk', body);
  const seconds = (performance.now() - started) / 1000;
  if (reply.status !== 202) throw new Error(`The job was answered ${reply.status}: ${reply.body.error?.message}`);
  line(
    `bulk job of ${count.toLocaleString('en')} recipients accepted, ${dialect}`,
    '< 3 s',
    `${seconds.toFixed(2)} s`,
    seconds < 3,
  );
  const { id } = reply.body.data;
  const fed = async (): Promise<boolean> =>
    (await stack.api<JobBody>('GET', `/messages/bulk/${id}`)).body.data.counts['pending']! < count - 20;
  await eventually('the job to run', fed, 60_000);
  const during = await sendSingles();
  const grownMb = memoryMb(stack) - memoryBefore;
  const [one, other] = [percentile(before, 0.5), percentile(during, 0.5)];
  line(
    `single send of another session while it runs, ${dialect}, median`,
    '< 1.5 × without it',
    `${other.toFixed(0)} ms, ${one.toFixed(0)} ms without it`,
    other < one * 1.5,
  );
  line(`memory that the job adds to the backend, ${dialect}`, '< 100 MB', `${grownMb.toFixed(0)} MB`, grownMb < 100);
  await stack.api('POST', `/messages/bulk/${id}/cancel`, {});
}

/** Resident memory of the backend. */
const memoryMb = (stack: Stack): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readProcess(stack.pid('backend'), 'status') ?? '')?.[1] ?? 0) / 1024;
