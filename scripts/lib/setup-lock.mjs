import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from './lock-file.mjs';
import { cacheDir } from './paths.mjs';
import { isAlive, killAndWait, startOf } from './processes.mjs';
import { Problem, step } from './terminal.mjs';

/** Longer than the longest install. */
const patienceMs = 45 * 60_000;

/**
 * Runs `work` while no other script of this repository installs, builds or downloads. `work` gets `note(pid)` for a command that must not go
 * on without us: when this script is killed, the next one that comes here ends it first.
 */
export async function withSetupLock(work, { folder = cacheDir, waitMs = patienceMs } = {}) {
  const file = join(folder, 'setup.lock');
  const noted = join(folder, 'setup-command.json');
  const lock = await waitForLock(file, waitMs);
  try {
    await endLeftover(noted);
    return await work({ note: (pid) => noteCommand(noted, pid) });
  } finally {
    rmSync(noted, { force: true });
    lock.release();
  }
}

function noteCommand(noted, pid) {
  try {
    writeFileSync(noted, JSON.stringify({ pid, start: startOf(pid) }));
  } catch {
    // The note matters only if this script is killed. The command itself reports a full disk.
  }
}

async function waitForLock(file, waitMs) {
  const first = await takeLock(file);
  if (!first.holder) return first;
  return step(`Waiting for the set-up that another command does (pid ${first.holder.pid})`, async () => {
    for (const until = performance.now() + waitMs; performance.now() < until; await sleep(200)) {
      const next = await takeLock(file);
      if (!next.holder) return next;
    }
    throw new Problem(
      `Another command (pid ${first.holder.pid}) has been setting up for too long.`,
      `Look whether it still does something; if not: kill ${first.holder.pid}, then run the same command again.`,
    );
  });
}

/** Only a process that started at the noted time is the noted one, so nothing is ended where that cannot be known. */
async function endLeftover(noted) {
  let command;
  try {
    command = JSON.parse(readFileSync(noted, 'utf8'));
  } catch {
    return;
  }
  if (!Number.isInteger(command?.pid) || command.start === null || !(await isAlive(command, /./))) return;
  try {
    process.kill(-command.pid, 'SIGTERM');
  } catch {
    // It has no group of its own, or has just ended.
  }
  await killAndWait([command], /./);
}
