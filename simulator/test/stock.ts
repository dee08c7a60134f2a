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
  events: { name: string; args: unknown[] }[];
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
  for (const name of listened) client.on(name, (...args: unknown[]) => events.push({ name, args }));
  client.initialize().catch((error: unknown) => events.push({ name: 'failed', args: [error] }));
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

/** The arguments of the events that tests wait for, as the library's own types have them. */
interface EventArgs {
  qr: [code: string];
  code: [code: string];
  ready: [];
  message: [message: library.Message];
  message_create: [message: library.Message];
  message_ciphertext: [message: library.Message];
  message_edit: [message: library.Message, body: string, previousBody: string];
  message_reaction: [reaction: library.Reaction];
  message_revoke_everyone: [message: library.Message];
  message_revoke_me: [message: library.Message];
  vote_update: [vote: library.PollVote];
  group_update: [notice: library.GroupNotification];
  group_admin_changed: [notice: library.GroupNotification];
  group_membership_request: [notice: library.GroupNotification];
  call: [call: library.Call];
  chat_archived: [chat: library.Chat];
  chat_removed: [chat: library.Chat];
  change_state: [state: string];
  disconnected: [reason: string];
}

/** Waits for an event that passes the test, and returns its arguments. An earlier event counts too. */
export function eventOf<Name extends keyof EventArgs>(
  stage: Stage,
  name: Name,
  test: (...args: EventArgs[Name]) => boolean = () => true,
): Promise<EventArgs[Name]> {
  const isIt = (event: Stage['events'][number]): boolean => event.name === name && test(...(event.args as EventArgs[Name]));
  return until(`the event ${name}`, () => stage.events.find(isIt)?.args as EventArgs[Name] | undefined);
}

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
  const [qr] = await eventOf(stage, 'qr');
  await simulator.client.scan({ qr: String(qr), phone: me });
  await eventOf(stage, 'ready');
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
