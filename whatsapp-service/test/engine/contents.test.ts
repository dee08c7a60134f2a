import { describe, expect, test } from '@jest/globals';
import { selectedOptionOf, textOf, type ObservedContent } from '@chasqui/shared';
import { contentOf, type RawMessage } from '../../src/engine/wwebjs/translate.js';

/** Each kind of message that WhatsApp knows has a truthful type, text and content. */

const thumbnail = `/9j/4AAQSkZJRgABAQAAAQABAAD/${'A'.repeat(400)}`;
const file = { directPath: '/v/1', mimetype: 'video/mp4', size: 8, body: thumbnail };
const chosen = (id: string, title: string) => ({ type: 'text', message: title, selectedOption: { id, title } });

describe('kinds of messages', () => {
  test.each<[string, RawMessage, object, string | null]>([
    ['a video note', { type: 'ptv', ...file }, { type: 'video', videoNote: true, media: { mimetype: 'video/mp4' } }, null],
    [
      'a product',
      {
        type: 'product',
        body: thumbnail,
        title: 'Shoes',
        description: 'Size 42',
        productId: '12',
        priceAmount1000: 9500,
        currencyCode: 'EUR',
      },
      { type: 'product', productId: '12', title: 'Shoes', description: 'Size 42', amount: 9.5, currency: 'EUR', message: null },
      'Shoes',
    ],
    [
      'an order',
      { type: 'order', body: thumbnail, orderId: '77', orderTitle: 'Order of Ana', itemCount: 2, message: 'Pack well' },
      { type: 'order', orderId: '77', itemCount: 2, message: 'Pack well' },
      'Order of Ana',
    ],
    ['an order without a title', { type: 'order', body: thumbnail, orderId: 77, message: 'Hi' }, { orderId: '77' }, 'Hi'],
    ['an answer to buttons', { type: 'buttons_response', body: 'Yes', selectedButtonId: 'y1' }, chosen('y1', 'Yes'), 'Yes'],
    ['an answer to a template', { type: 'template_button_reply', body: 'No', selectedId: 'n1' }, chosen('n1', 'No'), 'No'],
    [
      'an answer to a list',
      { type: 'list_response', body: 'Row', listResponse: { title: 'Row', singleSelectReply: { selectedRowId: 'r1' } } },
      chosen('r1', 'Row'),
      'Row',
    ],
    [
      'an answer to a native flow',
      { type: 'interactive_response', body: 'Blue', nativeFlowResponseMessage: { name: 'menu', paramsJson: '{"id":"b1"}' } },
      chosen('b1', 'Blue'),
      'Blue',
    ],
    [
      'a live location',
      { type: 'location', lat: -23.5, lng: -46.6, isLive: true, comment: 'on my way', body: thumbnail },
      { type: 'location', latitude: -23.5, longitude: -46.6, live: true, comment: 'on my way' },
      'on my way',
    ],
    ['a place nowhere', { type: 'location', lat: 91, lng: 'x' }, { latitude: null, longitude: null }, null],
    [
      'a calendar event',
      {
        type: 'event_creation',
        eventName: 'Opening',
        eventDescription: 'Come',
        eventStartTime: 1_800_000_000,
        eventLocation: { name: 'Shop' },
      },
      {
        type: 'calendar_event',
        name: 'Opening',
        description: 'Come',
        startsAt: '2027-01-15T08:00:00.000Z',
        endsAt: null,
        location: 'Shop',
      },
      'Opening',
    ],
    ['an album', { type: 'album', expectedImageCount: 3, expectedVideoCount: 1 }, { type: 'album', images: 3, videos: 1 }, null],
    [
      'a payment',
      { type: 'payment', body: thumbnail, paymentAmount1000: 12_500, paymentCurrency: 'BRL', paymentNoteMsg: { body: 'Lunch' } },
      { type: 'payment', amount: 12.5, currency: 'BRL' },
      'Lunch',
    ],
    [
      'a list',
      {
        type: 'list',
        list: { title: 'Menu', description: 'Choose', buttonText: 'Open', sections: [{ rows: [{ rowId: 'r1', title: 'Tea' }] }] },
      },
      { type: 'list', title: 'Menu', buttonText: 'Open', options: [{ id: 'r1', title: 'Tea', description: null }] },
      'Choose',
    ],
    [
      'buttons',
      {
        type: 'chat',
        isDynamicReplyButtonsMsg: true,
        body: 'Sure?',
        dynamicReplyButtons: [{ buttonId: 'b', buttonText: { displayText: 'Yes' } }],
      },
      { type: 'buttons', options: [{ id: 'b', title: 'Yes', description: null }] },
      'Sure?',
    ],
    [
      'a template',
      {
        type: 'hsm',
        body: 'Your code',
        footer: 'Shop',
        hydratedButtons: [{ urlButton: { displayText: 'Open', url: 'https://a.example' } }],
      },
      { type: 'template', footer: 'Shop', options: [{ id: null, title: 'Open', description: 'https://a.example' }] },
      'Your code',
    ],
    [
      'a notice of a group',
      { type: 'gp2', subtype: 'add', recipients: ['1@c.us'] },
      { type: 'notice', whatsappType: 'gp2', subtype: 'add', participants: ['1@c.us'] },
      null,
    ],
    ['a call', { type: 'call_log' }, { type: 'notice', whatsappType: 'call_log' }, null],
    ['what is not decrypted', { type: 'ciphertext' }, { type: 'unknown', placeholder: 'undecrypted' }, null],
    [
      'what can be viewed on the phone alone',
      { type: 'ciphertext', subtype: 'view_once_unavailable_fanout' },
      { type: 'unknown', placeholder: 'view_once' },
      null,
    ],
    [
      'an image to view once that has no file',
      { type: 'image', isViewOnce: true, body: thumbnail },
      { placeholder: 'view_once' },
      null,
    ],
    [
      'an unknown kind with a preview',
      { type: 'hologram', body: thumbnail },
      { type: 'unknown', whatsappType: 'hologram' },
      null,
    ],
    ['an unknown kind with a file', { type: 'hologram', ...file, caption: 'see' }, { media: { mimetype: 'video/mp4' } }, 'see'],
    ['an unknown kind with words', { type: 'hologram', body: 'words of a person' }, {}, 'words of a person'],
    ['words that look like base64, as a text', { type: 'chat', body: 'A'.repeat(400) }, { type: 'text' }, 'A'.repeat(400)],
  ])('%s', (_name, raw, content, text) => {
    const found: ObservedContent = contentOf(raw);
    expect(found).toMatchObject(content);
    expect(textOf(found)).toBe(text);
    expect(JSON.stringify({ ...found, message: undefined })).not.toContain('/9j/');
  });

  test('only an answer has a chosen option', () => {
    expect(selectedOptionOf(contentOf({ type: 'chat', body: 'x' }))).toBeNull();
    expect(selectedOptionOf(contentOf({ type: 'list_response', body: 'x' }))).toEqual({ id: null, title: 'x' });
  });
});
