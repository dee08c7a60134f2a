import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type MessageResource, type ObservedMessage } from '@chasqui/shared';
import { loginOf } from './support/account.js';
import { ContactRow, nameColumns } from '../src/contacts/contact.entity.js';
import { insertRow } from '../src/db/rows.js';
import { databases, serviceKey, startRig } from './support/backend.js';
import { ana, dataOf, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { filesUnder, textsIn } from './support/files.js';
import { startStandIn } from './support/worker.js';
import { thumbnailWith } from './support/thumbnail.js';

/** Texts that occur nowhere by chance. As bytes in a file they stand behind the header of a PNG. */
const marks = {
  body: 'BODY-mark-7d1f',
  caption: 'CAPTION-mark-8e2a',
  file: 'FILEBYTES-mark-9c3b',
  filename: 'FILENAME-mark-0b4d',
  person: 'PERSON-mark-1a5e',
  chat: 'CHAT-mark-2f6c',
  edit: 'EDIT-mark-3d7b',
  vote: 'VOTE-mark-4c8a',
  thumbnail: 'THUMBNAIL-mark-5a7e',
};
const picture = Buffer.concat([
  Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64'),
  Buffer.from(marks.file),
]);

describe.each(await databases())('stored content of messages, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, settings: { MESSAGE_RETENTION_DAYS: '90' } });
  });
  afterAll(() => core?.close());

  const keep = (storage: 'full' | 'metadata') => core.rig.call('PUT', '/sessions/current', { body: { settings: { storage } } });

  /** Where a text stands: files of the data folder as they lie there, free pages and journal included, and rows. */
  async function foundIn(...texts: string[]): Promise<string[]> {
    const files = await filesUnder(core.rig.dataDir);
    expect(files.length).toBeGreaterThan(0);
    const found = (await textsIn(files, texts)).map((line) => line.replace(core.rig.dataDir, ''));
    if (database === 'postgres')
      for (const { tablename } of await core.rig.database.reader.query<{ tablename: string }[]>(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
      )) {
        const [row] = await core.rig.database.reader.query<{ all: string }[]>(
          `SELECT coalesce(string_agg(t::text, ' '), '') AS all FROM "${tablename}" t`,
        );
        for (const text of texts) if (row!.all.includes(text)) found.push(`${text} in ${tablename}`);
      }
    for (const line of core.rig.lines) for (const text of texts) if (line.includes(text)) found.push(`${text} in the log`);
    return found;
  }

  const mediaFiles = async (): Promise<number> =>
    (await filesUnder(core.rig.dataDir)).filter((file) => file.includes('/media/')).length;

  const inbound = (more: Partial<ObservedMessage> = {}): ObservedMessage =>
    core.inbound(marks.body, {
      chat: { id: `${ana}@c.us`, type: 'private', name: marks.chat },
      contact: { id: `${ana}@c.us`, phone: `+${ana}`, lid: null, name: marks.person },
      ...more,
    });
  const arrived = (key: string): Promise<MessageResource> =>
    eventually('the message', async () => {
      const list = (await core.get('/messages/list?direction=inbound&limit=200')).body.data as MessageResource[];
      return list.find(({ whatsappId }) => whatsappId?.endsWith(key));
    });

  test('the search itself finds content that is stored in full', async () => {
    await core.send('KEPT-mark-5b9f');
    expect(await foundIn('KEPT-mark-5b9f')).not.toEqual([]);
    await writeFile(join(core.rig.dataDir, 'probe'), picture);
    expect(await foundIn(marks.file)).toEqual([`${marks.file} in /probe`]);
    await writeFile(join(core.rig.dataDir, 'probe'), '');
  });

  test('in metadata a text is sent whole, and nothing of it is found anywhere, not even while it waits', async () => {
    await keep('metadata');
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const waiting = await core.send(
      marks.body,
      { async: true, queueIfOffline: true, mentions: [ana] },
      { 'Idempotency-Key': 'bare' },
    );
    expect([waiting.status, waiting.body.data]).toMatchObject([202, { type: 'text', text: null, content: null, mentions: [] }]);
    expect(await foundIn(marks.body)).toEqual([]);
    await core.worker.move(core.sessionId, 'connected', null);
    const { id } = dataOf(waiting);
    expect(await core.reaches(id, 'sent')).toMatchObject({ text: null, content: null });
    expect(core.worker.left.find(({ messageId }) => messageId === id)!.command).toMatchObject({
      content: { type: 'text', message: marks.body },
      options: { mentions: [`${ana}@c.us`] },
    });
    expect(await foundIn(marks.body)).toEqual([]);
    const [row] = await core.rig.database.reader.query<{ sealed: string | null }[]>(
      `SELECT sealed FROM messages WHERE id = '${id}'`,
    );
    expect(row!.sealed).toBeNull();
    // The stored reply to its key has nothing either.
    const again = await core.send(
      marks.body,
      { async: true, queueIfOffline: true, mentions: [ana] },
      { 'Idempotency-Key': 'bare' },
    );
    expect(dataOf(again)).toMatchObject({ id, text: null });
  });

  test('a file is sent whole and is gone with its name and caption once the message is final', async () => {
    const before = await mediaFiles();
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const form = new FormData();
    form.set('recipient', ana);
    form.set('caption', marks.caption);
    form.set('async', 'true');
    form.set('queueIfOffline', 'true');
    form.set('file', new Blob([picture], { type: 'image/png' }), `${marks.filename}.png`);
    const { id } = dataOf(await core.rig.call('POST', '/messages/send-media', { body: form }));
    expect(await mediaFiles()).toBe(before + 1);
    expect(await foundIn(marks.caption, marks.file, marks.filename)).toEqual([]);
    expect((await core.get(`/messages/${id}/media`)).status).toBe(404);
    await core.worker.move(core.sessionId, 'connected', null);
    await core.reaches(id, 'sent');
    const left = core.worker.left.find(({ messageId }) => messageId === id)!;
    expect(left.command.content).toMatchObject({
      type: 'image',
      caption: marks.caption,
      media: { filename: `${marks.filename}.png` },
    });
    expect(left.file?.bytes.equals(picture)).toBe(true);
    await eventually('the file to be gone', async () => (await mediaFiles()) === before);
    expect(await foundIn(marks.caption, marks.file, marks.filename)).toEqual([]);
  });

  test('the content of failed and cancelled messages is deleted too, and they cannot be retried', async () => {
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const failed = dataOf(await core.send(marks.body, { async: true }));
    await core.reaches(failed.id, 'failed');
    const retry = await core.post(`/messages/${failed.id}/retry`, {});
    expect([retry.status, retry.body.error?.code]).toEqual([410, 'CONTENT_WIPED']);
    expect(await foundIn(marks.body)).toEqual([]);
  });

  test('an uncertain message keeps the content that it may be sent again with', async () => {
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send(marks.body));
    await eventually('it to be held', async () => (await core.message(id)).reason?.code === 'HELD_BY_POLICY');
    core.worker.record.delete(id);
    await core.post(`/messages/${id}/resolve`, { as: 'retry' });
    await core.reaches(id, 'sent');
    core.worker.proves = true;
    expect(core.worker.left.find(({ messageId }) => messageId === id)!.command.content).toMatchObject({ message: marks.body });
    expect(await foundIn(marks.body)).toEqual([]);
  });

  test('an incoming message is stored with its sender, time and type, and nothing else', async () => {
    const seen = inbound();
    await core.worker.emit(core.sessionId, 'message.observed', { message: seen, origin: 'live' });
    expect(await arrived(seen.key)).toMatchObject({
      type: 'text',
      text: null,
      content: null,
      chat: { id: `${ana}@c.us`, name: null },
      contact: { phone: `+${ana}`, name: null },
    });
    const { whatsappId, key, chat, contact } = seen;
    const at = new Date().toISOString();
    const about = { whatsappId, key, chat, at };
    await core.worker.emit(core.sessionId, 'message.edited', { ...about, text: marks.edit });
    await core.worker.emit(core.sessionId, 'message.reaction', { ...about, contact, emoji: '👍' });
    await core.worker.emit(core.sessionId, 'poll.vote', { ...about, contact, options: [marks.vote] });
    const image = inbound({
      content: {
        type: 'image',
        media: { id: null, mimetype: 'image/png', size: 9, filename: marks.filename, sha256: null },
        caption: marks.caption,
      },
      thumbnail: thumbnailWith(marks.thumbnail),
    });
    await core.worker.emit(core.sessionId, 'message.observed', { message: image, origin: 'live' });
    const late = { whatsappId: image.whatsappId, key: image.key, chat, at, thumbnail: image.thumbnail };
    await core.worker.emit(core.sessionId, 'message.thumbnail', late);
    expect(await arrived(image.key)).toMatchObject({ type: 'image', content: null, text: null });
    const told = await core.events('message.updated,message.reaction,poll.vote,message.received');
    expect(told.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['message.updated', 'message.reaction', 'poll.vote', 'message.received']),
    );
    expect((await arrived(seen.key)).editedAt).toBe(at);
    expect(await foundIn(...Object.values(marks))).toEqual([]);
  });

  test('the stricter of session, account and installation counts', async () => {
    const account = (storage: 'full' | 'metadata') =>
      loginOf(core.rig).then((login) => core.rig.call('PATCH', '/auth/me', { ...login, body: { storage } }));
    const shown = async () => dataOf(await core.send('shown or not')).text;
    await keep('full');
    expect(await shown()).toBe('shown or not');
    expect((await account('metadata')).body.data).toMatchObject({ storage: 'metadata' });
    expect(await shown()).toBeNull();
    await account('full');
    await keep('metadata');
    expect(await shown()).toBeNull();
    const told = async () =>
      (await core.worker.beat()).leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings?.storage;
    expect(await told()).toBe('metadata');
    await keep('full');
    expect(await shown()).toBe('shown or not');
    expect(await told()).toBe('full');
  });
});

