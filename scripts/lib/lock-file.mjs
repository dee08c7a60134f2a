import { randomUUID } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isAlive, startOf } from './processes.mjs';

/**
 * A lock between start scripts on one machine: a file that names its owner. It never has to be removed by hand, since the file of an
 * owner that is gone is replaced.
 *
 * Closes: two scripts find the same dead owner, and both replace it. Only the script that creates `<file>.<token of the dead owner>.next` may
 * replace that owner's file. It replaces it with one rename, so that the lock is never absent meanwhile.
 *
 * | the process dies | what is on disk | what the next one does |
 * | --- | --- | --- |
 * | before the link | a draft `<file>.<token>` | nothing; drafts are never read |
 * | while it holds the lock | the file, with a dead owner | becomes that owner's successor and replaces the file |
 * | as a successor, before the rename | the same, and `<file>.<token>.next` with a dead owner | becomes the successor of that one |
 * | after the rename | `.next` files of owners that are gone | nothing; a successor checks that the file still names the dead owner |
 */
const script = /scripts\/[\w-]+\.mjs/;

/** Takes the lock: `{release}`, or `{holder: {pid}}` when another living script has it. `pattern` is what the owner's command line looks like. */
export async function takeLock(file, pattern = script) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const me = { pid: process.pid, start: startOf(process.pid), token: randomUUID() };
  while (!create(file, me)) {
    if (!existsSync(file)) continue;
    const owner = readOwner(file);
    const { holder, claims } = await findHolder(file, owner, pattern);
    if (holder) return { holder };
    if (succeed(file, owner, { claims, me })) break;
  }
  return {
    release() {
      if (readOwner(file)?.token === me.token) rmSync(file, { force: true });
    },
  };
}

/** Of an owner. A damaged file has none. */
const tokenOf = (owner) => owner?.token ?? null;

/**
 * Follows the owner in the file, its successor, the successor of that one, and so on. Returns the first that lives as `holder`; when all are
 * dead, `claims`: the names of the successors' files, of which the last one does not exist yet.
 */
async function findHolder(file, owner, pattern) {
  const claims = [];
  for (let last = owner; ;) {
    if (last && (await isAlive(last, pattern))) return { holder: last };
    const token = tokenOf(last);
    const claim = token ? `${file}.${token}.next` : `${claims.at(-1) ?? file}.damaged.next`;
    claims.push(claim);
    if (!existsSync(claim)) return { claims };
    last = readOwner(claim);
  }
}

/** Replaces the file of the dead `owner`. Returns false if another script has replaced it already. */
function succeed(file, owner, { claims, me }) {
  const mine = claims.at(-1);
  if (!create(mine, me)) return false;
  // Another successor may have replaced the file, and removed its claims, since the owner was read.
  const isStill = existsSync(file) && tokenOf(readOwner(file)) === tokenOf(owner);
  if (isStill) renameSync(writeDraft(file, me), file);
  for (const claim of isStill ? claims : [mine]) rmSync(claim, { force: true });
  return isStill;
}

/** A link makes the file appear with its content or not at all. Where the disk knows no links, an exclusive write has to do. */
function create(file, me) {
  const draft = writeDraft(file, me);
  try {
    return linkOrCreate(draft, file, JSON.stringify(me));
  } finally {
    rmSync(draft, { force: true });
  }
}

function writeDraft(file, me) {
  const draft = `${file}.${me.token}`;
  try {
    writeFileSync(draft, JSON.stringify(me), { mode: 0o600 });
    return draft;
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
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

/** The owner that a lock file names: `{pid, start, token}`; null when there is none. Does not check whether the owner is alive. */
export function readOwner(file) {
  try {
    const { pid, start = null, token = null } = JSON.parse(readFileSync(file, 'utf8'));
    return Number.isInteger(pid) ? { pid, start, token } : null;
  } catch {
    // Deleted meanwhile, or damaged: the lock has no owner.
    return null;
  }
}
