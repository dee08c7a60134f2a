import { afterEach, describe, expect, test } from '@jest/globals';
import type { PasskeyRequest } from '@chasqui/shared';
import type { EngineSession } from '../../src/engine/engine.js';
import { ana, link, me, online, sendContent, startRig, text, until, type Rig } from './harness.js';
import { makePasskey } from './passkey.js';

/** WhatsApp wants the passkey of an account that is linked: its page shows a dialog and sends nothing until it has the answer. */

let rig: Rig;
afterEach(async () => rig?.close());

interface Asked {
  request: PasskeyRequest;
  expiresAt: string;
}
const ask = async (session: EngineSession) => (await session.run('session.passkey', {}, 15_000)) as Asked;
const answer = (session: EngineSession, given: object) => session.run('session.answerPasskey', { answer: given }, 15_000);
const kindOf = async (session: EngineSession) => (await session.probe(5_000)).challenge ?? null;
const devices = async () => (await rig.simulator.client.accounts({})).find(({ phone }) => phone === me)!.devices.length;
const sentTexts = async () => (await rig.simulator.client.journal({})).filter(({ chat }) => chat.startsWith(ana)).length;

describe.each(['2026-09', '2026-09b'] as const)('build %s', (build) => {
  const passkey = makePasskey();
  const open = async (check: { timeoutMs?: number; prf?: boolean } = {}) => {
    rig = await startRig(build);
    const linked = await link(rig);
    await online(rig);
    await rig.simulator.client.setAccount({ phone: me, passkey: { id: passkey.id, publicKey: passkey.publicKey } });
    await rig.simulator.client.challenge({ phone: me, open: true, ...check });
    await until('the check', async () => (await kindOf(linked.session)) === 'passkey');
    return linked;
  };

  test('the page sends nothing until the passkey has answered, and then what waited; the device stays linked', async () => {
    const { session, signals } = await open({ prf: true });
    const sending = sendContent(session, text('behind the dialog'), { deadlineMs: 30_000 });
    const { request, expiresAt } = await ask(session);
    expect(request).toMatchObject({ rpId: 'whatsapp.com', userVerification: 'preferred', allowCredentials: [] });
    expect(request.extensions?.prf.eval.first).toBe(Buffer.from('whatsapp-challenge').toString('base64url'));
    expect(Date.parse(expiresAt) - Date.now()).toBeGreaterThan(590_000);
    // Another person who asks gets the same request.
    expect(await ask(session)).toEqual({ request, expiresAt });
    expect(await sentTexts()).toBe(0);
    expect(await answer(session, passkey.sign(request))).toEqual({ answered: true });
    expect([await kindOf(session), (await sending).outcome]).toMatchObject([null, { outcome: 'sent' }]);
    expect([await sentTexts(), await devices()]).toEqual([1, 1]);
    expect(signals.filter(({ type }) => type === 'gone' || type === 'qr_exhausted')).toEqual([]);
    await expect(ask(session)).rejects.toMatchObject({ code: 'SESSION_STATE_CONFLICT' });
  }, 90_000);

  test('an answer that WhatsApp refuses is told with its words, and the check stays until a right one', async () => {
    const { session } = await open();
    const { request } = await ask(session);
    await expect(answer(session, makePasskey(passkey.id).sign(request))).rejects.toMatchObject({
      code: 'WHATSAPP_REFUSED',
      details: { whatsapp: { message: 'a wrong signature' } },
    });
    expect(await kindOf(session)).toBe('passkey');
    await answer(session, passkey.sign((await ask(session)).request));
    expect([await kindOf(session), await devices()]).toEqual([null, 1]);
  }, 90_000);

  test('the answer to a challenge that WhatsApp has replaced is not submitted', async () => {
    const { session } = await open();
    const first = await ask(session);
    await rig.simulator.client.challenge({ phone: me, open: true });
    const second = await until('the new challenge', async () => {
      const next = await ask(session);
      return next.request.challenge === first.request.challenge ? null : next;
    });
    await expect(answer(session, passkey.sign(first.request))).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    await answer(session, passkey.sign(second.request));
    expect(await kindOf(session)).toBeNull();
  }, 90_000);

  test('a request whose time is over is made again with the same challenge, which an answer to the first one fits', async () => {
    const { session } = await open({ timeoutMs: 700 });
    const first = await ask(session);
    await until('the end of its time', () => Date.now() > Date.parse(first.expiresAt) + 100);
    const again = await ask(session);
    expect([again.request, again.expiresAt > first.expiresAt]).toEqual([first.request, true]);
    await until('the end of its time', () => Date.now() > Date.parse(again.expiresAt) + 100);
    await answer(session, passkey.sign(first.request));
    expect(await kindOf(session)).toBeNull();
  }, 90_000);

  test('a page that lacks the function for the answer says which', async () => {
    const { session } = await open();
    await rig.simulator.client.withoutModules({ names: ['WAWebMexIntegrityChallengeResponse'] });
    await expect(ask(session)).rejects.toMatchObject({
      code: 'NOT_SUPPORTED_BY_WHATSAPP',
      details: { missing: ['WAWebMexIntegrityChallengeResponse'] },
    });
    expect([await kindOf(session), await devices()]).toEqual(['passkey', 1]);
  }, 90_000);
});

test('a check that is open when the page starts is seen before anything is sent', async () => {
  rig = await startRig('2026-09b');
  const first = await link(rig);
  await online(rig);
  await first.session.close();
  await rig.simulator.client.challenge({ phone: me, open: true });
  const { session, signals } = await rig.launch();
  await until('ready', () => signals.some(({ type }) => type === 'ready'));
  expect(await kindOf(session)).toBe('passkey');
}, 90_000);
