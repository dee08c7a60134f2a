import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from './command.mjs';
import { commandOf } from './ports.mjs';
import { Problem, step, warn } from './terminal.mjs';

/**
 * `DATA_DIR/run.json` says which processes run on this folder: `{pid, parts: {backend: pid, worker: pid}}`. It is a hint and no lock:
 * whoever is named there is looked at before it counts, since a number may long belong to another program.
 */
export function runRecord(dataDir) {
  const file = join(dataDir, 'run.json');
  const record = { pid: process.pid, parts: {} };
  return {
    note(name, pid) {
      record.parts[name] = pid;
      writeFileSync(file, JSON.stringify(record), { mode: 0o600 });
    },
    remove: () => rmSync(file, { force: true }),
    read() {
      try {
        return JSON.parse(readFileSync(file, 'utf8'));
      } catch {
        // Absent, or cut off by a crash: then nobody is known to run.
        return null;
      }
    },
  };
}

/** The command line of a living process; null when it does not live or cannot be known. */
async function commandLine(pid) {
  try {
    process.kill(pid, 0);
  } catch {
    return null;
  }
  if (process.platform === 'linux') return commandOf(pid);
  if (process.platform === 'win32') return null;
  return (await runCommand('ps', ['-p', String(pid), '-o', 'command='], { timeoutMs: 5000 })).output.trim() || null;
}

const isOurs = async (pid, script) => script.test(((await commandLine(pid)) ?? '').replaceAll('\\', '/'));

/**
 * Makes sure that nobody else runs on this folder. A living start is an error. Processes whose start was killed stop by themselves
 * (their channel closed); they are waited for, and killed when they hang.
 */
export async function endLeftovers(dataDir, { patienceMs = 40_000 } = {}) {
  const before = runRecord(dataDir).read();
  if (!before) return;
  if (before.pid !== process.pid && (await isOurs(before.pid, /scripts\/(start|demo|dev)\.mjs/))) {
    throw new Problem(
      `Chasqui already runs on ${dataDir} (pid ${before.pid}).`,
      `Stop it with Ctrl-C where it runs, or with: kill ${before.pid}. A second one beside it needs its own DATA_DIR, PORT and WORKER_PORT.`,
    );
  }
  const living = async () => {
    const checked = await Promise.all(
      Object.entries(before.parts).map(async ([name, pid]) => ({ name, pid, lives: await isOurs(pid, /dist\/main\.js/) })),
    );
    return checked.filter((part) => part.lives);
  };
  if ((await living()).length === 0) return;
  await step('Waiting for the processes of an earlier start to end', async () => {
    for (const until = Date.now() + patienceMs; Date.now() < until; await sleep(200)) {
      if ((await living()).length === 0) return;
    }
    for (const { name, pid } of await living()) {
      warn(`The ${name} of an earlier start (pid ${pid}) hangs and is killed.`);
      process.kill(pid, 'SIGKILL');
    }
  });
}
