import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { PasskeyRequest } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { features } from './features.js';
import { makePasskey } from './passkey.js';
import {
  ana,
  eventOf,
  link,
  me,
  online,
  reserve,
  sendContent,
  setPatience,
  signal,
  startRig,
  text,
  until,
  type Rig,
} from './harness.js';

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('build %s', (build) => {
  let rig: Rig;
  let session: EngineSession;
  let signals: EngineSignal[];
  beforeAll(async () => {
    rig = await startRig(build);
    ({ session, signals } = await link(rig));
  }, 60_000);
  afterAll(async () => rig?.close());

  test.each(features.map((feature) => [feature.name, feature] as const))(
    '%s',
    async (_name, feature) => {
      await feature.run(rig, session, signals);
    },
    20_000,
  );

  test('reports the state of every patch', () => {
    const states = Object.fromEntries(session.compat().map(({ defect, state }) => [defect, state]));
    expect(Object.values(states)).not.toContain('failed');
    expect(Object.values(states)).not.toContain('waiting');
    expect([states['ids'], states['media']]).toEqual(
      {
        classic: ['not_needed', 'not_needed'],
        '2026-07': ['corrected', 'not_needed'],
        '2026-09': ['corrected', 'corrected'],
        '2026-09b': ['corrected', 'corrected'],
      }[build],
    );
    expect(states['reserved-id']).toBe('corrected');
  });

  test('asks for no module that the page does not have', async () => {
    await signal(signals, 'checked');
    // The self-check asks for each of several modules that builds have for calls. On 2026-09b one comes some time after the page.
    const known = {
      classic: ['WAWebVoipBackendLoadable'],
      '2026-07': ['WAWebVoipBackendLoadable'],
      '2026-09': [],
      '2026-09b': ['WAWebCallCollection'],
    }[build];
    expect([...(await rig.simulator.client.missing())]).toEqual(known);
  });

  test('returns from its profile without a scan, and reads what it missed', async () => {
    await session.close();
    expect(await session.pids()).toEqual([]);
    const { key } = await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'while you were away' });
    const again = await rig.launch();
    await signal(again.signals, 'ready');
    expect(again.signals.some(({ type }) => type === 'qr')).toBe(false);
    await again.session.backfill({ since: new Date(Date.now() - 60_000), perChat: 50 });
    await eventOf(again.signals, 'message.observed', ({ message }) => message.key === key);
  }, 30_000);
});

const hearing = [
  'send a poll and hear the vote',
  'receive text and quote it',
  'hear what is written on the phone itself, and unread counts',
  'hear a call',
  'receive from a LID',
  'receive and download a file',
  'hear edits, reactions, revokes',
  'groups: notices, send, receive',
];
const files = ['send image', 'send video', 'send audio', 'send voice', 'send document', 'send an image to be seen once'];

// Without the patches the same list must fail, or it would prove nothing.
describe.each<[BuildName, string[]]>([
  ['2026-07', hearing],
  ['2026-09', [...hearing, ...files, 'send text with a link']],
])('build %s with the patches off', (build, names) => {
  afterAll(() => setPatience());

  test('fails where its defects break it, so the patches are needed', async () => {
    const rig = await startRig(build, false);
    try {
      const { session, signals } = await link(rig);
      setPatience(1500);
      const broken: string[] = [];
      for (const feature of features) await feature.run(rig, session, signals).catch(() => broken.push(feature.name));
      expect(broken).toEqual(expect.arrayContaining(names));
      expect(broken).not.toContain('send text');
    } finally {
      await rig.close();
    }
  }, 120_000);
});

test('build 2026-09b with the patches off is never ready: the library looks for the calls before the page has them', async () => {
  const rig = await startRig('2026-09b', false);
  try {
    const { signals } = await rig.launch();
    const { text: qr } = await signal(signals, 'qr');
    await rig.simulator.client.scan({ qr, phone: me });
    const { reason, detail } = await signal(signals, 'gone');
    expect([reason, detail]).toEqual(['PAGE_CRASHED', expect.stringContaining('unknown module "WAWebCallCollection"')]);
    expect(signals.some(({ type }) => type === 'ready')).toBe(false);
  } finally {
    await rig.close();
  }
}, 60_000);

