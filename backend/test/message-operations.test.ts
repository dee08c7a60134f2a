import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  AppError,
  parseMessageKey,
  type FoundMessageResource,
  type MessageResource,
  type ObservedMessage,
} from '@chasqui/shared';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What follows an operation on a message in the log of this gateway: at once, and once. */

describe.each(await databases())('operations on messages, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const call = (method: string, path: string, body?: object): Promise<Reply> => core.rig.call(method, path, body ? { body } : {});
  const sent = async (text: string): Promise<MessageResource> => core.reaches(dataOf(await core.send(text)).id, 'sent');
  const received = async (text: string, more: Partial<ObservedMessage> = {}): Promise<MessageResource> => {
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text, more), origin: 'live' });
    return eventually(`the message ${text}`, async () =>
      ((await core.get('/messages?limit=200')).body.data as MessageResource[]).find((message) => message.text === text),
    );
  };
  /** The message as the page shows it. */
  const shown = (message: MessageResource, more: Partial<ObservedMessage> = {}): ObservedMessage =>
    core.inbound(message.text ?? '', {
      key: parseMessageKey(message.whatsappId!)!.key,
      whatsappId: message.whatsappId!,
      fromMe: message.direction === 'outbound',
      ...(message.direction === 'outbound' ? { from: '5511988887777@c.us', ack: 1 } : {}),
      ...more,
    });
  const answerWith = (operation: string, output: unknown): void => void core.worker.answer.set(operation, output as never);
  const updates = async (id: string) =>
    (await core.events('message.updated')).map(({ data }) => data).filter((data) => data['id'] === id);
  const edited = (message: MessageResource, text: string, at: string) =>
    core.worker.emit(core.sessionId, 'message.edited', {
      whatsappId: message.whatsappId!,
      key: parseMessageKey(message.whatsappId!)!.key,
      fromMe: message.direction === 'outbound',
      chat: message.chat,
      at,
      text,
    });
  const editTo = async (message: MessageResource, text: string, at: string): Promise<Reply> => {
    answerWith('messages.edit', { message: shown(message, { content: { type: 'text', message: text }, editedAt: at }) });
    return call('PATCH', `/messages/${message.id}`, { message: text });
  };
  const minute = (offset: number): string => new Date(Date.now() + offset).toISOString();

  describe('an edit', () => {
    test('is in the reply and in the log at once; the page’s own event changes nothing', async () => {
      const message = await sent('Good mourning');
      const at = minute(0);
      const reply = await editTo(message, 'Good morning', at);
      expect(dataOf(reply)).toMatchObject({ id: message.id, text: 'Good morning', editedAt: at });
      await edited(message, 'Good morning', at);
      expect(await updates(message.id)).toMatchObject([
        { change: 'edited', text: 'Good morning', previousText: 'Good mourning' },
      ]);
      const timeline = (await core.get(`/messages/${message.id}/timeline`)).body.data as {
        status: string;
        previousText: string;
      }[];
      expect(timeline.filter(({ status }) => status === 'edited')).toMatchObject([{ previousText: 'Good mourning' }]);
    });

    test('is one when the event and the operation are recorded at the same time', async () => {
      const message = await sent('one');
      const at = minute(0);
      const [reply] = await Promise.all([editTo(message, 'two', at), edited(message, 'two', at)]);
      expect(reply.status).toBe(200);
      expect(await updates(message.id)).toHaveLength(1);
      expect(await core.message(message.id)).toMatchObject({ text: 'two', editedAt: at });
    });

    test('is not undone by the late event of the edit before it', async () => {
      const message = await sent('first');
      const [before, after] = [minute(-5_000), minute(0)];
      await editTo(message, 'second', before);
      await editTo(message, 'third', after);
      await edited(message, 'second', before);
      await edited(message, 'third', after);
      expect(await core.message(message.id)).toMatchObject({ text: 'third', editedAt: after });
      expect((await updates(message.id)).map(({ text }) => text)).toEqual(['second', 'third']);
    });

    describe('of a calendar event', () => {
      const event = {
        type: 'calendar_event' as const,
        name: 'Delivery',
        description: null,
        startsAt: '2027-01-15T14:00:00.000Z',
        endsAt: null,
        location: 'Main street 1',
        joinUrl: null,
        isCancelled: false,
      };
      const create = async (): Promise<MessageResource> => {
        const { name, startsAt, location } = event;
        const body = { recipient: ana, name, startsAt, location };
        return core.reaches(dataOf(await core.post('/messages/send-calendar-event', body)).id, 'sent');
      };

      test('is in the reply, in the log and in the history; two of the same time are two', async () => {
        const message = await create();
        const at = minute(0);
        const changed = { ...event, startsAt: '2027-01-16T09:00:00.000Z', location: null };
        answerWith('messages.edit', { message: shown(message, { content: changed, editedAt: at }) });
        const body = { startsAt: '2027-01-16T06:00:00-03:00', location: null };
        const reply = dataOf(await call('PATCH', `/messages/${message.id}`, body));
        expect(reply).toMatchObject({
          text: 'Delivery',
          editedAt: at,
          content: { name: 'Delivery', startsAt: '2027-01-16T09:00:00.000Z', location: null, callType: 'none' },
        });
        answerWith('messages.edit', { message: shown(message, { content: { ...changed, isCancelled: true }, editedAt: at }) });
        expect(dataOf(await call('PATCH', `/messages/${message.id}`, { cancelled: true }))).toMatchObject({
          status: 'sent',
          content: { isCancelled: true },
        });
        // A repeated answer changes nothing.
        await call('PATCH', `/messages/${message.id}`, { cancelled: true });
        expect(await updates(message.id)).toMatchObject([{ change: 'edited' }, { change: 'edited' }]);
        expect(core.worker.lastOf('messages.edit')?.input).toMatchObject({
          cancelled: true,
        });
      });

      test('that the page reports besides is one with that of the operation, and one that was made on the phone is recorded', async () => {
        const message = await create();
        const at = minute(0);
        const changed = { ...event, name: 'Pick-up' };
        const report = (content: ObservedMessage['content'], editedAt: string) =>
          core.worker.emit(core.sessionId, 'message.observed', {
            message: shown(message, { content, editedAt }),
            origin: 'compare',
          });
        answerWith('messages.edit', { message: shown(message, { content: changed, editedAt: at }) });
        await Promise.all([call('PATCH', `/messages/${message.id}`, { name: 'Pick-up' }), report(changed, minute(5))]);
        expect(await updates(message.id)).toMatchObject([{ change: 'edited', text: 'Pick-up', previousText: 'Delivery' }]);
        await report({ ...changed, isCancelled: true }, minute(1_000));
        expect((await core.message(message.id)).content).toMatchObject({ name: 'Pick-up', isCancelled: true });
        // A report from before that is not the newest state.
        await report(changed, minute(-60_000));
        expect((await core.message(message.id)).content).toMatchObject({ isCancelled: true });
      });

      test('whose effect is not known leaves the message as it was', async () => {
        const message = await create();
        answerWith('messages.edit', new AppError('OPERATION_TIMEOUT', { operation: 'messages.edit', effect: 'unknown' }));
        const { status, body } = await call('PATCH', `/messages/${message.id}`, { cancelled: true });
        expect([status, body.error?.code, body.error?.details?.['effect']]).toEqual([504, 'OPERATION_TIMEOUT', 'unknown']);
        expect(await core.message(message.id)).toMatchObject({ editedAt: null, content: { name: 'Delivery' } });
      });

      test.each<[string, object, string, string]>([
        ['nothing', {}, 'message', 'REQUIRED'],
        ['a text and a field of an event', { message: 'x', name: 'y' }, 'name', 'AMBIGUOUS'],
        [
          'an end before the start',
          { startsAt: '2027-01-15T14:00:00Z', endsAt: '2027-01-15T13:00:00Z' },
          'endsAt',
          'BEFORE_START',
        ],
        ['an event that is no longer cancelled', { cancelled: false }, 'cancelled', ''],
      ])('is refused with %s, and the worker is not asked', async (_what, body, path, code) => {
        const message = await create();
        const before = core.worker.operations.length;
        const refused = await call('PATCH', `/messages/${message.id}`, body);
        expect(refused.status).toBe(422);
        expect(refused.body.error?.details).toMatchObject({ fields: [{ path, ...(code ? { code } : {}) }] });
        expect(core.worker.operations.length).toBe(before);
      });
    });

    test('that WhatsApp does not allow is 409 and changes nothing', async () => {
      const message = await sent('carved in stone');
      answerWith('messages.edit', new AppError('MESSAGE_NOT_EDITABLE', { reason: 'WhatsApp allows it for 15 minutes.' }));
      const { status, body } = await call('PATCH', `/messages/${message.id}`, { message: 'changed' });
      expect([status, body.error?.code]).toEqual([409, 'MESSAGE_NOT_EDITABLE']);
      expect(await core.message(message.id)).toMatchObject({ text: 'carved in stone', editedAt: null });
    });

    test('leaves no text where the session stores none, and is one all the same', async () => {
      const keep = (storage: string) => call('PUT', `/sessions/${core.sessionId}`, { settings: { storage } });
      expect((await keep('metadata')).status).toBe(200);
      try {
        const message = await sent('private');
        const at = minute(0);
        await editTo(message, 'very private', at);
        await edited(message, null as never, at);
        expect(await core.message(message.id)).toMatchObject({ text: null, content: null, editedAt: at });
        expect((await updates(message.id)).map(({ text, previousText }) => [text, previousText])).toEqual([[null, null]]);
      } finally {
        await keep('full');
      }
    });
  });

  describe('a deletion', () => {
    test('for everyone is in the log at once and once; the row stays', async () => {
      const message = await sent('never said');
      const at = minute(0);
      answerWith('messages.delete', { message: shown(message, { revokedAt: at }) });
      const reply = await call('DELETE', `/messages/${message.id}?scope=everyone`);
      expect(dataOf(reply)).toMatchObject({ id: message.id, revokedAt: at, deletedAt: null });
      await core.worker.emit(core.sessionId, 'message.revoked', {
        whatsappId: message.whatsappId!,
        key: parseMessageKey(message.whatsappId!)!.key,
        fromMe: true,
        chat: message.chat,
        at: minute(900),
      });
      expect((await updates(message.id)).map(({ change }) => change)).toEqual(['revoked']);
      expect(await core.message(message.id)).toMatchObject({ revokedAt: at });
    });

    test('for everyone that WhatsApp does not allow deletes nothing', async () => {
      const message = await sent('too old');
      answerWith('messages.delete', new AppError('MESSAGE_NOT_EDITABLE'));
      const { status, body } = await call('DELETE', `/messages/${message.id}?scope=everyone`);
      expect([status, body.error?.code]).toEqual([409, 'MESSAGE_NOT_EDITABLE']);
      expect(await core.message(message.id)).toMatchObject({ revokedAt: null, deletedAt: null });
    });

    test('for the linked account removes it from the log, and no scan brings it back', async () => {
      const message = await received('seen enough');
      answerWith('messages.delete', { message: shown(message) });
      const reply = await call('DELETE', `/messages/${message.id}?scope=me`);
      expect(dataOf(reply)).toMatchObject({ id: message.id, deletedAt: expect.any(String), revokedAt: null });
      await core.worker.emit(core.sessionId, 'message.observed', { message: shown(message), origin: 'backfill' });
      expect((await core.get(`/messages/${message.id}`)).status).toBe(404);
      expect(((await core.get('/messages?search=seen%20enough')).body.data as unknown[]).length).toBe(0);
    });

    test('from the log asks nothing of WhatsApp, and needs no message there', async () => {
      core.worker.script({ do: 'fail', reason: 'WHATSAPP_REFUSED', retryable: false });
      const { id } = dataOf(await core.send('refused', { async: true }));
      await core.reaches(id, 'failed');
      const before = core.worker.operations.length;
      const reply = await call('DELETE', `/messages/${id}`);
      expect(dataOf(reply)).toMatchObject({ id, deletedAt: expect.any(String) });
      expect(core.worker.operations).toHaveLength(before);
      expect((await call('DELETE', `/messages/${id}`)).status).toBe(404);
      const audit = await core.rig.database.reader.query(
        `SELECT action, "objectId" FROM audit_logs WHERE action = 'messages.delete' AND "objectId" = '${id}'`,
      );
      expect(audit).toHaveLength(1);
    });

    test.each([
      ['OPERATION_TIMEOUT', 'unknown', 1],
      ['WHATSAPP_ERROR', 'unknown', 1],
      ['WHATSAPP_ERROR', 'none', 0],
    ] as const)('that ends with %s and effect %s has %p entries in the audit log', async (code, effect, entries) => {
      const message = await sent(`perhaps deleted ${code} ${effect}`);
      answerWith('messages.delete', new AppError(code, { operation: 'messages.delete', effect }));
      const { body } = await call('DELETE', `/messages/${message.id}?scope=everyone`);
      expect([body.error?.code, body.error?.details?.['effect']]).toEqual([code, effect]);
      const audit = await core.rig.database.reader.query(
        `SELECT changes FROM audit_logs WHERE action = 'messages.delete' AND "objectId" = '${message.id}'`,
      );
      expect(audit).toHaveLength(entries);
      if (entries > 0) expect(JSON.stringify(audit)).toContain(effect);
    });

    test('of a message that may still be sent is refused', async () => {
      core.worker.script({ do: 'uncertain' });
      core.worker.proves = false;
      const { id } = dataOf(await core.send('on its way', { async: true }));
      await core.reaches(id, 'uncertain');
      const { status, body } = await call('DELETE', `/messages/${id}?scope=log`);
      expect([status, body.error?.code]).toEqual([409, 'MESSAGE_NOT_EDITABLE']);
      // Otherwise it is sent again during a later test.
      expect((await core.post(`/messages/${id}/resolve`, { as: 'failed' })).status).toBe(200);
      core.worker.proves = true;
    });
  });

  test('a message that was never sent has nothing in WhatsApp to act on', async () => {
    core.worker.script({ do: 'fail', reason: 'WHATSAPP_REFUSED', retryable: false });
    const { id } = dataOf(await core.send('refused again', { async: true }));
    await core.reaches(id, 'failed');
    await core.rig.database.write.run((tx) =>
      tx.manager.query(`UPDATE messages SET "whatsappId" = NULL WHERE id = '${id}'`).then(() => undefined),
    );
    for (const [method, path, body] of [
      ['PATCH', '', { message: 'x' }],
      ['DELETE', '?scope=everyone', undefined],
      ['PUT', '/star', undefined],
      ['POST', '/seen', undefined],
      ['GET', '/receipts', undefined],
    ] as const) {
      const { status, body: answer } = await call(method, `/messages/${id}${path}`, body);
      expect([method, path, status, answer.error?.code]).toEqual([method, path, 404, 'MESSAGE_NOT_FOUND']);
    }
  });

  test('“seen” marks the messages of the chat as read under either id of the person, each with one event', async () => {
    const lid = '184467440737@lid';
    const inLid = {
      whatsappId: `false_${lid}_3ASEEN0000000001`,
      key: '3ASEEN0000000001',
      chat: { id: lid, type: 'private', name: null },
    } as const;
    const one = await received('read me');
    const two = await received('read me too', { ...inLid, from: lid });
    const other = { id: '5511999990077@c.us', phone: '+5511999990077', lid: null, name: null };
    const elsewhere = await received('not me', {
      whatsappId: 'false_5511999990077@c.us_3ASEEN0000000002',
      key: '3ASEEN0000000002',
      chat: { id: other.id, type: 'private', name: null },
      contact: other,
      from: other.id,
    });
    answerWith('messages.seen', {});
    const reply = await call('POST', `/messages/${one.id}/seen`, {});
    expect(dataOf(reply)).toMatchObject({ id: one.id, status: 'read' });
    expect(await core.message(two.id)).toMatchObject({ status: 'read' });
    expect(await core.message(elsewhere.id)).toMatchObject({ status: 'delivered' });
    await call('POST', `/messages/${two.id}/seen`, {});
    const acks = (await core.events('message.ack')).filter(({ data }) => [one.id, two.id].includes(String(data['id'])));
    expect(acks.map(({ data }) => data['status'])).toEqual(['read', 'read']);
  });

  describe('a message named below its chat', () => {
    const inChat = (chat: string, ref: string): string =>
      `/sessions/${core.sessionId}/chats/${encodeURIComponent(chat)}/messages/${encodeURIComponent(ref)}`;

    test('is found by both ids, and only in its chat', async () => {
      const message = await received('find me');
      answerWith('messages.get', shown(message));
      for (const chat of [`+${ana}`, `${ana}@c.us`, '184467440737@lid'])
        for (const ref of [message.id, message.whatsappId!]) {
          const reply = await core.get(inChat(chat, ref));
          expect([chat, ref, dataOf(reply)?.id]).toEqual([chat, ref, message.id]);
        }
      for (const ref of [message.id, message.whatsappId!, 'nonsense', '0197ffff-0000-7000-8000-000000000000']) {
        const { status, body } = await core.get(inChat('+5511999990099', ref));
        expect([ref, status, body.error?.code]).toEqual([ref, 404, 'MESSAGE_NOT_FOUND']);
      }
    });

    test('that only WhatsApp has is shown without an id of ours, and nothing is stored', async () => {
      const unknown = core.inbound('before our time', { key: '3AOLD000000000001' });
      answerWith('messages.get', unknown);
      const reply = await core.get(inChat(`${ana}@c.us`, unknown.whatsappId));
      expect(reply.body.data as FoundMessageResource).toMatchObject({
        id: null,
        text: 'before our time',
        whatsappId: unknown.whatsappId,
      });
      answerWith('messages.edit', { message: { ...unknown, content: { type: 'text', message: 'edited' }, editedAt: minute(0) } });
      const changed = await call('PATCH', inChat(`${ana}@c.us`, unknown.whatsappId), { message: 'edited' });
      expect(changed.body.data as FoundMessageResource).toMatchObject({ id: null, text: 'edited' });
      expect(((await core.get('/messages?search=edited')).body.data as unknown[]).length).toBe(0);
    });

    test('cannot be deleted from the log there', async () => {
      const message = await received('keep me');
      expect((await call('DELETE', `${inChat(`${ana}@c.us`, message.id)}?scope=log`)).status).toBe(422);
      answerWith('messages.delete', { message: shown(message) });
      expect((await call('DELETE', inChat(`${ana}@c.us`, message.id))).status).toBe(200);
      expect((await core.get(`/messages/${message.id}`)).status).toBe(404);
    });
  });

  test('the messages of a chat have our id where they are in the log, and the page’s content', async () => {
    const known = await received('known to both');
    const hidden = await received('deleted here');
    await call('DELETE', `/messages/${hidden.id}`);
    const unknown = core.inbound('known to WhatsApp', { key: '3AOLD000000000002' });
    answerWith('history.messages', [shown(known), shown(hidden), unknown]);
    const { body } = await core.get(`/sessions/${core.sessionId}/chats/${ana}/messages?fromMe=false&limit=3`);
    const found = body.data as FoundMessageResource[];
    expect(found.map(({ id, text }) => [id, text])).toEqual([
      [known.id, 'known to both'],
      [null, 'deleted here'],
      [null, 'known to WhatsApp'],
    ]);
    expect(core.worker.lastOf('history.messages')).toMatchObject({ input: { chatId: `${ana}@c.us`, limit: 3, fromMe: false } });
  });
});
