import { AppError } from '@chasqui/shared';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { identity, settle } from './memory-engine.js';
import { createSessionRig } from './session-rig.js';

/** A session with a number of its own requests pairing codes for it while it waits to be linked. */

const number = '5511988887777';
const other = '5511977776666';
const lifeMs = 180_000;
let it: ReturnType<typeof createSessionRig>;
/** The numbers for which the page was asked for a code. */
let asked: string[];
beforeEach(() => {
  it = createSessionRig();
  it.pairing.number = number;
  asked = [];
  it.engine.answer.pairingCode = async (phoneNumber) => {
    asked.push(phoneNumber);
    return { code: `CODE000${asked.length}`, expiresAt: new Date(it.clock.now() + lifeMs).toISOString() };
  };
});

let shown = 0;
/** The page shows its next QR code, which is valid for 20 s. */
const showQr = async (): Promise<void> => {
  shown += 1;
  await it.signal({ type: 'qr', text: `code ${shown}`, expiresAt: new Date(it.clock.now() + 20_000) });
};
const waiting = async (): Promise<void> => {
  it.session.start(null);
  await settle();
  await showQr();
};
const emitted = () => it.events.flatMap((event) => (event.event === 'session.pairing_code' ? [event.payload] : []));

describe('a session with a number of its own', () => {
  test('requests a code with the first QR code, which stays usable', async () => {
    await waiting();
    expect(emitted()).toMatchObject([{ code: 'CODE0001', phoneNumber: number }]);
    expect([it.shown(), it.session.observe().qrText]).toEqual(['qr_pending WAITING_FOR_SCAN', `code ${shown}`]);
    await it.signal({ type: 'authenticated' });
    await it.signal({ type: 'ready', identity });
    expect([it.shown(), asked]).toEqual(['connected', [number]]);
  });

  test('requests no other one while it is valid, and one when it has expired', async () => {
    await waiting();
    for (let passedMs = 20_000; passedMs < lifeMs; passedMs += 20_000) {
      await it.clock.advance(20_000);
      await showQr();
    }
    expect(asked).toEqual([number]);
    await it.clock.advance(20_000);
    await showQr();
    expect(asked).toEqual([number, number]);
  });

  test('that is not linked requests three codes, and ends as without a number', async () => {
    await waiting();
    for (let round = 0; round < 60 && it.session.observe().status === 'qr_pending'; round += 1) {
      await it.clock.advance(20_000);
      await showQr();
    }
    expect([it.shown(), asked]).toEqual(['disconnected QR_TIMEOUT', [number, number, number]]);
    await waiting();
    expect(asked).toHaveLength(4);
  });

  test('whose number is changed gets a code for the new one, and without a number none', async () => {
    await waiting();
    it.pairing.number = other;
    await showQr();
    expect(asked).toEqual([number, other]);
    it.pairing.number = null;
    await it.clock.advance(lifeMs);
    await showQr();
    expect(asked).toEqual([number, other]);
  });

  test('keeps a code that somebody requested for another number', async () => {
    it.pairing.number = null;
    await waiting();
    await it.session.run('session.pairingCode', { phoneNumber: other }, 1_000);
    it.pairing.number = number;
    await showQr();
    expect(asked).toEqual([other]);
  });

  test('tries again with the next QR code when WhatsApp returns none', async () => {
    const { pairingCode } = it.engine.answer;
    it.engine.answer.pairingCode = () => Promise.reject(new AppError('WHATSAPP_ERROR'));
    await waiting();
    expect([emitted(), it.shown()]).toEqual([[], 'qr_pending WAITING_FOR_SCAN']);
    it.engine.answer.pairingCode = pairingCode;
    await showQr();
    expect(emitted()).toMatchObject([{ phoneNumber: number }]);
  });

  test('requests one code when somebody requests one for the number at the same time', async () => {
    const { pairingCode } = it.engine.answer;
    let answer = (): void => undefined;
    it.engine.answer.pairingCode = async (phoneNumber) => {
      const made = await pairingCode(phoneNumber);
      await new Promise<void>((resolve) => (answer = resolve));
      return made;
    };
    await waiting();
    const requested = it.session.run('session.pairingCode', { phoneNumber: number }, 1_000);
    await settle();
    answer();
    expect(await requested).toMatchObject({ code: 'CODE0001' });
    expect([asked, emitted().length]).toEqual([[number], 1]);
  });

  test('gets another code for the page of another browser', async () => {
    await waiting();
    await it.signal({ type: 'gone', reason: 'BROWSER_CRASHED', detail: 'Killed.' });
    await it.clock.advance(60_000);
    await showQr();
    expect(asked).toEqual([number, number]);
  });
});
