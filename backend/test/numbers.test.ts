import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { dataOf, startCore, type Core } from './support/core.js';

/** Every place that takes a phone number reads it by the same rules, with the country of the session or of the installation. */

const spellings = ['+49 (0) 170 1234567', '0049 170 1234567', '0170 1234567', '\u202a+49 170 1234567\u202c', '491701234567'];
const digits = '491701234567';
const validNowhere = '99912345678';

describe('phone numbers', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite', settings: { DEFAULT_COUNTRY_CODE: '55' } });
    // The session's country counts before the installation's.
    const changed = await core.rig.call('PUT', '/sessions/current', { body: { settings: { countryCode: '49' } } });
    expect(changed.status).toBe(200);
  });
  afterAll(() => core?.close());

  test.each(spellings)(
    '%s is the same person for a send, a mention, a card, a check, a filter and a pairing code',
    async (number) => {
      const sent = await core.send('hello', { recipient: number, mentions: [number] });
      expect([sent.status, sent.body.data]).toMatchObject([200, { to: `${digits}@c.us`, mentions: [`${digits}@c.us`] }]);

      const contacts = [{ name: 'Jo', phone: number }];
      const card = await core.post('/messages/send-contact', { recipient: number, contacts });
      expect([card.status, card.body.data]).toMatchObject([
        200,
        { content: { contacts: [{ name: 'Jo', phone: `+${digits}` }] } },
      ]);

      core.worker.answer.set('contacts.check', []);
      expect((await core.post('/sessions/current/contacts/check', { numbers: [number] })).status).toBe(200);
      expect(core.worker.lastOf('contacts.check')).toMatchObject({ input: { numbers: [number], countryCode: '49' } });

      for (const field of ['contact', 'chatId']) {
        const query = `${field}=${encodeURIComponent(number)}&sessionId=${core.sessionId}`;
        const found = (await core.get(`/messages/list?${query}`)).body.data as { id: string }[];
        expect(found.map(({ id }) => id)).toContain(dataOf(sent).id);
      }
    },
  );

  test.each(['send', 'mention', 'card', 'filter', 'pairing', 'init', 'privacy'])(
    'a number that is valid nowhere is refused with the next step: %s',
    async (place) => {
      const query = `contact=${validNowhere}`;
      const ask = {
        send: () => core.send('hello', { recipient: validNowhere }),
        mention: () => core.send('hello', { mentions: [validNowhere] }),
        card: () => core.post('/messages/send-contact', { recipient: digits, contacts: [{ name: 'Jo', phone: validNowhere }] }),
        filter: () => core.get(`/messages/list?${query}`),
        pairing: () => core.post('/sessions/current/pairing-code', { phoneNumber: validNowhere }),
        init: () => core.post('/sessions/init', { phoneNumber: validNowhere }),
        privacy: () => core.post('/privacy/exports', { contact: validNowhere }),
      }[place]!;
      const before = core.worker.left.length;
      const answer = await ask();
      expect([answer.status, JSON.stringify(answer.body.error)]).toEqual([422, expect.stringContaining('Add the country code')]);
      expect(core.worker.left.length).toBe(before);
    },
  );

  test('the installation’s country counts where the session has none', async () => {
    const made = await core.post('/sessions', { name: 'without-country' });
    expect(made.status).toBeLessThan(300);
    const found = await core.get('/messages/list?contact=011%2099999-0001&sessionId=without-country');
    expect(found.status).toBe(200);
    const request = await core.post('/privacy/exports', { contact: '011 99999-0001' });
    expect([request.status, request.body.data]).toMatchObject([202, { contact: '5511999990001@c.us' }]);
  });
});

test('a pairing code is asked for the same number in each spelling', async () => {
  const core = await startCore({ database: 'sqlite', linked: false, settings: { DEFAULT_COUNTRY_CODE: '55' } });
  try {
    for (const phoneNumber of [
      '+55 (11) 98888-7777',
      '005511988887777',
      '011 98888-7777',
      '+55 0 11 98888-7777',
      '\u200e+55 11 98888-7777',
    ]) {
      expect((await core.post('/sessions/init', { phoneNumber })).status).toBe(200);
      expect(core.worker.lastOf('session.pairingCode')).toMatchObject({ input: { phoneNumber: '5511988887777' } });
      expect((await core.post('/sessions/current/pairing-code', { phoneNumber })).status).toBe(200);
      expect(core.worker.lastOf('session.pairingCode')).toMatchObject({ input: { phoneNumber: '5511988887777' } });
    }
  } finally {
    await core.close();
  }
});
