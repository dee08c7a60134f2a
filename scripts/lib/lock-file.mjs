import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isAlive, startOf } from './processes.mjs';

/**
 * A lock between start scripts on one machine: a file that names its owner. It never has to be removed by hand, since the file of an
 * owner that is gone is replaced.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the link | a draft `<file>.<token>` | nothing; drafts are never read |
 * | while it holds the lock | the file, with a dead owner | renames it away, checks that it took the dead one, takes the lock |
 * | after the rename | `<file>.<token>.old` | nothing; it is free |
 */
const script = /scripts\/[\w-]+\.mjs/;

/** Takes the lock: `{release}`, or `{holder: {pid}}` when another living script has it. `pattern` is what the owner's command line looks like. */
export async function takeLock(file, pattern = script) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const me = { pid: process.pid, start: startOf(process.pid), token: randomUUID() };
  while (!create(file, me)) {
    const holder = readOwner(file);
    if (holder && (await isAlive(holder, pattern))) return { holder };
    replaceDead(file, holder?.token ?? null);
  }
  return {
    release() {
      if (readOwner(file)?.token === me.token) rmSync(file, { force: true });
    },
  };
}

/** A link makes the file appear with its content or not at all. Where the disk knows no links, an exclusive write has to do. */
function create(file, me) {
  const draft = `${file}.${me.token}`;
  const text = JSON.stringify(me);
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    return linkOrCreate(draft, file, text);
  } finally {
    rmSync(draft, { force: true });
  }
}

function linkOrCreate(draft, file, text) {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    return error.code === 'EEXIST' ? false : createExclusively(file, text);
  }
}

function createExclusively(file, text) {
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** The owner that a lock file names: `{pid, start, token}`; null when there is none. Whether it lives is not looked at. */
export function readOwner(file) {
  try {
    const { pid, start = null, token = null } = JSON.parse(readFileSync(file, 'utf8'));
    return Number.isInteger(pid) ? { pid, start, token } : null;
  } catch {
    // Gone meanwhile, or damaged: nobody holds it.
    return null;
  }
}

/**
 * Closes: two scripts find the same dead owner; A replaces it and holds the lock, B renames A's file away. B sees by the token that it took
 * the wrong one and puts it back.
 */
function replaceDead(file, deadToken) {
  const aside = `${file}.${randomUUID()}.old`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const taken = readOwner(aside);
  if (taken && taken.token !== deadToken) {
    try {
      linkSync(aside, file);
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
  }
  rmSync(aside, { force: true });
}
