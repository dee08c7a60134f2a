import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSimulator, type Simulator } from '@chasqui/simulator';
import { systemClock } from '../src/clock.js';
import { createEngine } from '../src/engine/wwebjs/client.js';
import type { WorkerEvent } from '../src/events/worker-event.js';
import { createProfiles } from '../src/sessions/profiles.js';
import { createSession, type Session } from '../src/sessions/session.js';
import { createStartLimit } from '../src/sessions/start-limit.js';
import { me, until } from './engine/harness.js';
import { createTestLog, createTestProblems } from './memory-engine.js';
import { createTestMarks } from './session-rig.js';

/** A session with a number of its own is linked by a pairing code that it requested by itself, in a real browser. */

interface Started {
  pupPage: { evaluate: (script: string) => Promise<unknown> };
}
const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { setDeviceName(this: Started, ...names: unknown[]): Promise<void> } };
};
const { setDeviceName } = Client.prototype;
// A timer of minutes, as the library's for its next code, fires at once.
Client.prototype.setDeviceName = async function (...names) {
  await this.pupPage.evaluate(`(() => {
    const original = window.setInterval;
    window.setInterval = (task, ms, ...more) => original(task, ms > 100_000 ? 300 : ms, ...more);
  })()`);
  return setDeviceName.apply(this, names);
};

let dir: string;
let simulator: Simulator;
let session: Session;
const events: WorkerEvent[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-pairing-'));
  simulator = await startSimulator();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  const browser = { path: process.env['BROWSER_PATH'] ?? null, profile: 'lean' as const, args: simulator.browserArgs };
  session = createSession('pairing', {
    engine: createEngine({ browser, loadTimeoutMs: 15_000 }),
    profiles: createProfiles({ dir, clock: systemClock, log: createTestLog() }),
    clock: systemClock,
    log: createTestLog(),
    marks: createTestMarks(),
    problems: createTestProblems(),
    startLimit: createStartLimit(1),
    pairingNumber: () => me,
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

afterAll(async () => {
  Client.prototype.setDeviceName = setDeviceName;
  await session?.stop({ logout: false });
  await simulator?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

test('the code arrives by itself beside the QR code, is not replaced, and links the account', async () => {
  session.start(null);
  const { code, phoneNumber } = await until('a pairing code', () =>
    events.flatMap((event) => (event.event === 'session.pairing_code' ? [event.payload] : [])).at(0),
  );
  expect([phoneNumber, session.observe().status, typeof session.observe().qrText]).toEqual([me, 'qr_pending', 'string']);
  // Longer than the timer with which the library would replace the code unseen.
  await sleep(1_500);
  expect((await simulator.client.waiting({})).map((page) => page.code)).toEqual([code]);
  await simulator.client.enterCode({ code, phone: me });
  await until('the session to connect', () => session.observe().status === 'connected');
  expect(events.filter(({ event }) => event === 'session.pairing_code')).toHaveLength(1);
}, 90_000);
