import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { promisify } from 'node:util';
import { fromBuffer, type Entry, type ZipFile } from 'yauzl';
import { newId, type MessageResource, type ObservedMessage } from '@chasqui/shared';
import { insertRow } from '../src/db/rows.js';
import { Failure } from '../src/failures/failure.entity.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { filesUnder } from './support/files.js';
import { startSink, type Sink } from './support/sink.js';

const ben = '5511999990077';
const lid = '900100200300@lid';
const group = '120363000000000001@g.us';
const marks = {
  body: 'SAID-by-ana-5a1c',
  name: 'NAME-of-ana-6b2d',
  answer: 'TOLD-to-ana-7c3e',
  group: 'IN-group-8d4f',
  ben: 'SAID-to-ben-9e5a',
};
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

async function unzip(bytes: Buffer): Promise<Map<string, Buffer>> {
  const zip = (await promisify(
    fromBuffer as never as (bytes: Buffer, options: object, done: (error: Error | null, zip: ZipFile) => void) => void,
  )(bytes, {
    lazyEntries: true,
  })) as ZipFile;
  const files = new Map<string, Buffer>();
  await new Promise<void>((resolve, reject) => {
    zip.on('entry', (entry: Entry) =>
      zip.openReadStream(entry, (error, stream) => {
        if (error) return reject(error);
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => (files.set(entry.fileName, Buffer.concat(chunks)), zip.readEntry()));
      }),
    );
    zip.on('end', resolve);
    zip.readEntry();
  });
  return files;
}

