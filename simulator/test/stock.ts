import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import library from 'whatsapp-web.js';
import { startSimulator, type Simulator, type SimulatorOptions } from '../src/index.js';

/** The library as it was released, in a real browser, against the simulator. Nothing of it is changed. */

export const me = '5511988887777';
export const ana = '5511999990001';
export const bruno = '5511999990002';
export const toAna = `${ana}@c.us`;

export type Client = InstanceType<typeof library.Client>;
export interface Stage {
  simulator: Simulator;
  client: Client;
  /** Everything that the client said, in order. */
  events: { name: string; given: unknown[] }[];
}

const installed = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
const browserPath = process.env['BROWSER_PATH'] ?? installed;

const leanFlags = [
  '--no-sandbox',
  '--no-zygote',
  '--disable-gpu',
  '--disable-software-rasterizer',
  '--in-process-gpu',
  '--disable-site-isolation-trials',
  '--renderer-process-limit=1',
  '--disable-features=site-per-process,IsolateOrigins,AudioServiceOutOfProcess,BackForwardCache',
  '--enable-features=NetworkServiceInProcess2',
];

const listened = [
  'qr',
  'code',
  'authenticated',
  'ready',
  'message',
  'message_create',
  'message_ack',
  'message_edit',
  'message_reaction',
  'message_revoke_everyone',
  'message_revoke_me',
  'message_ciphertext',
  'message_ciphertext_failed',
  'media_uploaded',
  'vote_update',
  'group_join',
  'group_leave',
  'group_update',
  'group_admin_changed',
  'group_membership_request',
  'call',
  'chat_archived',
  'chat_removed',
  'unread_count',
  'change_state',
  'disconnected',
];

export async function newProfile(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'simulator-'));
}

/** A client that is starting; `stage.client.destroy()` ends its browser. */
export function launch(simulator: Simulator, profile: string, more: Record<string, unknown> = {}, flags: string[] = []): Stage {
  const client = new library.Client({
    authStrategy: new library.LocalAuth({ dataPath: profile }),
    webVersionCache: { type: 'none' },
    puppeteer: {
      executablePath: browserPath,
      pipe: true,
      args: [...leanFlags, ...simulator.browserArgs, ...flags],
      protocolTimeout: 20_000,
    },
    ...more,
  });
  const events: Stage['events'] = [];
  for (const name of listened) client.on(name, (...given: unknown[]) => events.push({ name, given }));
  client.initialize().catch((error: unknown) => events.push({ name: 'failed', given: [error] }));
  return { simulator, client, events };
}

/** How long anything is waited for at most. It only ends a test that fails, so it is generous; shorter where most waits are expected to fail. */
export const usualPatienceMs = 60_000;
export const patience = { ms: usualPatienceMs };

/** Waits until `probe` returns something truthy and returns that. */
export async function until<T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (const end = Date.now() + patience.ms; Date.now() < end; await sleep(10)) {
    const found = await probe();
    if (found) return found as NonNullable<T>;
  }
  throw new Error(`Waited ${patience.ms} ms in vain for ${what}`);
}

/* eslint-disable @typescript-eslint/no-explicit-any -- what the library hands over has no types worth the name */
export const heard = (stage: Stage, name: string, test: (...given: any[]) => boolean = () => true): Promise<any[]> =>
  until(`the event ${name}`, () => stage.events.find((event) => event.name === name && test(...event.given))?.given);
/* eslint-enable @typescript-eslint/no-explicit-any */

export interface Rig extends Stage {
  profile: string;
  close(): Promise<void>;
}

/** Two phones, and a page that is linked to one of them. */
export async function linked(options: SimulatorOptions, more: Record<string, unknown> = {}): Promise<Rig> {
  const simulator = await startSimulator(options);
  const profile = await newProfile();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  const stage = launch(simulator, profile, more);
  const [qr] = await heard(stage, 'qr');
  await simulator.client.scan({ qr: String(qr), phone: me });
  await heard(stage, 'ready');
  return {
    ...stage,
    profile,
    async close() {
      await stage.client.destroy();
      await simulator.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