describe('when things go wrong', () => {
  let rig: Rig;
  afterEach(async () => rig?.close());

  test('a pairing code links too', async () => {
    rig = await startRig('2026-09');
    const { session, signals } = await rig.launch();
    await signal(signals, 'qr');
    const { code } = (await session.run('session.pairingCode', { phoneNumber: me }, 10_000)) as { code: string };
    expect(code).toMatch(/^[A-Z0-9]{8}$/);
    await rig.simulator.client.enterCode({ code, phone: me });
    const ready = await signal(signals, 'ready');
    expect(ready.identity).toMatchObject({ phoneNumber: me, pushName: 'Shop' });
  }, 30_000);

  test('ready comes also when the sync was over before the library listened', async () => {
    rig = await startRig('2026-09');
    const linked = await link(rig);
    await linked.session.close();
    await rig.simulator.client.setPage({ syncRace: true });
    const again = await rig.launch();
    await signal(again.signals, 'ready');
    expect(again.session.compat().find(({ defect }) => defect === 'sync-race')).toMatchObject({ state: 'corrected' });
  }, 30_000);

  test('sends end in the one true outcome', async () => {
    rig = await startRig('2026-09');
    const { session } = await link(rig);
    const { client } = rig.simulator;

    expect((await sendContent(session, text('x'), { recipient: '99900000001@c.us' })).outcome).toMatchObject({
      outcome: 'failed',
      reason: 'RECIPIENT_NOT_ON_WHATSAPP',
      retryable: false,
    });
    const unquoted = await sendContent(session, text('x'), { quotedMessageId: `false_${ana}@c.us_3A00000000000000` });
    expect(unquoted.outcome).toMatchObject({ outcome: 'failed', reason: 'QUOTED_MESSAGE_NOT_FOUND' });

    await client.fault({ op: 'send', mode: 'fail', count: 1 });
    expect((await sendContent(session, text('refused'))).outcome).toMatchObject({
      outcome: 'failed',
      reason: 'WHATSAPP_REFUSED',
    });

    await client.fault({ op: 'send', mode: 'drop', count: 1 });
    const dropped = await sendContent(session, text('never answered'), { deadlineMs: 800 });
    expect([dropped.outcome, dropped.handedOver]).toMatchObject([
      { outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER' },
      true,
    ]);

    await client.fault({ op: 'send', mode: 'dropReply', count: 1 });
    const lost = await sendContent(session, text('answer lost'), { deadlineMs: 800 });
    // The ack of the other phone proves that it left, reply or not.
    expect(['sent', 'uncertain']).toContain(lost.outcome.outcome);
    expect((await client.received({ phone: ana })).filter(({ key }) => key === lost.reservedId)).toHaveLength(1);

    const reservedId = reserve();
    await Promise.all([sendContent(session, text('twice'), { reservedId }), sendContent(session, text('twice'), { reservedId })]);
    await sendContent(session, text('twice'), { reservedId });
    expect((await client.journal({})).filter(({ key }) => key === reservedId)).toHaveLength(1);
  }, 30_000);

  test('a page that gets a send after its time hands nothing to WhatsApp, and says so', async () => {
    rig = await startRig('2026-09');
    const { session } = await link(rig);
    // As after a freeze between the last look at the lease and the page.
    const late = await sendContent(session, text('too late'), { notAfter: Date.now() - 1 });
    expect([late.outcome, late.handedOver]).toMatchObject([
      { outcome: 'failed', reason: 'CONNECTION_LOST', retryable: true },
      true,
    ]);
    expect((await rig.simulator.client.journal({})).filter(({ key }) => key === late.reservedId)).toEqual([]);
    expect((await sendContent(session, text('in time'))).outcome).toMatchObject({ outcome: 'sent' });
  }, 30_000);

  test('a page that is reloaded is ready again, proves itself and sends', async () => {
    rig = await startRig('2026-09');
    const { session, signals } = await link(rig);
    signals.length = 0;
    await session.reload(4_000);
    await signal(signals, 'ready');
    expect(await session.probe(3_000)).toMatchObject({ canary: true });
    const { outcome, reservedId } = await sendContent(session, text('after the reload'));
    expect(outcome).toMatchObject({ outcome: 'sent' });
    expect((await rig.simulator.client.received({ phone: ana })).filter(({ key }) => key === reservedId)).toHaveLength(1);
    await rig.simulator.client.deliver({ from: ana, to: me, type: 'text', text: 'eventOf once' });
    await eventOf(signals, 'message.observed', ({ message }) => message.content.type === 'text');
    expect(signals.filter((one) => one.type === 'event' && one.event === 'message.observed')).toHaveLength(1);
  }, 30_000);

  test('a frozen browser does not accept a reload in time', async () => {
    rig = await startRig('2026-09');
    const { session } = await link(rig);
    for (const pid of await session.pids()) process.kill(pid, 'SIGSTOP');
    await expect(session.reload(500)).rejects.toThrow();
  }, 30_000);

  test('a killed browser is noticed within two seconds', async () => {
    rig = await startRig('2026-09');
    const { session, signals } = await link(rig);
    const pids = await session.pids();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    const { reason } = await until('gone', () => signals.find((candidate) => candidate.type === 'gone'));
    expect(['BROWSER_CRASHED', 'PAGE_CRASHED']).toContain(reason);
  }, 30_000);

  test('a killed renderer is noticed within two seconds', async () => {
    rig = await startRig('2026-09');
    const { session, signals } = await link(rig);
    const renderer = (await session.pids()).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer'),
    );
    process.kill(renderer!, 'SIGKILL');
    const { reason } = await until('gone', () => signals.find((candidate) => candidate.type === 'gone'));
    expect(reason).toBe('PAGE_CRASHED');
  }, 30_000);

  test('a passkey that WhatsApp asks for is reported before the session counts as linked', async () => {
    rig = await startRig('2026-09');
    await rig.simulator.client.setAccount({ phone: me, passkey: { id: 'a2V5', publicKey: null } });
    const { signals } = await rig.launch();
    const qr = await signal(signals, 'qr');
    await rig.simulator.client.scan({ qr: qr.text, phone: me });
    await signal(signals, 'passkey_required');
    expect(signals.map(({ type }) => type)).not.toContain('authenticated');
  }, 30_000);

  test('the answer of the account’s passkey links it; the answer to another request, and a wrong signature, do not', async () => {
    rig = await startRig('2026-09');
    const passkey = makePasskey();
    await rig.simulator.client.setAccount({ phone: me, passkey: { id: passkey.id, publicKey: passkey.publicKey } });
    const { session, signals } = await rig.launch();
    const codes = () => signals.flatMap((given) => (given.type === 'qr' ? [given.text] : []));
    const asked = async () => {
      const known = codes().length;
      const requests = () => signals.filter(({ type }) => type === 'passkey_required').length;
      const before = requests();
      await rig.simulator.client.scan({ qr: codes().at(-1)!, phone: me });
      await until('the request', () => requests() > before);
      const { request } = (await session.run('session.passkey', {}, 5_000)) as { request: PasskeyRequest };
      return { request, codeAgain: () => until('another code', () => codes().length > known) };
    };
    await signal(signals, 'qr');
    await expect(session.run('session.passkey', {}, 5_000)).rejects.toMatchObject({ code: 'SESSION_STATE_CONFLICT' });
    const first = await asked();
    expect(first.request).toMatchObject({ rpId: 'whatsapp.com', allowCredentials: [{ id: passkey.id }] });
    const other = passkey.sign({ ...first.request, challenge: 'b3RoZXI' });
    await expect(session.run('session.answerPasskey', { answer: other }, 5_000)).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
    });
    await session.run('session.answerPasskey', { answer: makePasskey(passkey.id).sign(first.request) }, 5_000);
    await first.codeAgain();
    const second = await asked();
    await session.run('session.answerPasskey', { answer: passkey.sign(second.request) }, 5_000);
    expect((await signal(signals, 'ready')).identity.phoneNumber).toBe(me);
  }, 60_000);

  test('a passkey request that expires returns to a code, and the next one is answered for the site that it names', async () => {
    rig = await startRig('2026-09');
    const passkey = makePasskey();
    const asked = { id: passkey.id, publicKey: passkey.publicKey, rpId: 'accounts.example' };
    await rig.simulator.client.setAccount({ phone: me, passkey: { ...asked, timeoutMs: 700 } });
    const { session, signals } = await rig.launch();
    const since = (type: string) => signals.findLastIndex((given) => given.type === type);
    const first = await signal(signals, 'qr');
    await rig.simulator.client.scan({ qr: first.text, phone: me });
    await signal(signals, 'passkey_required');
    await until('a code after the request', () => since('qr') > since('passkey_required'));
    await expect(session.run('session.passkey', {}, 5_000)).rejects.toMatchObject({ code: 'SESSION_STATE_CONFLICT' });
    await rig.simulator.client.setAccount({ phone: me, passkey: asked });
    const next = signals[since('qr')];
    await rig.simulator.client.scan({ qr: next?.type === 'qr' ? next.text : '', phone: me });
    await until('the next request', () => since('passkey_required') > since('qr'));
    const { request } = (await session.run('session.passkey', {}, 5_000)) as { request: PasskeyRequest };
    expect(request.rpId).toBe('accounts.example');
    // The simulator refuses an answer for another site.
    await session.run('session.answerPasskey', { answer: passkey.sign(request) }, 5_000);
    expect((await signal(signals, 'ready')).identity.phoneNumber).toBe(me);
  }, 60_000);

  test('a logout by the phone and a conflict are reported with their reasons', async () => {
    rig = await startRig('2026-09');
    const first = await link(rig);
    await online(rig);
    await rig.simulator.client.conflict({ phone: me });
    expect((await signal(first.signals, 'gone')).reason).toBe('CONFLICT');
    await first.session.close();
    const second = await rig.launch();
    await signal(second.signals, 'ready');
    await online(rig);
    await rig.simulator.client.phoneLogout({ phone: me });
    expect((await signal(second.signals, 'gone')).reason).toBe('LOGGED_OUT_BY_PHONE');
    // The library would delete the login under the running browser; that is the caller's, after the close.
    expect(existsSync(join(rig.dir, 'session-test'))).toBe(true);
  }, 40_000);

  test('a probe makes a round trip and receives its canary', async () => {
    rig = await startRig('2026-09');
    const { session } = await link(rig);
    expect(await session.probe(3000)).toMatchObject({ canary: true });
  }, 30_000);
});