describe.each(await databases())('one contact on %s', (database) => {
  let core: Core;
  let sink: Sink;
  let hook: string;
  const ids: Record<string, string> = {};
  beforeAll(async () => {
    core = await startCore({ database, settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
    sink = await startSink();
    hook = ((await core.post('/webhooks', { url: sink.url, events: ['message.*'] })).body.data as { id: string }).id;
    const seen = (more: Partial<ObservedMessage>, text: string): ObservedMessage =>
      core.inbound(text, { contact: { id: `${ana}@c.us`, phone: `+${ana}`, lid, name: marks.name }, ...more });
    const tell = (message: ObservedMessage) => core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    await tell(seen({ chat: { id: `${ana}@c.us`, type: 'private', name: marks.name } }, marks.body));
    // Later WhatsApp calls her by her hidden id alone.
    await tell(
      seen(
        {
          chat: { id: lid, type: 'private', name: marks.name },
          contact: { id: lid, phone: null, lid, name: marks.name },
          from: lid,
          whatsappId: `false_${lid}_3AHIDDEN`,
          key: '3AHIDDEN',
        },
        `${marks.body} again`,
      ),
    );
    await tell(
      seen(
        {
          chat: { id: group, type: 'group', name: 'The street' },
          whatsappId: `false_${group}_3AGROUP_${ana}@c.us`,
          key: '3AGROUP',
        },
        marks.group,
      ),
    );
    // Others speak of her: in a mention, in an answer to her message, and with her card.
    const byBen = (key: string, more: Partial<ObservedMessage>): Partial<ObservedMessage> => ({
      chat: { id: group, type: 'group', name: 'The street' },
      contact: { id: `${ben}@c.us`, phone: `+${ben}`, lid: null, name: 'Ben' },
      from: `${ben}@c.us`,
      whatsappId: `false_${group}_${key}_${ben}@c.us`,
      key,
      ...more,
    });
    const quotedWhatsappId = `false_${group}_3AGROUP_${ana}@c.us`;
    const mentions = [`${ana}@c.us`, `${ben}@c.us`];
    await tell(seen(byBen('3ABEN', { mentions, quotedWhatsappId }), `Ask @${ana}, or @${lid.split('@')[0]}`));
    const vcard = `BEGIN:VCARD\nVERSION:3.0\nFN:${marks.name}\nTEL;waid=${ana}:+${ana}\nEND:VCARD`;
    const card = { type: 'contact' as const, contacts: [{ name: marks.name, phone: `+${ana}`, vcard }] };
    await tell(seen(byBen('3ACARD', { content: card }), ''));
    await core.rig.database.write.run((tx) =>
      insertRow(tx, Failure, {
        id: newId(Date.now()),
        kind: 'message',
        subject: `chat ${ana}@c.us`,
        accountId: null,
        sessionId: core.sessionId,
        code: 'INTERNAL_ERROR',
        detail: 'x',
        firstAt: new Date(),
        lastAt: new Date(),
        count: 1,
      }),
    );
    const sent = dataOf(await core.send(marks.answer, {}, { 'Idempotency-Key': 'to-ana' }));
    ids['sent'] = sent.id;
    ids['image'] = dataOf(
      await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture, caption: marks.answer }),
    ).id;
    await core.reaches(ids['image'], 'sent');
    await core.worker.emit(core.sessionId, 'message.reaction', {
      whatsappId: sent.whatsappId!,
      key: sent.whatsappId!.split('_')[2]!,
      chat: sent.chat,
      contact: { id: `${ana}@c.us`, phone: `+${ana}`, lid, name: marks.name },
      emoji: '🎉',
      at: new Date().toISOString(),
    });
    ids['ben'] = dataOf(await core.send(marks.ben, { recipient: ben })).id;
  });
  afterAll(async () => {
    await core?.close();
    await sink?.close();
  });

  const done = (kind: 'exports' | 'erasures', id: string) =>
    eventually('it to be done', async () => {
      const { data } = (await core.get(`/privacy/${kind}/${id}`)).body as {
        data: { status: string; counts: Record<string, number> };
      };
      return ['done', 'failed'].includes(data.status) ? data : null;
    });
  const fileOf = (id: string) =>
    fetch(`${core.rig.url}/api/v1/privacy/exports/${id}/file`, { headers: { authorization: `ApiKey ${core.rig.apiKey}` } });
  const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

  async function foundIn(text: string): Promise<string[]> {
    const tables =
      database === 'postgres'
        ? await core.rig.database.reader.query<{ name: string }[]>(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
          )
        : await core.rig.database.reader.query<{ name: string }[]>("SELECT name FROM sqlite_master WHERE type = 'table'");
    const found: string[] = [];
    for (const { name } of tables) {
      const rows = await core.rig.database.reader.query<object[]>(`SELECT * FROM "${name}"`);
      for (const row of rows)
        if (JSON.stringify(row).includes(text)) found.push(`${name} ${(row as { type?: string }).type ?? ''}`.trim());
    }
    for (const file of await filesUnder(core.rig.dataDir))
      if ((await readFile(file)).includes(text)) found.push(file.slice(core.rig.dataDir.length));
    return found;
  }

  test('a request that names no person, or is not confirmed, is refused', async () => {
    expect(codeOf(await core.post('/privacy/exports', { contact: 'nobody' }))).toEqual([422, 'INVALID_RECIPIENT']);
    expect(codeOf(await core.post('/privacy/exports', { contact: group }))).toEqual([422, 'INVALID_RECIPIENT']);
    expect(codeOf(await core.post('/privacy/erasures', { contact: ana, confirm: ben }))).toEqual([422, 'CONFIRMATION_REQUIRED']);
  });

  test('an export contains every message, event and file of the person, under every name of theirs, and no other person’s', async () => {
    await core.post('/opt-outs', { contacts: [ana] });
    const asked = await core.post('/privacy/exports', { contact: `+${ana}` });
    expect([asked.status, asked.body.data]).toMatchObject([202, { contact: `+${ana}` }]);
    ids['export'] = (asked.body.data as { id: string }).id;
    const early = await fileOf(ids['export']);
    if (early.status !== 200)
      expect([early.status, ((await early.json()) as Reply['body']).error?.code]).toEqual([409, 'EXPORT_NOT_READY']);
    expect(await done('exports', ids['export'])).toMatchObject({ status: 'done', counts: { messages: 5, files: 1 } });
    const answer = await fileOf(ids['export']);
    expect(answer.headers.get('content-type')).toBe('application/zip');
    const files = await unzip(Buffer.from(await answer.arrayBuffer()));
    const messages = JSON.parse(files.get('messages.json')!.toString()) as MessageResource[];
    expect(messages.map(({ text }) => text).sort()).toEqual(
      [marks.answer, marks.answer, marks.body, `${marks.body} again`, marks.group].sort(),
    );
    const people = JSON.parse(files.get('contacts.json')!.toString()) as unknown[];
    expect(people).toMatchObject([
      { phone: `+${ana}`, lid, name: marks.name, ids: expect.arrayContaining([`${ana}@c.us`, lid]) },
    ]);
    const optOuts = JSON.parse(files.get('opt-outs.json')!.toString()) as unknown[];
    expect(optOuts).toMatchObject([{ contact: { phone: `+${ana}`, lid }, source: 'api' }]);
    const counts = JSON.parse(files.get('counts.json')!.toString()) as { chatId: string; inbound: number; outbound: number }[];
    expect(counts.map(({ chatId }) => [`${ana}@c.us`, lid].includes(chatId))).not.toContain(false);
    const isPrivate = messages.filter(({ chat }) => chat.type === 'private');
    expect(counts.reduce((sum, { inbound, outbound }) => sum + inbound + outbound, 0)).toBe(isPrivate.length);
    const events = files.get('events.json')!.toString();
    expect(events).toContain('🎉');
    expect([...files.keys()].filter((name) => name.startsWith('media/'))).toHaveLength(1);
    expect([...files].find(([name]) => name.startsWith('media/'))![1].equals(Buffer.from(picture, 'base64'))).toBe(true);
    for (const bytes of files.values()) expect(bytes.includes(marks.ben)).toBe(false);
    expect((await core.events('export.ready')).map(({ data }) => data['exportId'])).toEqual([ids['export']]);
  });

  test('an erasure leaves rows and counts, and nothing of the person in any table or file', async () => {
    // What was sent to webhooks stands in their log.
    await eventually('the deliveries', async () => {
      const list = (await core.get(`/webhooks/${hook}/deliveries?status=pending`)).body.data as unknown[];
      return list.length === 0 && sink.taken.length > 5;
    });
    expect((await foundIn(marks.body)).some((place) => place.startsWith('webhook_attempts'))).toBe(true);
    // Retention took an event whose delivery is still in the log of its webhook.
    const { write } = core.rig.database;
    const [old] = await core.rig.database.reader.query<{ cursor: number }[]>(
      `SELECT MIN(cursor) AS cursor FROM events WHERE data LIKE '%Ask @%'`,
    );
    await write.run((tx) => tx.manager.query(`DELETE FROM events WHERE cursor = ${Number(old!.cursor)}`));
    await core.post('/privacy/exports', { contact: lid });
    // A replayed reply that names the contact, and one that does not.
    const make = (filter: object, key: string) =>
      core.rig.call('POST', '/webhooks', {
        body: { url: sink.url, events: ['message.sent'], filter },
        headers: { 'Idempotency-Key': key },
      });
    const [filtered, other] = [{ chats: [`+${ana}`, group] }, { chats: [group] }];
    const named = await make(filtered, 'filter-ana');
    const onlyAna = await make({ chats: [`${ana}@c.us`] }, 'filter-only-ana');
    const unnamed = await make(other, 'filter-group');
    expect([named.status, onlyAna.status, unnamed.status]).toEqual([201, 201, 201]);
    const hookOf = ({ body }: Reply): string => `/webhooks/${(body.data as { id: string }).id}`;
    expect((await core.rig.call('PUT', hookOf(named), { body: { filter: { chats: [lid, ana, group] } } })).status).toBe(200);
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const waiting = dataOf(await core.send(marks.answer, { async: true, queueIfOffline: true }));
    const counters = async () => ((await core.get('/sessions')).body.data as { counters: object }[])[0]!.counters;
    const before = await counters();
    const asked = await core.post('/privacy/erasures', { contact: ana, confirm: ana });
    expect(asked.status).toBe(202);
    const { id } = asked.body.data as { id: string };
    expect(await done('erasures', id)).toMatchObject({ status: 'done', contact: null, counts: { messages: 6, files: 1 } });
    for (const text of [marks.body, marks.answer, marks.name, marks.group, lid])
      expect([text, await foundIn(text)]).toEqual([text, []]);
    // Named once, for integrations that must do the same.
    expect((await foundIn(ana)).filter((place) => !place.startsWith('/'))).toEqual(['events contact.erased']);
    expect(await core.message(ids['sent']!)).toMatchObject({
      status: 'sent',
      text: null,
      content: null,
      contact: null,
      chat: { id: 'erased' },
    });
    const ofBen = ((await core.get(`/messages?chatId=${group}`)).body.data as MessageResource[]).filter(
      ({ contact }) => contact?.name === 'Ben',
    );
    expect(ofBen.map(({ text, mentions, quotedMessageId }) => ({ text, mentions, quotedMessageId }))).toEqual([
      { text: null, mentions: [], quotedMessageId: null },
      { text: 'Ask @erased, or @erased', mentions: [`${ben}@c.us`], quotedMessageId: null },
    ]);
    for (const [filter, key] of [
      [filtered, 'filter-ana'],
      [{ chats: [`${ana}@c.us`] }, 'filter-only-ana'],
    ] as const)
      expect(codeOf(await make(filter, key))).toEqual([410, 'CONTENT_WIPED']);
    expect((await make(other, 'filter-group')).body).toEqual(unnamed.body);
    const filterOf = async (reply: Reply) => ((await core.get(hookOf(reply))).body.data as { filter: object }).filter;
    expect(await filterOf(named)).toEqual({ chats: [group] });
    // A filter without a chat would let the events of every chat pass.
    expect(await filterOf(onlyAna)).toEqual({ chats: ['erased'] });
    expect((await core.message(waiting.id)).status).toBe('cancelled');
    expect((await core.get(`/messages/${ids['image']}/media`)).status).toBe(404);
    expect((await core.message(ids['ben']!)).text).toBe(marks.ben);
    expect(await counters()).toEqual(before);
    // The export goes with them.
    expect((await filesUnder(core.rig.dataDir)).filter((file) => file.includes('/exports/'))).toEqual([]);
    expect((await fileOf(ids['export']!)).status).toBe(410);
    const audit = (await core.get('/audit?action=contact.erase')).body.data as object[];
    expect(audit).toMatchObject([{ action: 'contact.erase', object: { type: 'contact', id }, changes: {} }]);
    await core.worker.move(core.sessionId, 'connected', null);
  });

  test('later reports of WhatsApp do not restore the person, and a repeated request sends nothing again', async () => {
    const [left] = core.worker.left.filter(({ messageId }) => messageId === ids['sent']);
    const { reservedId: key } = left!.command;
    const chat = { id: `${ana}@c.us`, type: 'private' as const, name: marks.name };
    await core.worker.emit(core.sessionId, 'message.ack', {
      whatsappId: `true_${ana}@c.us_${key}`,
      key,
      chat,
      at: new Date().toISOString(),
      ack: 3,
      participant: { id: `${ana}@c.us`, phone: `+${ana}`, lid, name: marks.name },
    });
    const own = core.inbound(marks.answer, { fromMe: true, key, chat, whatsappId: `true_${ana}@c.us_${key}`, ack: 3 });
    await core.worker.emit(core.sessionId, 'message.observed', { message: own, origin: 'backfill' });
    expect(await core.message(ids['sent']!)).toMatchObject({ status: 'read', text: null, contact: null, chat: { id: 'erased' } });
    expect(await foundIn(marks.name)).toEqual([]);
    const again = await core.send(marks.answer, {}, { 'Idempotency-Key': 'to-ana' });
    expect(dataOf(again)).toMatchObject({ id: ids['sent'], text: null });
    expect(core.worker.left.filter(({ messageId }) => messageId === ids['sent'])).toHaveLength(1);
  });

  test('an erasure that the database did not let finish goes on by itself', async () => {
    await core.send('Hello', { recipient: ben });
    const { write } = core.rig.database;
    const run = write.run.bind(write);
    let refusals = 0;
    const refusing = jest.spyOn(write, 'run').mockImplementation((work) => {
      if (refusals === 1 || !new Error().stack!.includes('eraseContact')) return run(work);
      refusals += 1;
      const code = database === 'postgres' ? '55P03' : 'SQLITE_BUSY';
      return Promise.reject(Object.assign(new Error('The lock was not released.'), { code }));
    });
    try {
      const { id } = (await core.post('/privacy/erasures', { contact: ben, confirm: ben })).body.data as { id: string };
      expect(await done('erasures', id)).toMatchObject({ status: 'done', contact: null });
      expect(refusals).toBe(1);
    } finally {
      refusing.mockRestore();
    }
    expect(await foundIn('Ben')).toEqual([]);
  }, 30_000);
});