test.each(await databases())(
  'names that are stored go when a session, an account or the installation keeps no more than metadata, on %s',
  async (database) => {
    const core = await startCore({ database, settings: { MESSAGE_RETENTION_DAYS: '90' } });
    const other = '5511999990088';
    const put = (storage: string) => core.rig.call('PUT', '/sessions/current', { body: { settings: { storage } } });
    const patch = async (storage: string) =>
      core.rig.call('PATCH', '/auth/me', { ...(await loginOf(core.rig)), body: { storage } });
    const names = async () =>
      (await core.rig.database.reader.query<{ name: string | null }[]>('SELECT name FROM contacts WHERE phone IS NOT NULL'))
        .map(({ name }) => name)
        .sort();
    let count = 0;
    const hear = async (phone: string, name: string): Promise<void> => {
      count += 1;
      const contact = { id: `${phone}@c.us`, phone: `+${phone}`, lid: null, name };
      const message = core.inbound('Hi', { key: `3ANAME${count}`, whatsappId: `false_${phone}@c.us_3ANAME${count}`, contact });
      await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    };
    try {
      for (const change of [put, patch]) {
        await hear(ana, marks.person);
        await hear(other, 'Bea');
        expect(await names()).toEqual(['Bea', marks.person].sort());
        expect((await change('metadata')).status).toBe(200);
        expect(await names()).toEqual([null, null]);
        // What is remembered of a person says their name no longer either, and a message of theirs does not bring it back.
        await hear(ana, marks.person);
        expect(await names()).toEqual([null, null]);
        expect((await core.events('contact.updated')).filter(({ data }) => data['previous'] !== null)).toEqual([]);
        await change('full');
      }
    } finally {
      await core.close();
    }
  },
);

