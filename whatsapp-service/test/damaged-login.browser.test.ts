import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSimulator, type Simulator } from '@chasqui/simulator';
import { systemClock } from '../src/clock.js';
import { createEngine } from '../src/engine/wwebjs/client.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import { createProfiles, type Profiles } from '../src/sessions/profiles.js';
import { createSession, type Session } from '../src/sessions/session.js';
import { createStartLimit } from '../src/sessions/start-limit.js';
import { me, until } from './engine/harness.js';
import { createTestLog, createTestProblems } from './memory-engine.js';
import { createTestMarks } from './session-rig.js';

/** A real browser's login is damaged on disk while it does not run. */

const id = 'damaged';
let dir: string;
let simulator: Simulator;
let profiles: Profiles;
let session: Session;
let events: WorkerEvent[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-login-'));
  simulator = await startSimulator();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  profiles = createProfiles({ dir, clock: systemClock, log: createTestLog() });
  events = [];
  const browser = { path: process.env['BROWSER_PATH'] ?? null, profile: 'lean' as const, args: simulator.browserArgs };
  session = createSession(id, {
    engine: createEngine({ browser, loadTimeoutMs: 15_000 }),
    profiles,
    clock: systemClock,
    log: createTestLog(),
    marks: createTestMarks(),
    problems: createTestProblems(),
    startLimit: createStartLimit(1),
    pairingNumber: () => null,
    proxy: () => null,
    proxies: { check: async () => undefined, open: () => Promise.reject(new Error('The session has no proxy.')) },
    random: () => 0.5,
    emit: (event) => void events.push(event),
    watched: () => [],
    readopt: () => undefined,
    initTimeoutMs: 30_000,
    probeMs: 1_000,
    maxQrCodes: 6,
    maxReconnectAttempts: 5,
    mayReconnect: () => true,
    recycleAboveMb: () => 0,
    calls: { received: async () => undefined },
    copyEveryMs: 0,
  });
}, 30_000);

afterEach(async () => {
  await session.stop({ logout: false });
  await simulator.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

const connected = () => until('the session to connect', () => session.observe().status === 'connected');
const codes = (): number => events.filter(({ event }) => event === 'session.qr').length;
const repairs = () => events.flatMap((event) => (event.event === 'session.heal' ? [event.payload] : []));

async function linkAndStop(): Promise<void> {
  session.start(null);
  await simulator.client.scan({ qr: (await until('a code', () => session.observe().qrText))!, phone: me });
  await connected();
  await session.stop({ logout: false });
  events.length = 0;
}

/** The files of the profile that are not empty. */
function filesIn(folder = join(dir, 'profiles', id)): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesIn(path);
    return entry.isFile() && statSync(path).size > 0 ? [path] : [];
  });
}
/** The files in which Chromium keeps what the page stores. */
const databaseFiles = (): string[] => filesIn().filter((path) => /IndexedDB/.test(path));

// `Math.random` follows the seed of the run.
const below = (end: number): number => Math.floor(Math.random() * end);
const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => below(256)));
const one = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;

/** Overwrites a part of the file at a random place: with zeros, as after a power cut, or with noise. */
function overwritePart(path: string): string {
  const { size } = statSync(path);
  const from = below(size);
  const length = 1 + below(size - from);
  const file = openSync(path, 'r+');
  writeSync(file, one([Buffer.alloc(length), noise(length)]), 0, length, from);
  closeSync(file);
  return `${length} bytes from ${from} of ${path}`;
}
const waysToDamage = [
  overwritePart,
  overwritePart,
  (path: string) => (truncateSync(path, below(statSync(path).size)), `cut ${path}`),
  (path: string) => (rmSync(path), `deleted ${path}`),
  (path: string) => (appendFileSync(path, noise(1 + below(5_000))), `appended to ${path}`),
];
/** Damages a database of the page, and up to seven other files that are no caches. Returns what it did. */
function damageAtRandom(): string[] {
  const paths = filesIn().filter((path) => !/cache/i.test(path));
  const others = Array.from({ length: below(8) }, () => one(paths.sort()));
  return [one(databaseFiles().sort()), ...others].flatMap((path) =>
    existsSync(path) && statSync(path).size > 0 ? [one(waysToDamage)(path)] : [],
  );
}
/** Overwrites a part of each file of a kind. */
function overwriteAll(kind: RegExp): string[] {
  const paths = filesIn().filter((path) => kind.test(path));
  expect(paths).not.toEqual([]);
  return paths.map(overwritePart);
}

const damages: [string, () => string[] | void][] = [
  ['all databases of the page are gone', () => databaseFiles().forEach((path) => rmSync(path))],
  [
    'each file is cut in its middle',
    () => databaseFiles().forEach((path) => truncateSync(path, Math.floor(statSync(path).size / 2))),
  ],
  [
    'each file is overwritten with zeros',
    () => databaseFiles().forEach((path) => writeFileSync(path, Buffer.alloc(statSync(path).size))),
  ],
  ['a part of each database is overwritten', () => overwriteAll(/IndexedDB/)],
  ['a part of each file of Local Storage is overwritten', () => overwriteAll(/Local Storage/)],
  // Preferences are in the profiles of browsers with a window alone.
  ['a part of each other file is overwritten', () => overwriteAll(/^(?!.*(IndexedDB|Local Storage))/)],
  ...[1, 2, 3, 4].map((run): (typeof damages)[number] => [`random files are damaged (${run})`, damageAtRandom]),
  ['the whole profile is gone', () => rmSync(join(dir, 'profiles', id), { recursive: true })],
];

describe('a session whose login was damaged', () => {
  test.each(damages)(
    'connects without a code when %s',
    async (_what, damage) => {
      await linkAndStop();
      expect(await profiles.copiedAt(id)).not.toBeNull();
      const done = damage();
      session.start(null);
      await connected().catch((error: Error) => {
        throw new Error([error.message, ...(done ?? [])].join('\n'));
      });
      expect([codes(), done]).toEqual([0, done]);
    },
    90_000,
  );

  test('says that the copy was used', async () => {
    await linkAndStop();
    for (const path of databaseFiles()) rmSync(path);
    session.start(null);
    await connected();
    expect(repairs()).toContainEqual({ step: 'restore', reason: 'PROFILE_CORRUPT', ok: true });
  }, 90_000);

  test('stays unlinked when the phone has unlinked the device meanwhile, and keeps no copy', async () => {
    await linkAndStop();
    await simulator.client.phoneLogout({ phone: me });
    session.start(null);
    await until(
      'the end of the login',
      () => session.observe().reason?.code === 'LOGGED_OUT_BY_PHONE' || session.observe().qrText,
    );
    await until('the end of the copy', async () => (await profiles.copiedAt(id)) === null);
  }, 90_000);

  test('leaves neither login nor copy after a logout', async () => {
    await linkAndStop();
    session.start(null);
    await connected();
    await session.stop({ logout: true });
    expect([readdirSync(join(dir, 'profiles')), await profiles.copiedAt(id)]).toEqual([[], null]);
  }, 90_000);
});
