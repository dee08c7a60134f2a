import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource, ObservedMessage, WorkerEventPayload } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

type Origin = WorkerEventPayload<'message.observed'>['origin'];

describe.each(await databases())('observed messages, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const observe = (message: ObservedMessage, origin: Origin = 'live') =>
    core.worker.emit(core.sessionId, 'message.observed', { message, origin });
  const found = async (key: string): Promise<MessageResource[]> =>
    ((await core.get('/messages?limit=200')).body.data as MessageResource[]).filter(({ whatsappId }) =>
      whatsappId?.includes(key),
    );
  const bruno = '5511999990002';
  const from = (number: string, more: Partial<ObservedMessage>): Partial<ObservedMessage> => ({
    ...more,
    whatsappId: `false_${number}@c.us_${more.key!}`,
    chat: { id: `${number}@c.us`, type: 'private', name: null },
    contact: { id: `${number}@c.us`, phone: `+${number}`, lid: null, name: null },
    from: `${number}@c.us`,
  });
  const eventsOf = async (id: string, types: string): Promise<Record<string, unknown>[]> =>
    (await core.events(types)).map(({ data }) => data).filter((data) => (data['messageId'] ?? data['id']) === id);

  describe('a key that is in use already', () => {
    test('of ours: a contact’s edit and deletion touch the contact’s own message', async () => {
      const ours = dataOf(await core.send('We owe you 10 EUR.'));
      const key = String((await core.events('message.sending')).at(-1)!.data['reservedId']);
      const theirs = core.inbound('forged', { key });
      await observe(theirs);
      const about = { whatsappId: theirs.whatsappId, key, chat: theirs.chat, at: new Date().toISOString() };
      await core.worker.emit(core.sessionId, 'message.edited', { ...about, text: 'We owe you 10,000 EUR.' });
      await core.worker.emit(core.sessionId, 'message.revoked', about);
      expect(await core.message(ours.id)).toMatchObject({ text: 'We owe you 10 EUR.', editedAt: null, revokedAt: null });
      const [row] = (await found(key)).filter(({ direction }) => direction === 'inbound');
      expect(row).toMatchObject({ text: 'We owe you 10,000 EUR.', revokedAt: about.at });
    });

    test('of another contact: both messages are rows, and each keeps its own edits', async () => {
      const key = '3AFEED0000000000000001';
      const first = core.inbound('from Ana', { key });
      const second = core.inbound('from Bruno', from(bruno, { key }));
      for (const message of [first, second, second, first]) await observe(message);
      const { whatsappId, chat } = second;
      await core.worker.emit(core.sessionId, 'message.edited', {
        whatsappId,
        key,
        chat,
        at: new Date().toISOString(),
        text: 'new',
      });
      const rows = await found(key);
      expect(rows.map(({ text, from: writer }) => `${writer}: ${text}`).sort()).toEqual([
        `${ana}@c.us: from Ana`,
        `${bruno}@c.us: new`,
      ]);
    });

    test('by the same person in another form: it is the same message', async () => {
      const key = '3AFEED0000000000000002';
      const lid = '184467440737@lid';
      await observe(core.inbound('once', { key }));
      await observe(
        core.inbound('once', {
          key,
          whatsappId: `false_${lid}_${key}`,
          chat: { id: lid, type: 'private', name: null },
          from: lid,
        }),
        'backfill',
      );
      expect(await found(key)).toHaveLength(1);
    });
  });

  describe('an edit and a deletion of one person touch no message of another', () => {
    let other: string;
    beforeAll(async () => {
      other = ((await core.post('/sessions', { name: 'other' })).body.data as { id: string }).id;
      await core.post(`/sessions/${other}/connect`, {});
      await core.worker.link(other);
    });
    const lidOf = (number: string): string => `77${number}@lid`;
    type By = 'phone' | 'lid' | 'both';
    const person = (number: string, by: By) => ({
      id: by === 'lid' ? lidOf(number) : `${number}@c.us`,
      phone: by === 'lid' ? null : `+${number}`,
      lid: by === 'phone' ? null : lidOf(number),
      name: null,
    });
    const inGroup = (number: string, key: string, by: By, group = '120363041111111111@g.us'): ObservedMessage => {
      const contact = person(number, by);
      return core.inbound('said', {
        key,
        whatsappId: `false_${group}_${key}_${contact.id}`,
        chat: { id: group, type: 'group', name: null },
        contact,
        from: contact.id,
      });
    };
    const inPrivate = (number: string, key: string, by: By): ObservedMessage => {
      const contact = person(number, by);
      return core.inbound('said', {
        key,
        whatsappId: `false_${contact.id}_${key}`,
        chat: { id: contact.id, type: 'private', name: null },
        contact,
        from: contact.id,
      });
    };
    interface Case {
      name: string;
      victim: (key: string) => ObservedMessage;
      attacker: (key: string) => ObservedMessage;
      at?: () => string;
    }
    const group2 = '120363042222222222@g.us';
    const forms: By[] = ['phone', 'lid', 'both'];
    const cases: Case[] = [
      ...forms.map((by): Case => ({
        name: `another participant of a group, known by ${by}`,
        victim: (key) => inGroup(ana, key, by),
        attacker: (key) => inGroup(bruno, key, by),
      })),
      {
        name: 'the same group’s member, from a private chat',
        victim: (key) => inGroup(ana, key, 'both'),
        attacker: (key) => inPrivate(bruno, key, 'lid'),
      },
      {
        name: 'a private chat, from a group',
        victim: (key) => inPrivate(ana, key, 'both'),
        attacker: (key) => inGroup(bruno, key, 'lid'),
      },
      {
        name: 'the same person in another chat',
        victim: (key) => inPrivate(ana, key, 'both'),
        attacker: (key) => inGroup(ana, key, 'both'),
      },
      {
        name: 'the same person in another group',
        victim: (key) => inGroup(ana, key, 'both'),
        attacker: (key) => inGroup(ana, key, 'both', group2),
      },
      ...forms.map((by): Case => ({
        name: `another private chat, known by ${by}`,
        victim: (key) => inPrivate(ana, key, by),
        attacker: (key) => inPrivate(bruno, key, by),
      })),
      {
        name: 'the same person’s message to another session',
        victim: (key) => inPrivate(ana, key, 'both'),
        attacker: (key) => inPrivate(ana, key, 'both'),
        at: () => other,
      },
    ];
    let count = 0;

    test.each(cases.flatMap((one) => [true, false].map((recorded) => ({ ...one, recorded }))))(
      '$name (their own message recorded: $recorded)',
      async ({ victim, attacker, recorded, at = () => core.sessionId }) => {
        const key = `3A150${String((count += 1)).padStart(14, '0')}`;
        await observe(victim(key));
        const theirs = attacker(key);
        if (recorded) await core.worker.emit(at(), 'message.observed', { message: theirs, origin: 'live' });
        const { whatsappId, chat, fromMe } = theirs;
        const about = { whatsappId, key, chat, fromMe, at: new Date().toISOString() };
        await core.worker.emit(at(), 'message.edited', { ...about, text: 'forged' });
        await core.worker.emit(at(), 'message.revoked', about);
        // What a scan after a time away tells.
        const after = {
          ...theirs,
          content: { type: 'text', message: 'forged again' } as const,
          editedAt: about.at,
          revokedAt: about.at,
        };
        await core.worker.emit(at(), 'message.observed', { message: after, origin: 'compare' });
        const rows = (await core.get('/messages?limit=200')).body.data as MessageResource[];
        const under = rows.filter((row) => row.whatsappId?.includes(key));
        const [untouched, ...rest] = under.filter(({ text, revokedAt, editedAt }) => text === 'said' && !revokedAt && !editedAt);
        expect([untouched?.whatsappId, untouched?.sessionId, rest]).toEqual([victim(key).whatsappId, core.sessionId, []]);
        expect(under.filter(({ revokedAt }) => revokedAt).map((row) => [row.whatsappId, row.sessionId, row.text])).toEqual(
          recorded ? [[whatsappId, at(), 'forged']] : [],
        );
        expect(under).toHaveLength(recorded ? 2 : 1);
      },
    );
  });

  describe.each([
    ['a message that is not decrypted yet', 'undecrypted'],
    ['a message to be viewed once', 'view_once'],
  ] as const)('%s', (_name, placeholder) => {
    test('is a row and an event, and is completed in its row when the content comes', async () => {
      const key = `3ACE${placeholder.length}000000000000001`;
      const empty = { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder } as const;
      await observe(core.inbound('', { key, content: empty }));
      const [row] = await found(key);
      expect(row).toMatchObject({ type: 'unknown', text: null, content: { placeholder }, contact: { phone: `+${ana}` } });
      expect(await eventsOf(row!.id, 'message.received')).toHaveLength(1);
      await observe(core.inbound('', { key, content: empty }), 'backfill');
      const media = { id: null, mimetype: 'image/png', size: 3, filename: null, sha256: null };
      const whole = core.inbound('', { key, content: { type: 'image', media, caption: 'look' } });
      await observe(whole);
      await observe(whole, 'backfill');
      const after = await found(key);
      expect(after).toMatchObject([{ id: row!.id, type: 'image', text: 'look', content: { caption: 'look' } }]);
      expect(after[0]!.content).toMatchObject({ media: { id: expect.any(String) } });
      expect(await eventsOf(row!.id, 'message.updated')).toMatchObject([{ change: 'completed', type: 'image', text: 'look' }]);
      expect(await eventsOf(row!.id, 'message.received')).toHaveLength(1);
    });
  });

  test('a message that was deleted from the log stays as it was, and no later change publishes its content', async () => {
    const message = core.inbound('said', { key: '3ADE000000000000000001' });
    await observe(message);
    const [row] = await found(message.key);
    expect((await core.rig.call('DELETE', `/messages/${row!.id}`)).status).toBe(200);
    const { whatsappId, key, chat } = message;
    const about = { whatsappId, key, chat, at: new Date().toISOString() };
    await core.worker.emit(core.sessionId, 'message.edited', { ...about, text: 'said again' });
    await observe({ ...message, content: { type: 'text', message: 'said otherwise' }, editedAt: about.at }, 'compare');
    await core.worker.emit(core.sessionId, 'message.revoked', about);
    await observe({ ...message, revokedAt: about.at }, 'compare');
    expect(await eventsOf(row!.id, 'message.updated')).toEqual([]);
    const [stored] = await core.rig.database.reader.query(
      `SELECT text, "editedAt", "revokedAt" FROM messages WHERE id = '${row!.id}'`,
    );
    expect(stored).toEqual({ text: 'said', editedAt: null, revokedAt: null });
  });

  describe('changes of a message while its session was offline', () => {
    const person = { id: `${ana}@c.us`, phone: `+${ana}`, lid: '184467440737@lid', name: 'Ana' };
    const at = (): string => new Date().toISOString();

    test('an edit is published once', async () => {
      const message = core.inbound('before', { key: '3AED000000000000000001' });
      await observe(message);
      const edited = { ...message, content: { type: 'text', message: 'after' } as const, editedAt: at() };
      await observe(edited, 'compare');
      await observe(edited, 'backfill');
      const [row] = await found(message.key);
      expect(row).toMatchObject({ text: 'after', editedAt: edited.editedAt });
      expect(await eventsOf(row!.id, 'message.updated')).toMatchObject([{ change: 'edited', previousText: 'before' }]);
    });

    test('an edit that is older than the published one changes nothing', async () => {
      const message = core.inbound('first', { key: '3AED000000000000000002' });
      await observe(message);
      const { whatsappId, key, chat } = message;
      await core.worker.emit(core.sessionId, 'message.edited', { whatsappId, key, chat, at: at(), text: 'third' });
      const older = { ...message, content: { type: 'text', message: 'second' } as const };
      await observe({ ...older, editedAt: new Date(Date.now() - 60_000).toISOString() }, 'backfill');
      expect(await found(key)).toMatchObject([{ text: 'third' }]);
    });

    test('a deletion is published once, and the row keeps the text', async () => {
      const message = core.inbound('said', { key: '3AED000000000000000003' });
      await observe(message);
      const gone = { type: 'unknown', whatsappType: 'revoked', message: null } as const;
      for (const origin of ['compare', 'backfill'] as const)
        await observe({ ...message, content: gone, revokedAt: at() }, origin);
      const [row] = await found(message.key);
      expect(row).toMatchObject({ text: 'said', type: 'text', revokedAt: expect.any(String) });
      expect(await eventsOf(row!.id, 'message.updated')).toMatchObject([{ change: 'revoked' }]);
    });

    test('a reaction that was added, changed or removed is published once', async () => {
      const message = core.inbound('react', { key: '3AED000000000000000004' });
      await observe(message);
      const [row] = await found(message.key);
      const steps: (string | null)[] = ['👍', '👍', '❤️', null, null];
      for (const emoji of steps) {
        const reactions = emoji ? [{ contact: person, emoji, at: at() }] : [];
        await observe({ ...message, reactions }, 'compare');
      }
      expect((await eventsOf(row!.id, 'message.reaction')).map(({ emoji }) => emoji)).toEqual(['👍', '❤️', null]);
    });

    test('a message that is only compared makes no row', async () => {
      const message = core.inbound('long ago', { key: '3AED000000000000000005', revokedAt: at() });
      await observe(message, 'compare');
      expect(await found(message.key)).toEqual([]);
    });
  });

  test('a notice of WhatsApp is history: a row, and neither an event nor a message that was received', async () => {
    const before = (await core.get('/sessions/current')).body.data as { counters: { received: number } };
    const key = '3A0A000000000000000001';
    const notice: ObservedMessage['content'] = {
      type: 'notice',
      whatsappType: 'gp2',
      subtype: 'add',
      message: null,
      participants: [`${ana}@c.us`],
    };
    await observe(core.inbound('', { key, content: notice }));
    const [row] = await found(key);
    expect(row).toMatchObject({
      type: 'notice',
      content: { whatsappType: 'gp2', subtype: 'add', participants: [`${ana}@c.us`] },
    });
    expect(await eventsOf(row!.id, 'message.received')).toEqual([]);
    expect((await core.get('/sessions/current')).body.data).toMatchObject({ counters: { received: before.counters.received } });
  });

  test('an answer to buttons names the chosen option', async () => {
    const key = '3A0B000000000000000001';
    const selectedOption = { id: 'yes-1', title: 'Yes' };
    await observe(core.inbound('', { key, content: { type: 'text', message: 'Yes', selectedOption } }));
    expect(await found(key)).toMatchObject([{ type: 'text', text: 'Yes', selectedOption, content: { selectedOption } }]);
    expect((await core.send('plain')).body.data).toMatchObject({ selectedOption: null });
  });

  test('the worker that runs the session next learns how far its messages are recorded', async () => {
    const at = new Date(Date.now() - 60_000).toISOString();
    const event = core.worker.queue(core.sessionId, 'session.caught_up', { phoneNumber: '5511988887777', at });
    expect((await core.worker.post([event])).refused).toEqual([]);
    await core.post('/sessions/disconnect', {});
    await eventually('the session to stop', async () => (await core.session()).status === 'disconnected');
    await core.post('/sessions/current/connect', {});
    expect(core.worker.caughtUp.get(core.sessionId)).toEqual({ phoneNumber: '5511988887777', at });
    await core.worker.link(core.sessionId);
  });

  test('a backfill is asked of the worker, and a time that is none is refused', async () => {
    expect(await core.post('/sessions/current/backfill', { since: '2026-11-28T10:00:00+01:00' })).toMatchObject({
      status: 202,
      body: { data: { started: true } },
    });
    expect(core.worker.lastOf('session.backfill')).toEqual({
      operation: 'session.backfill',
      input: { since: '2026-11-28T09:00:00.000Z' },
    });
    expect((await core.post('/sessions/current/backfill', { since: 'yesterday' })).status).toBe(422);
  });
});
