import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from './terminal.mjs';

/** The secrets of an installation: created once, stored in one file that only its owner may read. */
const recipes = {
  SERVICE_API_KEY: () => randomBytes(32).toString('base64url'),
  JWT_SECRET: () => randomBytes(32).toString('base64url'),
  COOKIE_SECRET: () => randomBytes(32).toString('base64url'),
  ENCRYPTION_KEYS: () => `k1:${randomBytes(32).toString('base64')}`,
};
export const secretNames = Object.keys(recipes);
export const secretsFile = (folder) => join(folder, 'secrets.json');

/**
 * Makes a folder that only its owner may enter. One that was there with wider rights is closed when it is ours or empty; a folder
 * with foreign files is left alone and refused, since DATA_DIR=/tmp would otherwise lock everybody out of /tmp.
 */
export function makePrivateFolder(folder) {
  const nextStep = 'Give this user a folder of its own (chown, chmod 700), or name another one with DATA_DIR.';
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const isOpen = process.platform !== 'win32' && (statSync(folder).mode & 0o077) !== 0;
    if (!isOpen) return;
    const names = readdirSync(folder);
    if (names.length > 0 && !names.includes('secrets.json')) {
      throw new Problem(`Other users may enter ${folder}, and it holds files that are not Chasqui's.`, nextStep);
    }
    chmodSync(folder, 0o700);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(`The folder ${folder} cannot be made or is not ours: ${error.message}`, nextStep);
  }
}

/**
 * Makes sure that this user can write to a folder that somebody else may have made: a volume or a bind mount. Our own folder is closed to others;
 * one that belongs to another user (a volume with a group for its pods, for example) can only be used as it is.
 */
export function makeMountedFolder(folder) {
  const me = process.getuid?.() ?? -1;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (statSync(folder).uid === me) chmodSync(folder, 0o700);
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Problem(
      `The folder ${folder} cannot be used by this user (id ${me}): ${error.message}`,
      `Give it to this user: chown -R ${me}:${process.getgid?.() ?? me} the folder or volume that is mounted there.`,
    );
  }
}

/** The stored secrets, or null when there is no file yet. A file that cannot be understood is never replaced: it may hold the only key. */
export function readSecrets(folder) {
  const file = secretsFile(folder);
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw new Problem(`${file} cannot be read: ${error.message}`, `Let this user read it: chown it, and chmod 600 "${file}".`);
  }
  try {
    const values = JSON.parse(text);
    if (Object.values(values).every((value) => typeof value === 'string' && value)) return values;
  } catch {
    // Reported below, together with the other ways in which the file can be wrong.
  }
  throw new Problem(
    `${file} is damaged. It holds the keys of what is stored encrypted, so it is not replaced.`,
    'Put it back from a backup. Only if there is none: delete it, and enter webhook secrets and proxies again afterwards.',
  );
}

/**
 * Returns the secrets of `folder`, and creates those that are missing; `wanted` names those to return. A later version's new secret is added
 * to the file, the others stay as they are. May die anywhere and may run twice at once: the file appears whole or not at all,
 * and of two first starts the one whose link comes first wins, the other reads what it wrote.
 */
export function ensureSecrets(folder, wanted = secretNames) {
  const stored = readSecrets(folder);
  const missing = wanted.filter((name) => !stored?.[name]);
  if (missing.length === 0) return { secrets: stored, made: [] };
  const secrets = { ...stored, ...Object.fromEntries(missing.map((name) => [name, recipes[name]()])) };
  const file = secretsFile(folder);
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}.new`;
  const handle = openDraft(draft, folder);
  try {
    try {
      writeFileSync(handle, `${JSON.stringify(secrets, null, 2)}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    if (stored) renameSync(draft, file);
    else if (!linkOnce(draft, file)) return { secrets: ensureSecrets(folder, wanted).secrets, made: [] };
    syncFolder(dirname(file));
  } finally {
    rmSync(draft, { force: true });
  }
  return { secrets, made: missing };
}

/** A folder that was made by another user (a bind mount of a container, for example) is the usual reason for a refusal. */
function openDraft(draft, folder) {
  try {
    return openSync(draft, 'wx', 0o600);
  } catch (error) {
    throw new Problem(
      `The secrets cannot be written to ${folder}: ${error.message}`,
      `Give this user (id ${process.getuid?.() ?? '?'}) the folder: chown -R ${process.getuid?.() ?? 'USER'} "${folder}"; or name another one with DATA_DIR.`,
    );
  }
}

/** False when somebody else's file was there first. Where the disk knows no hard links, renaming has to do. */
function linkOnce(draft, file) {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    renameSync(draft, file);
    return true;
  }
}

/** The new name must outlive a power cut too. Windows cannot open folders, and needs no such step. */
function syncFolder(folder) {
  if (process.platform === 'win32') return;
  const handle = openSync(folder, 'r');
  fsyncSync(handle);
  closeSync(handle);
}
