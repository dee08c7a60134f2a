import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type * as ApiKeysModule from '../../backend/src/accounts/api-keys.js';
import type * as DatabaseModule from '../../backend/src/db/database.js';
import type * as EventsModule from '../../backend/src/events/events.js';
import { hasPostgres, ownDatabase } from './database.js';
import type { Line } from './events.js';
import { percentile } from './load.js';

const many = 10_000;
const checks = 5_000;
const promisedMs = 1;
const backend = resolve(import.meta.dirname, '../../backend/dist');

/** Checks a key among ten thousand with the backend's code in this process, so that HTTP is not measured. */
export async function keyChecks(line: Line): Promise<void> {
  for (const dialect of (await hasPostgres()) ? (['SQLite', 'PostgreSQL'] as const) : (['SQLite'] as const)) {
    const own = dialect === 'PostgreSQL' ? await ownDatabase() : null;
    const dir = await mkdtemp(join(tmpdir(), 'chasqui-keys-'));
    try {
      await measure(line, dialect, own ? { url: own.url } : { file: join(dir, 'keys.sqlite') });
    } finally {
      await own?.drop();
      await rm(dir, { recursive: true, force: true });
    }
  }
}

async function measure(line: Line, dialect: string, location: DatabaseModule.DatabaseLocation): Promise<void> {
  const { openDatabase } = (await import(`${backend}/db/database.js`)) as typeof DatabaseModule;
  const { createApiKeys } = (await import(`${backend}/accounts/api-keys.js`)) as typeof ApiKeysModule;
  const { createEvents } = (await import(`${backend}/events/events.js`)) as typeof EventsModule;
  const clock = { now: () => new Date(), monotonic: () => performance.now() };
  const database = await openDatabase(location);
  try {
    const open = (): ApiKeysModule.ApiKeys =>
      createApiKeys({ database, clock, events: createEvents({ clock }), report: () => undefined });
    const keys = open();
    const made: string[] = [];
    for (let batch = 0; batch < many; batch += 500)
      await database.write.run(async (tx) => {
        for (let n = 0; n < 500; n += 1)
          made.push((await keys.insert(tx, { accountId: `account-${n % 50}`, name: `key ${n}`, permissions: ['*'] })).key);
      });
    const timed = async (one: ApiKeysModule.ApiKeys): Promise<number[]> => {
      const times: number[] = [];
      for (let n = 0; n < checks + 500; n += 1) {
        const key = made[(n * 7919) % many]!;
        const started = performance.now();
        await one.authenticate(key);
        if (n >= 500) times.push(performance.now() - started);
      }
      return times;
    };
    // Each key once: none of them is in memory.
    const times = await timed(open());
    const p95 = percentile(times, 0.95);
    const measured = `${p95.toFixed(3)} ms, median ${percentile(times, 0.5).toFixed(3)}`;
    line(
      `check of a key not in memory, ${many.toLocaleString('en')} keys, ${dialect}, p95`,
      `< ${promisedMs} ms`,
      measured,
      p95 < promisedMs,
    );
    await database.write.idle();
  } finally {
    await database.close();
  }
}
