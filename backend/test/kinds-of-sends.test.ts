import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource, ObservedMessage } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** The kinds of sends beyond texts and files: what is accepted, what reaches the worker, and what is refused before anything is stored. */

const noFile = { id: null, mimetype: 'image/png', size: 3, filename: null, sha256: null };

describe.each(await databases())('kinds of sends on %s', (database) => {
  let core: Core;
  const count = async () => (await core.get('/messages?direction=outbound&limit=1')).body.meta?.['total'];

  /** A received message, once it is recorded. */
  const stored = ({ whatsappId }: ObservedMessage) =>
    eventually('the message', async () => {
      const reply = await core.get(`/messages/${encodeURIComponent(whatsappId)}`);
      return reply.status === 200 ? dataOf(reply) : null;
    });

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  describe('a calendar event', () => {
    const event = { recipient: ana, name: ' Delivery ', startsAt: '2027-01-15T11:00:00-03:00', endsAt: '2027-01-15T15:00:00Z' };

    test('leaves with its times in UTC, and is sent after an uncertain attempt under the same id', async () => {
      core.worker.scripts.push({ do: 'uncertain', ack: 1 });
      const sent = await core.post('/messages/send-calendar-event', { ...event, location: 'Main street 1' });
      const id = dataOf(sent).id;
      expect(await core.reaches(id, 'sent')).toMatchObject({
        type: 'calendar_event',
        text: 'Delivery',
        content: {
          name: 'Delivery',
          description: null,
          startsAt: '2027-01-15T14:00:00.000Z',
          endsAt: '2027-01-15T15:00:00.000Z',
          location: 'Main street 1',
          callType: 'none',
        },
      });
      expect(core.worker.puts.filter((put) => put === id)).toHaveLength(1);
    });

    test.each([
      ['ends before it starts', { endsAt: '2027-01-15T13:00:00Z' }, 'endsAt'],
      ['has no start', { startsAt: undefined }, 'startsAt'],
      ['has a name of blanks', { name: '   ' }, 'name'],
      ['goes to a channel', { recipient: '120363000000000001@newsletter' }, 'recipient'],
    ])('is refused and not stored when it %s', async (_what, change, path) => {
      const before = await count();
      const refused = await core.post('/messages/send-calendar-event', { ...event, ...change });
      expect(refused.status).toBe(422);
      expect(refused.body.error?.details?.['fields']).toMatchObject([{ path }]);
      expect(await count()).toBe(before);
    });
  });

  describe('a link preview of the sender', () => {
    const url = 'https://example.com/menu';
    const send = (linkPreview: object) =>
      core.post('/messages/send-text', { recipient: ana, message: `See ${url}`, linkPreview });

    test('leaves with the text', async () => {
      const linkPreview = { title: 'Our menu', description: 'Of today', thumbnail: '/9j/4AAQ', url };
      const reply = await send(linkPreview);
      expect(reply.body).toMatchObject({ warnings: [{ code: 'PREVIEW_NOT_GUARANTEED' }] });
      const sent = dataOf(reply);
      expect(sent).toMatchObject({ status: 'sent', content: { linkPreview } });
      const left = core.worker.left.find((one) => one.messageId === sent.id);
      expect(left?.command.content).toMatchObject({ type: 'text', linkPreview });
    });

    test.each<[string, object, string]>([
      ['is for a link that the text does not contain', { title: 'x', url: 'https://example.com/other' }, 'linkPreview.url'],
      ['has a thumbnail that is no JPEG', { title: 'x', url, thumbnail: 'iVBORw0KGgo=' }, 'linkPreview.thumbnail'],
      ['has a thumbnail that is too large', { title: 'x', url, thumbnail: `/9j/${'A'.repeat(40_000)}` }, 'linkPreview.thumbnail'],
      ['has no title', { url }, 'linkPreview.title'],
    ])('is refused and not stored when it %s', async (_what, linkPreview, path) => {
      const before = await count();
      const refused = await send(linkPreview);
      expect(refused.status).toBe(422);
      expect(JSON.stringify(refused.body.error?.details)).toContain(path.split('.')[0]!);
      expect(await count()).toBe(before);
    });
  });

  describe('a contact card of a known person', () => {
    const cards = (...contacts: object[]) => core.post('/messages/send-contact', { recipient: ana, contacts });

    test('has the name and the number that the session knows, also by the LID, beside other cards', async () => {
      const bea = { id: '5511999990044@c.us', phone: '+5511999990044', lid: '777000111222333@lid', name: 'Bea Lima' };
      const chat = { id: bea.id, type: 'private' as const, name: 'Bea' };
      const observed = core.inbound('hello', { contact: bea, chat, from: bea.id });
      await core.worker.emit(core.sessionId, 'message.observed', { message: observed, origin: 'live' });
      await stored(observed);
      const given = [{ contactId: bea.lid }, { name: 'Ana', phone: ana }, { contactId: '+55 11 99999-0044' }];
      const sent = dataOf(await cards(...given));
      expect(sent).toMatchObject({ type: 'contact', status: 'sent', text: 'Bea Lima, Ana, Bea Lima' });
      const { contacts } = sent.content as { contacts: { name: string; phone: string; vcard: string }[] };
      expect(contacts.map(({ name, phone }) => [name, phone])).toEqual([
        ['Bea Lima', '+5511999990044'],
        ['Ana', `+${ana}`],
        ['Bea Lima', '+5511999990044'],
      ]);
      expect(contacts[0]!.vcard).toContain('waid=5511999990044');
    });

    test.each<[string, () => object, string, string]>([
      ['is of a stranger', () => ({ contactId: '+55 11 99999-7777' }), 'VALIDATION_FAILED', 'contacts.0.contactId'],
      ['is of a group', () => ({ contactId: '120363041234567890@g.us' }), 'INVALID_RECIPIENT', 'contacts.0.contactId'],
    ])('is refused and not stored when it %s', async (_what, contact, code, path) => {
      const before = await count();
      const refused = await cards(contact());
      expect([refused.status, refused.body.error?.code]).toEqual([422, code]);
      expect(refused.body.error?.details).toMatchObject({ fields: [{ path }] });
      expect(await count()).toBe(before);
    });

    test('is refused when the person hides the number', async () => {
      const hidden = { id: '888000111222333@lid', phone: null, lid: '888000111222333@lid', name: 'Hidden' };
      const chat = { id: hidden.id, type: 'private' as const, name: 'Hidden' };
      const observed = core.inbound('hi', { contact: hidden, chat, from: hidden.id });
      await core.worker.emit(core.sessionId, 'message.observed', { message: observed, origin: 'live' });
      await stored(observed);
      const refused = await cards({ contactId: hidden.id });
      expect(refused.body.error?.details).toMatchObject({ fields: [{ path: 'contacts.0.contactId', code: 'NUMBER_UNKNOWN' }] });
    });
  });

  describe('a mention of a group', () => {
    const id = '120363041234567890@g.us';
    const send = (groupMentions: object[], more: object = {}) =>
      core.post('/messages/send-text', { recipient: ana, message: `Ask in @${id}`, groupMentions, ...more });

    test('leaves with the name that the caller gives', async () => {
      const sent = dataOf(await send([{ id, name: 'Orders' }]));
      const left = core.worker.left.find((one) => one.messageId === sent.id);
      expect(left?.command.options.groupMentions).toEqual([{ id, name: 'Orders' }]);
    });

    test('is found nowhere in the storage mode metadata, and leaves all the same', async () => {
      const keep = (storage: string) => core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { storage } } });
      expect((await keep('metadata')).status).toBe(200);
      try {
        await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
        const groupMentions = [{ id, name: 'Secret circle' }];
        const waiting = dataOf(await send(groupMentions, { async: true, queueIfOffline: true }));
        const [row] = await core.rig.database.reader.query<{ sealed: string | null }[]>(
          `SELECT * FROM messages WHERE id = '${waiting.id}'`,
        );
        expect(row?.sealed).toBeTruthy();
        expect(JSON.stringify(row)).not.toContain('Secret circle');
        await core.worker.move(core.sessionId, 'connected', null);
        await core.reaches(waiting.id, 'sent');
        const left = core.worker.left.find((one) => one.messageId === waiting.id);
        expect(left?.command.options.groupMentions).toEqual(groupMentions);
      } finally {
        await keep('full');
      }
    });

    test.each<[string, object[], object, string]>([
      ['names no group', [{ id: `${ana}@c.us`, name: 'x' }], {}, 'INVALID_RECIPIENT'],
      ['is not in the text', [{ id, name: 'x' }], { message: 'Ask there' }, 'VALIDATION_FAILED'],
      ['goes to a channel', [{ id, name: 'x' }], { recipient: '120363000000000001@newsletter' }, 'VALIDATION_FAILED'],
    ])('is refused and not stored when it %s', async (_what, groupMentions, more, code) => {
      const before = await count();
      const refused = await send(groupMentions, more);
      expect([refused.status, refused.body.error?.code]).toEqual([422, code]);
      expect(await count()).toBe(before);
    });
  });

  describe('a forward', () => {
    const bruno = '5511999990002';
    const forward = (id: string, more: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
      core.post(`/messages/${id}/forward`, { recipient: bruno, ...more }, headers);
    const received = async (content: ObservedMessage['content']) => {
      const observed = core.inbound('', { content });
      await core.worker.emit(core.sessionId, 'message.observed', { message: observed, origin: 'live' });
      return stored(observed);
    };

    test('of a received text is a message of its own, marked as forwarded, and one for each Idempotency-Key', async () => {
      const original = await received({ type: 'text', message: 'see you at nine', selectedOption: { id: '1', title: 'x' } });
      const sent = await forward(original.id, {}, { 'Idempotency-Key': `forward-${original.id}` });
      expect(sent.status).toBe(200);
      expect(dataOf(sent)).toMatchObject({
        type: 'text',
        status: 'sent',
        isForwarded: true,
        text: 'see you at nine',
        content: { message: 'see you at nine' },
        selectedOption: null,
        toNumber: bruno,
      });
      const again = await forward(original.id, {}, { 'Idempotency-Key': `forward-${original.id}` });
      expect(dataOf(again).id).toBe(dataOf(sent).id);
      const left = core.worker.left.filter((one) => one.messageId === dataOf(sent).id);
      expect(left.map(({ command }) => command.options.forward)).toEqual([{ whatsappId: original.whatsappId }]);
    });

    test('of a file sends a copy, which stays when the original is deleted', async () => {
      const base64 = 'R0lGODlhAQABAAAAACw=';
      const { body } = await core.post('/messages/send-media', { recipient: ana, mediaBase64: base64, caption: 'look' });
      const original = body.data as MessageResource;
      const sent = dataOf(await forward(original.id));
      expect(sent).toMatchObject({ type: original.type, isForwarded: true, text: 'look' });
      const mediaOf = (message: MessageResource) => (message.content as { media: { id: string; sha256: string } }).media;
      expect(mediaOf(sent).id).not.toBe(mediaOf(original).id);
      expect(mediaOf(sent).sha256).toBe(mediaOf(original).sha256);
      const left = core.worker.left.find((one) => one.messageId === sent.id);
      expect(left?.file?.bytes.toString('base64')).toBe(base64);
    });

    test.each<[string, ObservedMessage['content'], number, string]>([
      [
        'a notice',
        { type: 'notice', whatsappType: 'gp2', subtype: 'add', message: null, participants: [] },
        501,
        'NOT_SUPPORTED_BY_WHATSAPP',
      ],
      ['an image that is seen once', { type: 'image', media: noFile, viewOnce: true }, 501, 'NOT_SUPPORTED_BY_WHATSAPP'],
      ['an image without a file here', { type: 'image', media: noFile }, 404, 'MEDIA_NOT_FOUND'],
    ])('of %s is refused and not stored', async (_what, content, status, code) => {
      const original = await received(content);
      const before = await count();
      const refused = await forward(original.id);
      expect([refused.status, refused.body.error?.code]).toEqual([status, code]);
      expect(await count()).toBe(before);
    });

    test('of a received message needs the right to read messages', async () => {
      const original = await received({ type: 'text', message: 'private' });
      const created = await core.post('/keys', { name: 'sends only', permissions: ['messages.send'] });
      const { key } = created.body.data as { key: string };
      const before = await count();
      const refused = await core.rig.call('POST', `/messages/${original.id}/forward`, { key, body: { recipient: bruno } });
      expect([refused.status, refused.body.error?.code]).toEqual([403, 'PERMISSION_DENIED']);
      expect(await count()).toBe(before);
      const own = dataOf(await core.send('mine'));
      const sent = await core.rig.call('POST', `/messages/${own.id}/forward`, { key, body: { recipient: bruno } });
      expect(sent.status).toBe(200);
    });
  });

  describe('lists and buttons', () => {
    const buttons = [
      { id: 'yes', text: 'Yes' },
      { id: 'no', text: 'No' },
    ];
    const offer = async (recipient: string = ana) =>
      dataOf(await core.post('/messages/send-buttons', { recipient, message: 'Deliver today?', buttons }));
    const answer = async (text: string, more: Partial<ObservedMessage> = {}) => {
      const observed = core.inbound(text, more);
      await core.worker.emit(core.sessionId, 'message.observed', { message: observed, origin: 'live' });
      return (await stored(observed)).selectedOption;
    };

    test('leave as a text with numbered options, and the reply says so', async () => {
      const sent = await core.post('/messages/send-list', {
        recipient: ana,
        message: 'What shall we bring?',
        buttonText: 'Choose',
        sections: [{ rows: [{ id: 'soup', title: 'Soup' }] }],
      });
      expect(sent.body).toMatchObject({ warnings: [{ code: 'INTERACTIVE_DEPRECATED' }] });
      expect(dataOf(sent)).toMatchObject({
        type: 'list',
        renderedAs: 'text',
        text: 'What shall we bring?\n\nChoose\n\n1. Soup',
        content: { sections: [{ title: null, rows: [{ id: 'soup', title: 'Soup', description: null }] }] },
      });
      expect(dataOf(await core.send('plain')).renderedAs).toBeNull();
    });

    test('are answered by a number, by a title, and by a reply that quotes them', async () => {
      await offer();
      expect(await answer('2')).toEqual({ id: 'no', title: 'No' });
      // Only the first message after them is an answer without a quote.
      expect(await answer('1')).toBeNull();
      await offer();
      expect(await answer('yes')).toEqual({ id: 'yes', title: 'Yes' });
      const { whatsappId } = await offer();
      expect(await answer('tomorrow?')).toBeNull();
      expect(await answer('1.', { quotedWhatsappId: whatsappId! })).toEqual({ id: 'yes', title: 'Yes' });
    });

    test('are not answered by another person, by a quote of another message, or by a message written before them', async () => {
      const { whatsappId } = dataOf(await core.send('a text'));
      await offer();
      const stranger = { id: '5511999990077@c.us', phone: '+5511999990077', lid: null, name: 'Eva' };
      const chat = { id: stranger.id, type: 'private' as const, name: 'Eva' };
      expect(await answer('1', { contact: stranger, chat, from: stranger.id })).toBeNull();
      expect(await answer('1', { quotedWhatsappId: whatsappId! })).toBeNull();
      await offer();
      expect(await answer('1', { timestamp: new Date(Date.now() - 600_000).toISOString() })).toBeNull();
    });

    test('are refused with INTERACTIVE_REJECTED where the session says so, and are not stored', async () => {
      const set = (interactiveMode: string) =>
        core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { interactiveMode } } });
      expect((await set('reject')).status).toBe(200);
      const before = await count();
      const refused = await core.post('/messages/send-buttons', { recipient: ana, message: 'Deliver?', buttons });
      expect([refused.status, refused.body.error?.code]).toEqual([422, 'INTERACTIVE_REJECTED']);
      expect(await count()).toBe(before);
      expect((await set('fallback')).status).toBe(200);
      expect((await offer()).status).toBe('sent');
    });
  });

  describe('a story', () => {
    const post = (body: object) => core.post(`/sessions/${core.sessionId}/stories`, body);

    test('of text is a message to status@broadcast with its color and font, looked up after an uncertain attempt', async () => {
      core.worker.scripts.push({ do: 'uncertain', ack: 1 });
      const posted = dataOf(await post({ message: 'Open until nine', font: 2 }));
      expect(await core.reaches(posted.id, 'sent')).toMatchObject({
        type: 'text',
        chat: { id: 'status@broadcast', type: 'status' },
        content: { message: 'Open until nine', backgroundColor: '#7acca5', font: 2 },
      });
      expect(core.worker.puts.filter((put) => put === posted.id)).toHaveLength(1);
    });

    test('of an image leaves with its caption', async () => {
      const posted = dataOf(await post({ mediaBase64: 'R0lGODlhAQABAAAAACw=', caption: 'fresh' }));
      expect(posted).toMatchObject({ type: 'image', status: 'sent', text: 'fresh', chat: { type: 'status' } });
      expect(core.worker.left.find((one) => one.messageId === posted.id)?.command.recipient).toBe('status@broadcast');
    });

    test.each<[string, object, number, string]>([
      ['with recipients', { message: 'x', recipients: [ana] }, 422, 'VALIDATION_FAILED'],
      ['of nothing', {}, 422, 'VALIDATION_FAILED'],
      ['of a text and a file', { message: 'x', mediaBase64: 'R0lGODlhAQABAAAAACw=' }, 422, 'VALIDATION_FAILED'],
      ['of a file with a color', { mediaBase64: 'R0lGODlhAQABAAAAACw=', font: 1 }, 422, 'VALIDATION_FAILED'],
      ['of a document', { mediaBase64: Buffer.from('%PDF-1.4 text').toString('base64') }, 501, 'NOT_SUPPORTED_BY_WHATSAPP'],
    ])('%s is refused and not stored', async (_what, body, status, code) => {
      const before = await count();
      const refused = await post(body);
      expect([refused.status, refused.body.error?.code]).toEqual([status, code]);
      expect(await count()).toBe(before);
    });

    test('has a route of its own: the other sends refuse its recipient and name that route', async () => {
      const refused = await core.send('x', { recipient: 'status@broadcast' });
      expect([refused.status, refused.body.error?.code]).toEqual([422, 'RECIPIENT_NOT_SUPPORTED']);
      expect(refused.body.error?.message).toMatch(/\/stories/);
    });
  });

  describe('a send to a group', () => {
    const groupId = '120363041234567890@g.us';

    test('is a text unless it names a type', async () => {
      const text = dataOf(await core.post('/messages/send-group', { groupId, message: 'Good morning' }));
      expect(text).toMatchObject({ type: 'text', text: 'Good morning', chat: { id: groupId, type: 'group' } });
      const place = { groupId, type: 'location', latitude: 1.5, longitude: -2.5 };
      expect(dataOf(await core.post('/messages/send-group', place))).toMatchObject({ type: 'location', chat: { id: groupId } });
    });

    test('refuses a person, and names the field', async () => {
      const before = await count();
      const refused = await core.post('/messages/send-group', { groupId: ana, message: 'x' });
      expect([refused.status, refused.body.error?.code]).toEqual([422, 'INVALID_RECIPIENT']);
      expect(refused.body.error?.details).toMatchObject({ fields: [{ path: 'groupId' }] });
      expect(await count()).toBe(before);
    });
  });
});
