import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
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

/** The files in which Chromium keeps what the page stores. */
function databaseFiles(folder = join(dir, 'profiles', id)): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return databaseFiles(path);
    return /IndexedDB/.test(path) && statSync(path).size > 0 ? [path] : [];
  });
}

const damages: [string, () => void][] = [
  ['all databases of the page are gone', () => databaseFiles().forEach((path) => rmSync(path))],
  [
    'each file is cut in its middle',
    () => databaseFiles().forEach((path) => truncateSync(path, Math.floor(statSync(path).size / 2))),
  ],
  [
    'each file is overwritten with zeros',
    () => databaseFiles().forEach((path) => writeFileSync(path, Buffer.alloc(statSync(path).size))),
  ],
  [
    'one random file is overwritten with random bytes',
    () => {
      const paths = databaseFiles();
      const path = paths[Math.floor(Math.random() * paths.length)]!;
      writeFileSync(path, Buffer.from(Array.from({ length: statSync(path).size }, () => Math.floor(Math.random() * 256))));
    },
  ],
  ['the whole profile is gone', () => rmSync(join(dir, 'profiles', id), { recursive: true })],
];

describe('a session whose login was damaged', () => {
  test.each(damages)(
    'connects without a code when %s',
    async (_what, damage) => {
      await linkAndStop();
      expect(await profiles.copiedAt(id)).not.toBeNull();
      damage();
      session.start(null);
      await connected();
      expect(codes()).toBe(0);
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
