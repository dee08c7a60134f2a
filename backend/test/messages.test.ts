/* eslint-disable max-lines -- one world, and one block for each rule of an accepted message */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import type { MessageResource, WorkerEventPayload } from '@chasqui/shared';
import { makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const ackOf = (message: MessageResource, ack: number): WorkerEventPayload<'message.ack'> => ({
  whatsappId: message.whatsappId!,
  key: message.whatsappId!.split('_')[2]!,
  chat: message.chat,
  at: new Date().toISOString(),
  ack,
  participant: null,
});

test('a full disk is 503 STORAGE_FULL and nothing is accepted; with room again the same call is', async () => {
  const core = await startCore({ database: 'sqlite' });
  try {
    const limit = (pages: number) => core.rig.database.write.run((tx) => tx.manager.query(`PRAGMA max_page_count = ${pages}`));
    await limit(1);
    const text = 'x'.repeat(60_000);
    const refused = await core.send(text, { async: true }, { 'Idempotency-Key': 'full-disk' });
    expect([refused.status, refused.body.error?.code]).toEqual([503, 'STORAGE_FULL']);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    expect((await core.get('/messages/list?direction=outbound')).body.data).toEqual([]);
    await limit(1_000_000);
    const accepted = await core.send(text, { async: true }, { 'Idempotency-Key': 'full-disk' });
    expect(accepted.status).toBe(202);
    await core.reaches(dataOf(accepted).id, 'sent');
  } finally {
    await core.close();
  }
});

describe.each(await databases())('messages on %s', (database) => {
  let core: Core;
  const timeline = async (id: string) =>
    ((await core.get(`/messages/${id}/timeline`)).body.data as { status: string }[]).map((entry) => entry.status);
  const leftOf = (id: string) => core.worker.left.filter((left) => left.messageId === id);

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('a text leaves once under its reserved id, and its acks move it to read', async () => {
    const answer = await core.send('Your order has been paid.', { recipient: '+55 11 99999-0001' });
    expect([answer.status, answer.body.data]).toMatchObject([
      200,
      {
        status: 'sent',
        direction: 'outbound',
        origin: 'api',
        type: 'text',
        text: 'Your order has been paid.',
        content: { message: 'Your order has been paid.' },
        from: '5511988887777@c.us',
        toNumber: ana,
        attempts: 1,
        reason: null,
      },
    ]);
    const sent = dataOf(answer);
    const [left] = leftOf(sent.id);
    expect(left!.command).toMatchObject({ recipient: `${ana}@c.us`, content: { type: 'text' } });
    expect(sent.whatsappId).toBe(`true_${ana}@c.us_${left!.command.reservedId}`);
    for (const nothingNew of [5, 1, 0, -1, -3]) await core.worker.emit(core.sessionId, 'message.ack', ackOf(sent, nothingNew));
    expect((await core.message(sent.id)).status).toBe('sent');
    await core.worker.emit(core.sessionId, 'message.ack', ackOf(sent, 2));
    await core.worker.emit(core.sessionId, 'message.ack', ackOf(sent, 3));
    expect(await core.message(sent.id)).toMatchObject({
      status: 'read',
      deliveredAt: expect.any(String),
      readAt: expect.any(String),
    });
    expect(await timeline(sent.id)).toEqual(['queued', 'sending', 'sent', 'delivered', 'read']);
    expect((await core.message(sent.whatsappId!)).id).toBe(sent.id);
  });

  test('acks out of order only raise the state, and each step is published once', async () => {
    const sent = dataOf(await core.send('out of order'));
    for (const ack of [3, 2, 1, 3, 2]) await core.worker.emit(core.sessionId, 'message.ack', ackOf(sent, ack));
    expect((await core.message(sent.id)).status).toBe('read');
    expect(await timeline(sent.id)).toEqual(['queued', 'sending', 'sent', 'read']);
  });

  test('an ack that overtakes the reply settles the message, and message.sent is still published', async () => {
    core.worker.script({ do: 'send', afterMs: 400 });
    const before = core.worker.puts.length;
    const waiting = core.send('fast phone');
    const left = await eventually('the hand-over', async () => core.worker.puts[before]);
    const message = await core.message(left);
    expect(message.status).toBe('sending');
    const key = ((await core.events('message.sending')).at(-1)!.data as { reservedId: string }).reservedId;
    await core.worker.emit(core.sessionId, 'message.ack', {
      ...ackOf({ ...message, whatsappId: `true_${ana}@c.us_${key}` }, 2),
    });
    expect((await core.message(left)).status).toBe('delivered');
    expect((await waiting).status).toBe(200);
    expect(await timeline(left)).toEqual(['queued', 'sending', 'sent', 'delivered']);
  });

  test('a message that WhatsApp refuses fails with its reason, and an ack still proves that it was sent', async () => {
    core.worker.script({ do: 'fail', reason: 'RECIPIENT_NOT_ON_WHATSAPP', retryable: false });
    const answer = await core.send('nobody there');
    expect([answer.status, answer.body.error]).toMatchObject([
      502,
      { code: 'SEND_FAILED', details: { reason: 'RECIPIENT_NOT_ON_WHATSAPP', retryable: false, message: { status: 'failed' } } },
    ]);
    const { id } = answer.body.error!.details['message'] as { id: string };
    const key = ((await core.events('message.sending')).at(-1)!.data as { reservedId: string }).reservedId;
    const failed = await core.message(id);
    await core.worker.emit(core.sessionId, 'message.ack', ackOf({ ...failed, whatsappId: `true_${ana}@c.us_${key}` }, 1));
    expect((await core.message(id)).status).toBe('sent');
  });

  test('a temporary refusal is retried later, and the caller gets no failure', async () => {
    core.worker.script({ do: 'fail', reason: 'CONNECTION_LOST', retryable: true });
    const answer = await core.send('later', {}, { Prefer: 'wait=1' });
    expect([answer.status, answer.headers.get('preference-applied'), answer.body.data]).toMatchObject([
      202,
      'wait=1',
      { status: 'queued', reason: { code: 'RETRY_SCHEDULED' }, attempts: 1 },
    ]);
    const cancelled = await core.post(`/messages/${dataOf(answer).id}/cancel`, {});
    expect([cancelled.status, cancelled.body.data]).toMatchObject([200, { status: 'cancelled' }]);
    expect((await core.post(`/messages/${dataOf(answer).id}/cancel`, {})).body.error).toMatchObject({
      code: 'MESSAGE_NOT_CANCELLABLE',
      details: { status: 'cancelled' },
    });
  });

  test('unknown fields are named, bad recipients explained, and nothing is stored', async () => {
    const before = (await core.events('message.queued')).length;
    const typo = await core.post('/messages/send-text', { recipient: ana, message: 'x', mesage: 'y' });
    expect([typo.status, typo.body.error?.details['fields']]).toEqual([
      422,
      [{ path: 'mesage', code: 'UNKNOWN_FIELD', message: expect.any(String) }],
    ]);
    for (const input of ['0123456', 'Ana', '12', 'x@nowhere']) {
      const { status, body } = await core.send('x', { recipient: input });
      expect([input, status, body.error?.code, body.error?.details['input']]).toEqual([input, 422, 'INVALID_RECIPIENT', input]);
    }
    const both = await core.post('/messages/send-text', { recipient: ana, to: '5511999990002', message: 'x' });
    expect(both.status).toBe(422);
    expect(await core.events('message.queued')).toHaveLength(before);
  });

  test('other names of the fields work, and so does the route for any type', async () => {
    const aliased = await core.post('/messages/send-text', { to: ana, body: 'aliased', instance_id: core.sessionId });
    expect([aliased.status, dataOf(aliased).text]).toEqual([200, 'aliased']);
    const any = await core.post('/messages/send', { type: 'location', to: ana, latitude: -23.5, longitude: -46.6, name: 'Shop' });
    expect([any.status, any.body.data]).toMatchObject([200, { type: 'location', content: { latitude: -23.5, name: 'Shop' } }]);
    const poll = await core.post('/messages/send', { type: 'poll', to: ana, question: 'When?', options: ['now', 'later'] });
    expect([poll.status, poll.body.data]).toMatchObject([
      200,
      { type: 'poll', content: { options: ['now', 'later'], multiple: false } },
    ]);
    const card = await core.post('/messages/send-contact', { to: ana, contacts: [{ name: 'Bo\nX', phone: '+44 20 7946 0000' }] });
    expect(card.status).toBe(200);
    expect((await core.post('/messages/send', { type: 'text', to: ana, latitude: 3 })).status).toBe(422);
  });

  test('a file arrives byte for byte, by multipart, base64 and JSON of an uploaded one', async () => {
    const form = new FormData();
    form.set('recipient', ana);
    form.set('caption', 'see');
    form.set('image', new Blob([new Uint8Array(png)], { type: 'image/png' }), 'one.png');
    const multipart = await core.post('/messages/send-media', form);
    expect([multipart.status, multipart.body.data]).toMatchObject([
      200,
      {
        type: 'image',
        text: 'see',
        content: { caption: 'see', media: { mimetype: 'image/png', size: png.length, sha256: sha(png) } },
      },
    ]);
    const base64 = await core.post('/messages/send-media', {
      recipient: ana,
      mediaBase64: png.toString('base64'),
      asDocument: true,
    });
    expect([base64.status, dataOf(base64).type]).toEqual([200, 'document']);
    for (const { id } of [dataOf(multipart), dataOf(base64)]) expect(sha(leftOf(id)[0]!.file!.bytes)).toBe(sha(png));
    const file = await core.get(`/messages/${dataOf(multipart).id}/media`);
    expect([file.status, file.headers.get('content-type'), file.headers.get('x-content-type-options')]).toEqual([
      200,
      'image/png',
      'nosniff',
    ]);
    expect((await core.post('/messages/send-media', { recipient: ana })).body.error?.code).toBe('VALIDATION_FAILED');
    expect(
      (await core.post('/messages/send-media', { recipient: ana, mediaUrl: 'http://127.0.0.1:1/x.png' })).body.error?.code,
    ).toBe('URL_NOT_ALLOWED');
  });

  test('a reply quotes by our id or WhatsApp’s, and nothing goes out unquoted by mistake', async () => {
    const first = dataOf(await core.send('question'));
    const reply = dataOf(await core.send('answer', { quotedMessageId: first.id }));
    expect(leftOf(reply.id)[0]!.command.options.quotedMessageId).toBe(first.whatsappId);
    const unknown = '01973f0a-5b1e-7c3d-9a54-0d5b2f6a1c11';
    expect((await core.send('answer', { quotedMessageId: unknown })).body.error?.code).toBe('MESSAGE_NOT_FOUND');
    const loose = dataOf(await core.send('answer', { quotedMessageId: unknown, ignoreQuoteErrors: true }));
    expect(leftOf(loose.id)[0]!.command.options.quotedMessageId).toBeNull();
  });

  test('the same Idempotency-Key returns the first reply, whatever it was, and sends nothing more', async () => {
    const key = { 'Idempotency-Key': `order-${database}` };
    const [one, two] = await Promise.all([core.send('once', {}, key), core.send('once', {}, key)]);
    const [first, second] = one.status === 200 ? [one, two] : [two, one];
    expect([first.status, second.status, second.body.error?.code]).toEqual([200, 409, 'IDEMPOTENCY_IN_PROGRESS']);
    const again = await core.send('once', {}, key);
    expect([again.status, again.headers.get('idempotency-replayed'), dataOf(again)]).toEqual([200, 'true', dataOf(first)]);
    expect((await core.send('other', {}, key)).body.error?.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect(
      core.worker.left.filter(({ command }) => 'message' in command.content && command.content.message === 'once'),
    ).toHaveLength(1);

    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const failed = { 'Idempotency-Key': `failed-${database}` };
    const [before, after] = [await core.send('fails', {}, failed), await core.send('fails', {}, failed)];
    expect([before.status, after.status, after.body.error]).toEqual([502, 502, before.body.error]);
    // A refusal without effect is not kept: the same key works once the cause is gone.
    const refused = { 'Idempotency-Key': `refused-${database}` };
    expect((await core.send('x', { recipient: 'Ana' }, refused)).status).toBe(422);
    expect((await core.send('x', {}, refused)).status).toBe(200);
  });

  test('a retry is for failed messages of ours alone, and keeps the reserved id', async () => {
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const { id } = (await core.send('again')).body.error!.details['message'] as { id: string };
    core.worker.record.delete(id);
    const retried = await core.post(`/messages/${id}/retry`, {});
    expect([retried.status, retried.body.data]).toMatchObject([200, { id, status: 'sent', attempts: 2 }]);
    const refused = await core.post(`/messages/${id}/retry`, {});
    expect([refused.status, refused.body.error]).toMatchObject([
      409,
      { code: 'MESSAGE_NOT_RETRYABLE', details: { status: 'sent' } },
    ]);
    expect((await core.post(`/messages/${id}/resolve`, { as: 'sent' })).body.error?.code).toBe('MESSAGE_NOT_UNCERTAIN');
  });

  test('a message that would expire at once is refused; one that expires while it waits fails, not as an error of WhatsApp', async () => {
    const before = core.worker.left.length;
    for (const expiresAt of [new Date(Date.now() - 1000).toISOString(), '2020-01-01T00:00:00+05:00']) {
      const { status, body } = await core.send('too late', { expiresAt });
      expect([status, body.error?.code, body.error?.details['fields']]).toEqual([
        422,
        'VALIDATION_FAILED',
        [expect.objectContaining({ path: 'expiresAt', code: 'IN_THE_PAST' })],
      ]);
    }
    expect((await core.get('/messages?search=too%20late')).body.data).toEqual([]);

    // One message a session is in flight: the second waits for the first.
    core.worker.script({ do: 'send', afterMs: 1_500 });
    const first = dataOf(await core.send('takes long', { async: true }));
    await core.reaches(first.id, 'sending');
    const key = { 'Idempotency-Key': `expires-${database}` };
    const expiring = { expiresAt: new Date(Date.now() + 700).toISOString() };
    const answers = [await core.send('waits too long', expiring, key), await core.send('waits too long', expiring, key)];
    for (const { status, body } of answers)
      expect([status, body.data]).toMatchObject([202, { status: 'failed', reason: { code: 'EXPIRED' } }]);
    expect(answers[1]!.body.data).toEqual(answers[0]!.body.data);
    expect(leftOf(dataOf(answers[0]!).id)).toEqual([]);
    await core.reaches(first.id, 'sent');
    expect(core.worker.left).toHaveLength(before + 1);
  });

  test.each([
    ['text that is cut off', png.toString('base64').slice(0, 61)],
    ['text behind its end', `${Buffer.from('a').toString('base64')}${Buffer.from('b').toString('base64')}`],
    ['three fillings', 'QQ==='],
    ['nothing but a filling', '=='],
    ['a data URL that is not base64', 'data:text/plain,hello'],
    ['a data URL without its data', 'data:text/plain;base64'],
  ])('mediaBase64 that would be read as another file is refused: %s', async (_what, mediaBase64) => {
    const { status, body } = await core.post('/messages/send-media', { recipient: ana, mediaBase64 });
    expect([status, body.error?.details['fields']]).toMatchObject([422, [{ path: 'mediaBase64' }]]);
  });

  test('mediaBase64 is accepted with line breaks, without padding, in the form for URLs and as a data URL', async () => {
    const text = png.toString('base64');
    const forms = [text.replace(/.{20}/g, '$&\r\n'), text.replaceAll('=', ''), png.toString('base64url')];
    for (const mediaBase64 of [...forms, `data:image/png;name=a.png;base64,${text}`]) {
      const sent = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64 }));
      expect(sha(leftOf(sent.id)[0]!.file!.bytes)).toBe(sha(png));
    }
  });

  test('a form field that is no UTF-8 is refused, not sent with other characters', async () => {
    const bytes = Buffer.from(
      `--b\r\nContent-Disposition: form-data; name="recipient"\r\n\r\n${ana}\r\n--b\r\nContent-Disposition: form-data; name="message"\r\n\r\ncaf\u00e9\r\n--b\r\nContent-Disposition: form-data; name="type"\r\n\r\ntext\r\n--b--\r\n`,
      'latin1',
    );
    const made = await core.post('/keys', { name: `form on ${database}`, permissions: ['messages.send'] });
    const { key } = made.body.data as unknown as { key: string };
    const url = `${core.rig.url}/api/v1/messages/send`;
    const send = async (body: Buffer) =>
      fetch(url, {
        method: 'POST',
        headers: { authorization: `ApiKey ${key}`, 'content-type': 'multipart/form-data; boundary=b' },
        body: new Uint8Array(body),
      });
    expect((await send(bytes)).status).toBe(422);
    expect((await send(Buffer.from(bytes.toString('latin1')))).status).toBe(200);
  });

  test('a key that may send and not read can send a sent file again, and no file that a contact sent', async () => {
    const made = await core.post('/keys', { name: `sends only on ${database}`, permissions: ['messages.send'] });
    const { key } = made.body.data as unknown as { key: string };
    const own = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: png.toString('base64') }));
    const { id: mediaId } = own.content!['media'] as { id: string };
    const again = (as?: string) =>
      core.rig.call('POST', '/messages/send-media', { body: { recipient: ana, mediaId }, ...(as ? { key: as } : {}) });
    expect((await again(key)).status).toBe(200);
    // The same file as one of an inbound message.
    await core.rig.database.write.run((tx) =>
      tx.manager.query(`UPDATE messages SET direction = 'inbound', origin = 'live' WHERE id = '${own.id}'`),
    );
    const refused = await again(key);
    expect([refused.status, refused.body.error?.code]).toEqual([404, 'MEDIA_NOT_FOUND']);
    expect((await again()).status).toBe(200);
  });

  test('messages to one chat leave in the order of acceptance', async () => {
    const before = core.worker.left.length;
    const texts = Array.from({ length: 12 }, (_, i) => `in order ${i}`);
    for (const text of texts) expect((await core.send(text, {}, { Prefer: 'respond-async' })).status).toBe(202);
    await eventually('all of them to leave', async () => core.worker.left.length >= before + texts.length);
    const left = core.worker.left
      .slice(before)
      .map(({ command }) => ('message' in command.content ? command.content.message : ''));
    expect(left).toEqual(texts);
  });

  test('a reply and its file are ingested', async () => {
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('Thank you <b>!</b>'), origin: 'live' });
    const [text] = (await core.get('/messages/list?direction=inbound&type=text&limit=1')).body.data as MessageResource[];
    expect(text).toMatchObject({
      text: 'Thank you <b>!</b>',
      status: 'delivered',
      origin: 'live',
      contact: { phone: `+${ana}`, lid: '184467440737@lid', name: 'Ana' },
      fromNumber: ana,
    });
    const media = { id: null, mimetype: 'image/png', size: png.length, filename: 'a/../b.png', sha256: null };
    const image = core.inbound('', { content: { type: 'image', media, caption: 'look' } });
    core.worker.files.set(image.whatsappId, { bytes: png, mimetype: 'image/png' });
    await core.worker.emit(core.sessionId, 'message.observed', { message: image, origin: 'live' });
    const stored = await eventually('the file', async () => {
      const found = await core.message(image.whatsappId);
      return (found.content as { media: { sha256: string | null } }).media.sha256 ? found : null;
    });
    expect(stored.content).toMatchObject({ caption: 'look', media: { sha256: sha(png), size: png.length } });
    expect((await core.get(`/messages/${stored.id}/media`)).status).toBe(200);
    const gone = core.inbound('', { content: { type: 'image', media, caption: null } });
    await core.worker.emit(core.sessionId, 'message.observed', { message: gone, origin: 'live' });
    await eventually('the reason', async () => (await core.events('message.media')).find(({ data }) => data['reason']));
    expect((await core.get(`/messages/${gone.whatsappId}/media`)).body.error?.code).toBe('MEDIA_EXPIRED');
  });

  test('edits, revokes and reactions are published with the message that they refer to', async () => {
    const message = core.inbound('first words');
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    const about = { whatsappId: message.whatsappId, key: message.key, chat: message.chat, at: new Date().toISOString() };
    await core.worker.emit(core.sessionId, 'message.edited', { ...about, text: 'second words' });
    await core.worker.emit(core.sessionId, 'message.reaction', { ...about, contact: message.contact, emoji: '👍' });
    await core.worker.emit(core.sessionId, 'message.revoked', about);
    expect(await core.message(message.whatsappId)).toMatchObject({
      text: 'second words',
      editedAt: expect.any(String),
      revokedAt: expect.any(String),
    });
    const { id } = await core.message(message.whatsappId);
    expect((await core.events('message.updated')).map(({ data }) => [data['change'], data['previousText']])).toEqual([
      ['edited', 'first words'],
      ['revoked', null],
    ]);
    expect((await core.events('message.reaction')).at(-1)!.data).toMatchObject({ messageId: id, emoji: '👍' });
  });

  test('the list filters and pages, by offset and by cursor', async () => {
    const all = (await core.get('/messages?limit=200')).body.data as MessageResource[];
    const ids = (messages: MessageResource[]) => messages.map(({ id }) => id);
    const first = await core.get('/messages/list?limit=4');
    expect(first.body.meta).toMatchObject({ limit: 4, offset: 0, total: all.length, totalExact: true });
    expect(ids(first.body.data as MessageResource[])).toEqual(ids(all.slice(0, 4)));
    expect(ids((await core.get('/messages/list?limit=4&offset=4')).body.data as MessageResource[])).toEqual(ids(all.slice(4, 8)));
    let cursor = (first.body.meta as { nextCursor: string | null }).nextCursor;
    const walked = ids(first.body.data as MessageResource[]);
    while (cursor) {
      const { body } = await core.get(`/messages/list?limit=4&cursor=${cursor}`);
      walked.push(...ids(body.data as MessageResource[]));
      cursor = (body.meta as { nextCursor: string | null }).nextCursor;
    }
    expect(walked).toEqual(ids(all));
    const oldest = (await core.get('/messages/list?order=asc&limit=1')).body.data as MessageResource[];
    expect(oldest[0]!.id).toBe(all.at(-1)!.id);
    for (const [query, fits] of [
      ['direction=inbound', (m: MessageResource) => m.direction === 'inbound'],
      ['type=image,document', (m: MessageResource) => ['image', 'document'].includes(m.type)],
      ['status=failed,cancelled', (m: MessageResource) => ['failed', 'cancelled'].includes(m.status)],
      ['status=pending', (m: MessageResource) => ['queued', 'sending'].includes(m.status)],
      ['search=IN ORDER', (m: MessageResource) => m.text?.startsWith('in order') ?? false],
      ['search=%25', () => false],
      [`contact=%2B${ana}&direction=inbound`, (m: MessageResource) => m.direction === 'inbound'],
      ['contact=184467440737@lid', (m: MessageResource) => m.contact?.lid === '184467440737@lid'],
      [`instanceId=${core.sessionId}`, () => true],
    ] as const) {
      const found = (await core.get(`/messages/list?limit=200&${query}`)).body.data as MessageResource[];
      expect([query, ids(found)]).toEqual([query, ids(all.filter(fits))]);
    }
    expect((await core.get('/messages/list?status=nonsense')).status).toBe(422);
  });

  test('a message of another account is not there, in any way', async () => {
    const { key } = await makeAccount(core.rig);
    const mine = dataOf(await core.send('mine'));
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['GET', '/timeline', undefined],
      ['GET', '/media', undefined],
      ['POST', '/retry', {}],
      ['POST', '/cancel', {}],
      ['POST', '/resolve', { as: 'sent' }],
    ] as const)
      for (const ref of [mine.id, mine.whatsappId!]) {
        const answer = await core.rig.call(method, `/messages/${ref}${path}`, { key, ...(body ? { body } : {}) });
        expect([path, answer.status, answer.body.error?.code]).toEqual([path, 404, 'MESSAGE_NOT_FOUND']);
      }
    expect((await core.rig.call('GET', '/messages', { key })).body.data).toEqual([]);
  });

  test('not connected: 409 with status and reason, nothing stored; queueIfOffline keeps it until the session is back', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const before = (await core.events('message.queued')).length;
    const refused = await core.send('nobody home');
    expect([refused.status, refused.body.error]).toMatchObject([
      409,
      { code: 'SESSION_NOT_CONNECTED', details: { status: 'connecting', reason: { code: 'RECONNECTING' } } },
    ]);
    expect(await core.events('message.queued')).toHaveLength(before);
    const kept = await core.send('wait for it', { queueIfOffline: true, async: true });
    expect([kept.status, kept.body.data]).toMatchObject([202, { status: 'queued', reason: { code: 'WAITING_FOR_SESSION' } }]);
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(dataOf(kept).id, 'sent');
  });

  test('the replies to messages that are accepted at the same time are what the events of each show', async () => {
    const texts = Array.from({ length: 12 }, (_, number) => `at once ${number}`);
    const answers = await Promise.all(texts.map((text) => core.send(text, { async: true, queueIfOffline: true })));
    const published = (await core.events('message.queued')).map(({ data }) => data as unknown as MessageResource);
    for (const [index, { status, body }] of answers.entries()) {
      const reply = body.data as unknown as MessageResource;
      expect([status, reply.text]).toEqual([202, texts[index]]);
      expect(published.find(({ id }) => id === reply.id)).toEqual(reply);
    }
    for (const answer of answers) await core.reaches(dataOf(answer).id, 'sent');
  });

  test('a session key reaches the messages of its own session alone', async () => {
    const other = (await core.post('/sessions', { name: `third-${database}` })).body.data as { id: string };
    const made = await core.post('/keys', { name: 'k', permissions: ['*'], sessionId: other.id });
    const { key } = made.body.data as { key: string };
    const mine = dataOf(await core.send('not for that key'));
    expect((await core.rig.call('GET', `/messages/${mine.id}`, { key })).status).toBe(404);
    expect((await core.rig.call('GET', '/messages', { key })).body.data).toEqual([]);
    const send = await core.rig.call('POST', '/messages/send-text', {
      key,
      body: { recipient: ana, message: 'x', sessionId: core.sessionId },
    });
    expect([send.status, send.body.error?.code]).toEqual([404, 'SESSION_NOT_FOUND']);
  });

  test('nothing of a message, a key or a number is in the log', async () => {
    const lines = core.rig.lines.join('\n');
    for (const secret of ['Your order has been paid.', 'Thank you', ana, core.rig.apiKey, '5511988887777'])
      expect(lines).not.toContain(secret);
  });
});
