import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readOwner, takeLock } from './lock-file.mjs';
import { isAlive, killAndWait, startOf } from './processes.mjs';
import { takeSystemLock } from './system-lock.mjs';
import { Problem, step, warn } from './terminal.mjs';

const starter = /scripts\/(start|demo|dev)\.mjs/;
const part = /dist\/main\.js/;
/** Longer than a process may take to stop by itself once its start script is gone. */
const stopPatienceMs = 25_000;
/** Longer than an orderly stop of another start may take. */
const otherPatienceMs = 40_000;

/**
 * `DATA_DIR/run.json` says which processes run on this folder: `{pid, isStopping, parts: {backend: {pid, start}, …}}`. It is a hint and no
 * lock: a process named there is looked at before it counts, since its number may long belong to another program.
 * A write that fails (full disk) is ignored: the next start then finds the ports in use and says so.
 */
export function runRecord(dataDir) {
  const file = join(dataDir, 'run.json');
  const record = { pid: process.pid, isStopping: false, parts: {} };
  function save() {
    const draft = `${file}.${process.pid}.new`;
    try {
      writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
      renameSync(draft, file);
    } catch {
      remove(draft);
    }
  }
  return {
    note(name, pid) {
      record.parts[name] = { pid, start: startOf(pid) };
      save();
    },
    noteStopping() {
      record.isStopping = true;
      save();
    },
    remove: () => remove(file),
    read() {
      try {
        const found = JSON.parse(readFileSync(file, 'utf8'));
        return typeof found?.pid === 'number' ? { ...found, parts: partsOf(found) } : null;
      } catch {
        // Absent, or damaged: then nothing is known to run.
        return null;
      }
    },
  };
}

/** Earlier versions noted a bare number for each process. */
const partsOf = (found) =>
  Object.entries(found.parts ?? {})
    .map(([name, noted]) => (typeof noted === 'number' ? { name, pid: noted, start: null } : { name, ...noted }))
    .filter(({ pid }) => Number.isInteger(pid) && pid > 1);

function remove(file) {
  try {
    rmSync(file, { force: true });
  } catch {
    // A folder that cannot be written keeps its file; the next start looks at the processes named there.
  }
}

/**
 * Makes this script the only one that runs on the folder, until `release`. A living start is an error; one that is stopping is waited for.
 * Processes whose start script was killed stop by themselves, since their channel closed; they are waited for, killed when they hang, and
 * waited for again, so that their ports are free afterwards.
 */
export async function claimDataDir(dataDir, { patienceMs = stopPatienceMs } = {}) {
  const lock = await lockDataDir(dataDir);
  try {
    return { ...lock, hadLeftovers: await endLeftovers(dataDir, patienceMs) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Takes two locks. The operating system's lock decides, also between containers. The file beside it names the owner, and earlier versions know
 * only this file. Returns `{release}`, or `{holder: {pid}}` when another process has a lock; `pid` is null if that is not a process of this system.
 */
async function lockFolder(file) {
  const lock = takeSystemLock(`${file}.sqlite`);
  if (!lock) {
    const owner = readOwner(file);
    return { holder: { pid: owner && (await isAlive(owner, starter)) ? owner.pid : null } };
  }
  try {
    const name = await takeLock(file, starter);
    if (name.holder) lock.release();
    else
      return {
        release() {
          name.release();
          lock.release();
        },
      };
    return name;
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function lockDataDir(dataDir) {
  const attempt = () => lockFolder(join(dataDir, 'run.lock'));
  let first = await attempt();
  // The owner takes the lock a moment before it writes its name.
  for (let tries = 0; first.holder?.pid === null && tries < 10; tries += 1) {
    await sleep(100);
    first = await attempt();
  }
  if (!first.holder) return first;
  if (!runRecord(dataDir).read()?.isStopping) throw alreadyRuns(dataDir, first.holder.pid);
  return step('Waiting for an earlier start to stop', async () => {
    for (const until = performance.now() + otherPatienceMs; performance.now() < until; await sleep(200)) {
      const next = await attempt();
      if (!next.holder) return next;
    }
    throw alreadyRuns(dataDir, first.holder.pid);
  });
}

const alreadyRuns = (dataDir, pid) =>
  new Problem(
    `Chasqui already runs on ${dataDir} (${pid === null ? 'in another container, or on another machine' : `pid ${pid}`}).`,
    `Stop it ${pid === null ? 'there' : `with Ctrl-C where it runs, or with: kill ${pid}`}. A second one beside it needs its own DATA_DIR, PORT and WORKER_PORT.`,
  );

/** Ends the processes of an earlier start. Returns whether there were any. */
async function endLeftovers(dataDir, patienceMs) {
  const before = runRecord(dataDir).read();
  if (!before) return false;
  // A start of a version that had no run.lock.
  if (before.pid !== process.pid && (await isAlive(before, starter))) throw alreadyRuns(dataDir, before.pid);
  const living = async () => {
    const checked = await Promise.all(before.parts.map(async (one) => ((await isAlive(one, part)) ? one : null)));
    return checked.filter((one) => one !== null);
  };
  // Even those that have just ended may still have their ports.
  if ((await living()).length === 0) return true;
  await step('Waiting for the processes of an earlier start to end', async () => {
    for (const until = performance.now() + patienceMs; performance.now() < until; await sleep(200)) {
      if ((await living()).length === 0) return;
    }
    const hanging = await living();
    for (const { name, pid } of hanging) warn(`The ${name} of an earlier start (pid ${pid}) does not stop and is killed.`);
    if (await killAndWait(hanging, part)) return;
    throw new Problem(
      `Processes of an earlier start do not end: ${hanging.map(({ name, pid }) => `${name} (pid ${pid})`).join(', ')}.`,
      'They wait for the operating system, most often for a disk that does not answer. Check the disk of DATA_DIR, or restart the machine.',
    );
  });
  return true;
}