test('an installation that keeps metadata since its last start removes the names that are stored', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-names-'));
  const worker = await startStandIn({ serviceKey });
  const start = (mode: string) =>
    startRig({
      dataDir,
      settings: { ...quick, WORKER_URLS: worker.url, MESSAGE_CONTENT_STORAGE: mode },
      jobs: { jobDelays: { afterStartMs: 0 } },
    });
  let rig = await start('full');
  try {
    const names = async (): Promise<(string | null)[]> =>
      (await rig.database.reader.query<{ name: string | null }[]>('SELECT name FROM contacts')).map(({ name }) => name);
    const session = (await rig.call('POST', '/sessions', { body: { name: 'named' } })).body.data as { id: string };
    const [{ accountId }] = (await rig.database.reader.query('SELECT "accountId" FROM sessions')) as [{ accountId: string }];
    const about = { accountId, sessionId: session.id, lid: null, createdAt: new Date(), updatedAt: new Date() };
    await rig.database.write.run((tx) =>
      insertRow(tx, ContactRow, { ...about, id: newId(Date.now()), phone: ana, ...nameColumns(marks.person) }),
    );
    expect(await names()).toEqual([marks.person]);
    await rig.close();
    rig = await start('metadata');
    await eventually('the name to go', async () => (await names()).every((name) => name === null));
  } finally {
    await rig.close();
    await worker.close();
    await rm(dataDir, { recursive: true, force: true });
  }
});

test('an installation that keeps metadata is not loosened by a session', async () => {
  const core = await startCore({ settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
  try {
    await core.rig.call('PUT', '/sessions/current', { body: { settings: { storage: 'full' } } });
    expect(dataOf(await core.send('not shown'))).toMatchObject({ status: 'sent', text: null, content: null });
  } finally {
    await core.close();
  }
});
