import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../src/index.js';
import { ana, eventOf, launch, linked, me, newProfile, toAna, until, type Rig, type Stage } from './stock.js';

/** Links, restores, losses: what happens between a page, its phone and the server, with the library as it was released. */

let rig: Rig | null = null;
const others: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await rig?.close();
  rig = null;
  for (const close of others.splice(0).reverse()) await close();
});

const again = async (from: Rig): Promise<Stage> => {
  const stage = launch(from.simulator, from.profile);
  others.push(() => stage.client.destroy());
  await eventOf(stage, 'ready');
  return stage;
};

test('a restore needs no code, and ends well before a code would expire', async () => {
  rig = await linked({ build: 'classic' });
  const sent = await rig.client.sendMessage(toAna, 'before');
  await rig.client.destroy();
  const started = performance.now();
  const stage = await again(rig);
  expect(performance.now() - started).toBeLessThan(12_000);
  expect(stage.events.some(({ name }) => name === 'qr')).toBe(false);
  const found = await stage.client.getMessageById((sent.id as unknown as { _serialized: string })._serialized);
  expect(found.body).toBe('before');
}, 40_000);

test('a browser killed at once after the link is linked when it comes back', async () => {
  rig = await linked({ build: 'classic' });
  const browser = rig.client.pupBrowser!;
  const gone = new Promise((resolve) => browser.once('disconnected', resolve));
  // The whole group: the program may be a script that started the browser.
  process.kill(-browser.process()!.pid!, 'SIGKILL');
  await gone;
  const stage = await again(rig);
  expect(stage.events.some(({ name }) => name === 'qr')).toBe(false);
}, 40_000);

test('messages that arrived while a page was away are delivered once when it is back', async () => {
  rig = await linked({ build: 'classic' });
  await rig.client.destroy();
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'while you were away' });
  const stage = await again(rig);
  await eventOf(stage, 'message', (message) => message.id.id === key);
  await rig.simulator.client.drop({ phone: me, forMs: 50 });
  await eventOf(stage, 'change_state', (state) => state === 'CONNECTED');
  const { key: next } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'and now' });
  await eventOf(stage, 'message', (message) => message.id.id === next);
  expect(stage.events.filter(({ name }) => name === 'message')).toHaveLength(2);
}, 40_000);

test('a pairing code links, and another number’s code does not', async () => {
  const simulator = await startSimulator({ build: 'classic' });
  others.push(() => simulator.close());
  const profile = await newProfile();
  others.push(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  await simulator.client.createAccount({ phone: me });
  const stage = launch(simulator, profile, { pairWithPhoneNumber: { phoneNumber: me } });
  others.push(() => stage.client.destroy());
  const [code] = await eventOf(stage, 'code');
  expect(code).toMatch(/^[A-Z1-9]{8}$/);
  await expect(simulator.client.enterCode({ code: String(code), phone: ana })).rejects.toThrow('another number');
  await simulator.client.enterCode({ code: String(code), phone: me });
  await eventOf(stage, 'ready');
}, 40_000);

test('the owner logs the device out: a logout, and a new code', async () => {
  rig = await linked({ build: 'classic' });
  await rig.simulator.client.phoneLogout({ phone: me });
  const [why] = await eventOf(rig, 'disconnected');
  expect(why).toBe('LOGOUT');
  await until('a new code', () => rig!.events.filter(({ name }) => name === 'qr').length > 1);
  // The library continues in a promise that is not awaited; a browser that ends before it would fail the test.
  await until('the library to listen again', () =>
    rig!.client.pupPage!.evaluate(() =>
      (window as unknown as { require: (name: string) => { Socket: { hears: (event: string) => boolean } } })
        .require('WAWebSocketModel')
        .Socket.hears('change:hasSynced'),
    ),
  );
}, 40_000);

test('a conflict is reported, and a takeover restores the page', async () => {
  rig = await linked({ build: 'classic' }, { takeoverOnConflict: true, takeoverTimeoutMs: 100 });
  await rig.simulator.client.conflict({ phone: me });
  await eventOf(rig, 'change_state', (state) => state === 'CONFLICT');
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'in between' });
  await eventOf(rig, 'message', (message) => message.id.id === key);
}, 40_000);

