import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { FaultProxy } from '../fault-proxy.js';
import { treesBelow } from '../processes.js';
import type { Fleet, Member } from './fleet.js';
import type { Sink } from './sinks.js';

/** One fault. `run` resolves when it is over. */
interface FaultKind {
  name: string;
  run(): Promise<void>;
}

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
};

/** Injects one fault after the other, with times and kinds that the seed determines, until `until`. Calls `say` for each. */
export async function injectFaults(
  fleet: Fleet,
  sinks: readonly Sink[],
  random: () => number,
  { until, everyMs, say }: { until: number; everyMs: number; say: (what: string) => void },
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const kinds = kindsOf(fleet, sinks, random);
  while (performance.now() < until) {
    await sleep(Math.min(everyMs * (0.5 + random()), Math.max(0, until - performance.now())));
    if (performance.now() >= until) break;
    const kind = kinds[Math.floor(random() * kinds.length)]!;
    say(kind.name);
    counts.set(kind.name, (counts.get(kind.name) ?? 0) + 1);
    await kind.run();
  }
  return counts;
}

function kindsOf(fleet: Fleet, sinks: readonly Sink[], random: () => number): FaultKind[] {
  const one = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const freezeMs = (): number => 3_000 + 7_000 * random();
  const memberOf = (part: Member['part']): Member => one(fleet.members.filter((member) => member.part === part));

  async function freeze(pids: readonly number[]): Promise<void> {
    for (const pid of pids) signal(pid, 'SIGSTOP');
    await sleep(freezeMs());
    for (const pid of pids) signal(pid, 'SIGCONT');
  }
  const browser = (): number[] => {
    const worker = memberOf('worker');
    const browsers = worker.isUp() ? treesBelow(worker.pid()) : [];
    return browsers.length > 0 ? one(browsers) : [];
  };
  async function silence(line: FaultProxy): Promise<void> {
    const end = line.silence();
    await sleep(freezeMs());
    end();
  }
  const kill = (pids: readonly number[]): void => {
    for (const pid of pids) signal(pid, 'SIGKILL');
  };

  const kinds: FaultKind[] = [
    { name: 'kill a backend', run: async () => kill([memberOf('backend').pid()]) },
    { name: 'freeze a backend', run: () => freeze([memberOf('backend').pid()]) },
    { name: 'kill a worker', run: async () => kill([memberOf('worker').pid()]) },
    { name: 'freeze a worker', run: () => freeze([memberOf('worker').pid()]) },
    { name: 'kill a browser', run: async () => kill(browser()) },
    { name: 'freeze a browser', run: () => freeze(browser()) },
    { name: 'black hole between backends and a worker', run: () => silence(one(fleet.links)) },
    {
      name: 'connections between backends and a worker refused',
      run: async () => {
        const link = one(fleet.links);
        link.set({ kind: 'refuse' });
        await sleep(freezeMs());
        link.set({ kind: 'none' });
      },
    },
    { name: 'connections between backends and a worker forgotten', run: async () => one(fleet.links).forget() },
    {
      name: 'outage of all webhook receivers',
      run: async () => {
        for (const sink of sinks) sink.outage(true);
        await sleep(freezeMs() * 2);
        for (const sink of sinks) sink.outage(false);
      },
    },
  ];
  const { databaseUrl, server } = fleet;
  if (databaseUrl !== null)
    kinds.push(
      { name: 'terminate all PostgreSQL connections', run: () => terminate(databaseUrl) },
      { name: 'black hole between a backend and PostgreSQL', run: () => silence(one(fleet.lines)) },
      { name: 'connections between a backend and PostgreSQL forgotten', run: async () => one(fleet.lines).forget() },
    );
  if (server)
    kinds.push(
      {
        name: 'freeze PostgreSQL',
        run: async () => {
          const goOn = server.freeze();
          await sleep(freezeMs());
          goOn();
        },
      },
      { name: 'kill PostgreSQL and start it again', run: () => server.kill().then(() => server.start()) },
    );
  return kinds;
}

async function terminate(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
    );
  } finally {
    await client.end();
  }
}
