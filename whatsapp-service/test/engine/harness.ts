import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageContent } from '@chasqui/shared';
import { startSimulator, type BuildName, type Simulator } from '@chasqui/simulator';
import type { EngineSend, EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { createEngine, type EngineConfig } from '../../src/engine/wwebjs/client.js';

/** The engine with a real browser against the simulator, and what it signalled. */

export const me = '5511988887777';
export const ana = '5511999990001';

export interface Rig {
  simulator: Simulator;
  dir: string;
  open: { session: EngineSession; signals: EngineSignal[] }[];
  launch(abort?: AbortSignal): Promise<{ session: EngineSession; signals: EngineSignal[] }>;
  close(): Promise<void>;
}

export async function startRig(build: BuildName, compat = true, more: Partial<EngineConfig> = {}): Promise<Rig> {
  const simulator = await startSimulator({ build });
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-engine-'));
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  const engine = createEngine({
    browser: { path: process.env['BROWSER_PATH'] ?? null, profile: 'lean', args: simulator.browserArgs },
    loadTimeoutMs: 15_000,
    compat,
    ...more,
  });
  const open: Rig['open'] = [];
  return {
    simulator,
    dir,
    open,
    async launch(abort = new AbortController().signal) {
      const signals: EngineSignal[] = [];
      const session = await engine.launch({
        sessionId: 'test',
        profileDir: dir,
        deviceName: null,
        abort,
        onSignal: (signal) => signals.push(signal),
      });
      const opened = { session, signals };
      open.push(opened);
      return opened;
    },
    async close() {
      await Promise.all(open.map(({ session }) => session.close()));
      await simulator.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const usualPatienceMs = 60_000;
let patienceMs = usualPatienceMs;
/** Shortens the limit of `until`, for tests in which most waits are expected to fail. Without an argument it is the usual one again. */
export const setPatience = (ms = usualPatienceMs): void => {
  patienceMs = ms;
};

/** Waits until `probe` returns something truthy and returns that. The limit is generous, since it only ends a test that fails. */
export async function until<T>(what: string, probe: () => T | Promise<T>, ms = patienceMs): Promise<NonNullable<T>> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(10)) {
    const found = await probe();
    if (found) return found as NonNullable<T>;
  }
  throw new Error(`Waited ${ms} ms in vain for ${what}`);
}

export const signal = <T extends EngineSignal['type']>(signals: EngineSignal[], type: T) =>
  until(`the signal ${type}`, () =>
    signals.find((candidate): candidate is Extract<EngineSignal, { type: T }> => candidate.type === type),
  );

export async function link(rig: Rig): Promise<{ session: EngineSession; signals: EngineSignal[] }> {
  const opened = await rig.launch();
  const qr = await signal(opened.signals, 'qr');
  await rig.simulator.client.scan({ qr: qr.text, phone: me });
  await signal(opened.signals, 'ready');
  return opened;
}

/** The simulator's server takes up a device a moment after the library calls it ready; until then its phone cannot reach it. */
export const online = (rig: Rig) =>
  until('the device to be on line', async () => {
    const account = (await rig.simulator.client.accounts({})).find(({ phone }) => phone === me);
    return account?.devices.some((device) => device.online);
  });

export const reserve = (): string => `3EB0${randomBytes(9).toString('hex').toUpperCase()}`;

export async function sendContent(
  session: EngineSession,
  content: MessageContent,
  { notAfter = Infinity, ...more }: Partial<EngineSend> & { notAfter?: number } = {},
  bytes?: Buffer,
) {
  const reservedId = more.reservedId ?? reserve();
  let file: EngineSend['file'] = null;
  if (bytes && 'media' in content) {
    const path = join(tmpdir(), `chasqui-${reservedId}`);
    await writeFile(path, bytes);
    file = { path, mimetype: content.media.mimetype, filename: content.media.filename };
  }
  let handedOver = false;
  const outcome = await session.send(
    {
      reservedId,
      recipient: `${ana}@c.us`,
      content,
      file,
      quotedMessageId: null,
      ignoreQuoteErrors: false,
      mentions: [],
      forward: null,
      typingMs: 0,
      deadlineMs: 8000,
      // A send under an id of the caller is a repeat.
      isFirst: more.reservedId === undefined,
      ...more,
    },
    async () => {
      handedOver = true;
      return notAfter;
    },
  );
  if (file) await rm(file.path);
  return { reservedId, outcome, handedOver };
}

export const text = (message: string): MessageContent => ({ type: 'text', message });
export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
export const media = (mimetype: string, filename: string) => ({ id: null, mimetype, size: null, filename, sha256: null });
export const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

export type SignalOf<E> = Extract<EngineSignal, { type: 'event'; event: E }>;
export const eventOf = <E extends Extract<EngineSignal, { type: 'event' }>['event']>(
  signals: EngineSignal[],
  event: E,
  test: (payload: SignalOf<E>['payload']) => boolean = () => true,
) =>
  until(`the event ${event}`, () =>
    signals.find(
      (candidate): candidate is SignalOf<E> =>
        candidate.type === 'event' && candidate.event === event && test(candidate.payload as SignalOf<E>['payload']),
    ),
  );