test('two devices of one account both receive messages, and each receives what the other sent', async () => {
  rig = await linked({ build: 'classic' });
  const profile = await newProfile();
  const second = launch(rig.simulator, profile);
  others.push(async () => {
    await second.client.destroy();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  const [qr] = await eventOf(second, 'qr');
  await rig.simulator.client.scan({ qr: String(qr), phone: me });
  await eventOf(second, 'ready');
  const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'to both' });
  for (const stage of [rig, second]) await eventOf(stage, 'message', (message) => message.id.id === key);
  const sent = await rig.client.sendMessage(toAna, 'from the first');
  await eventOf(second, 'message_create', (message) => message.id.id === sent.id.id);
}, 40_000);

test('a proxy with a password leads to the simulator', async () => {
  const simulator = await startSimulator({ build: 'classic' });
  others.push(() => simulator.close());
  const proxy = await simulator.openProxy({ username: 'ana', password: 'secret' });
  others.push(() => proxy.close());
  const profile = await newProfile();
  others.push(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  const stage = launch(simulator, profile, { proxyAuthentication: { username: 'ana', password: 'secret' } }, [
    `--proxy-server=${proxy.url}`,
  ]);
  others.push(() => stage.client.destroy());
  const [qr] = await eventOf(stage, 'qr');
  await simulator.client.scan({ qr: String(qr), phone: me });
  await eventOf(stage, 'ready');
  expect(new Set(proxy.tunnels())).toEqual(new Set(['web.whatsapp.com:443']));
}, 40_000);

test('a simulator with a data file knows its devices after a restart', async () => {
  const profile = await newProfile();
  others.push(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  const dataFile = join(profile, 'world.json');
  const start = async (): Promise<Simulator> => {
    const simulator = await startSimulator({ build: 'classic', dataFile });
    others.push(() => simulator.close());
    return simulator;
  };
  const first = await start();
  await first.client.createAccount({ phone: me, name: 'Shop' });
  await first.client.createAccount({ phone: ana, name: 'Ana' });
  const stage = launch(first, profile);
  const [qr] = await eventOf(stage, 'qr');
  await first.client.scan({ qr: String(qr), phone: me });
  await eventOf(stage, 'ready');
  await stage.client.sendMessage(toAna, 'kept');
  await stage.client.destroy();
  await first.close();
  others.pop();
  const second = await start();
  const back = launch(second, profile);
  others.push(() => back.client.destroy());
  await eventOf(back, 'ready');
  const chat = await back.client.getChatById(toAna);
  expect((await chat.fetchMessages({ limit: 5 })).map((message) => message.body)).toEqual(['kept']);
}, 40_000);

test('a passkey is asked of the page, and its signature is checked', async () => {
  const { subtle } = globalThis.crypto;
  const pair = await subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']);
  const publicKey = Buffer.from(await subtle.exportKey('spki', pair.publicKey)).toString('base64');
  const simulator = await startSimulator({ build: 'classic' });
  others.push(() => simulator.close());
  const profile = await newProfile();
  others.push(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  await simulator.client.createAccount({ phone: me, passkey: { id: 'AQID', publicKey } });
  const stage = launch(simulator, profile);
  others.push(() => stage.client.destroy());
  const [qr] = await eventOf(stage, 'qr');
  const cdp = await stage.client.pupPage!.createCDPSession();
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await cdp.send('WebAuthn.addCredential', {
    authenticatorId,
    credential: {
      credentialId: Buffer.from('AQID', 'base64url').toString('base64'),
      isResidentCredential: false,
      rpId: 'whatsapp.com',
      privateKey: Buffer.from(await subtle.exportKey('pkcs8', pair.privateKey)).toString('base64'),
      signCount: 0,
    },
  });
  expect(await simulator.client.scan({ qr: String(qr), phone: me })).toEqual({ device: null });
  await eventOf(stage, 'ready');
}, 40_000);
