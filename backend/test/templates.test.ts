import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mediaTypes, requestOf, requestTypes, type MessageResource, type MessageTemplateResource } from '@chasqui/shared';
import { MediaFile } from '../src/media/media-file.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { createRetention } from '../src/jobs/retention.js';
import { createMedia } from '../src/media/media.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createTemplates, type Templates } from '../src/templates/templates.js';
import { Template, TemplateVersion } from '../src/templates/template.entity.js';
import { loginOf, makeAccount } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { coreOf } from './support/parts.js';

const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const dayMs = 86_400_000;

const codeOf = ({ status, body }: Reply) => [status, body.error?.code];
const fieldsOf = ({ body }: Reply) =>
  (body.error?.details['fields'] as { path: string; code: string }[]).map(({ path, code }) => [path, code]);
const templateOf = ({ status, body }: Reply): MessageTemplateResource => {
  if (status >= 300) throw new Error(JSON.stringify(body));
  return body.data as MessageTemplateResource;
};

describe.each(await databases())('templates on %s', (database) => {
  let core: Core;
  beforeAll(async () => void (core = await startCore({ database })));
  afterAll(() => core.close());

  let lastName = 0;
  const create = (content: object, type = 'text', name = `t-${(lastName += 1)}`) =>
    core.post('/templates', { name, type, content });
  const change = (id: string, body: object) => core.rig.call('PUT', `/templates/${id}`, { body });
  const remove = (id: string) => core.rig.call('DELETE', `/templates/${id}`);
  const sendTemplate = (templateId: string, variables?: object, more: object = {}) =>
    core.post('/messages/send', { type: 'template', recipient: ana, templateId, ...(variables ? { variables } : {}), ...more });
  const upload = async (): Promise<string> =>
    dataOf(await core.post('/media', { mediaBase64: picture, filename: 'logo.png' })).id;
  /** The parts of a backend whose time is set, on the same database and files. */
  const later = (days: number) => {
    const clock = { now: () => new Date(Date.now() + days * dayMs), monotonic: () => performance.now() };
    const parts = coreOf(core.rig.database, clock);
    const unused = (): never => {
      throw new Error('not expected');
    };
    const media = createMedia(parts, {
      dir: `${core.rig.dataDir}/media`,
      maxBytes: 1_000_000,
      allowed: ['*/*'],
      safeFetch: unused,
      convert: unused,
      sealer: null as never,
    });
    const templates: Templates = createTemplates(parts, {
      media,
      limitsOf: unused,
      checkFileOptions: unused,
      countryCode: undefined,
    });
    const kept = { messages: 0, media: 1, events: 1_000 };
    const retention = createRetention(parts, { media, thumbnails: createThumbnails(parts), days: kept });
    return { media, templates, retention };
  };

  test('are created, listed by name, searched, changed and deleted', async () => {
    const b = templateOf(await create({ message: 'Hi {{name}}, {{order}} {{name}}' }, 'text', 'Beta one'));
    const a = templateOf(await create({ message: 'Hi' }, 'text', 'Alpha one'));
    expect(b).toMatchObject({ name: 'Beta one', type: 'text', variables: ['name', 'order'], version: 1 });
    const found = await core.get('/templates?search=ONE');
    expect([found.body.meta, (found.body.data as MessageTemplateResource[]).map(({ id }) => id)]).toMatchObject([
      { total: 2 },
      [a.id, b.id],
    ]);
    expect(templateOf(await core.get(`/templates/${b.id}`))).toEqual(b);
    expect(codeOf(await create({ message: 'x' }, 'text', 'Alpha one'))).toEqual([409, 'ALREADY_EXISTS']);
    expect(codeOf(await change(b.id, { name: 'Alpha one' }))).toEqual([409, 'ALREADY_EXISTS']);
    expect(templateOf(await change(b.id, { name: 'Gamma one' }))).toMatchObject({
      name: 'Gamma one',
      version: 1,
      content: b.content,
    });
    expect(
      templateOf(await change(b.id, { type: 'poll', content: { question: '{{q}}?', options: ['A', '{{b}}'] } })),
    ).toMatchObject({
      type: 'poll',
      variables: ['q', 'b'],
      version: 2,
    });
    expect(templateOf(await core.get(`/templates/${b.id}?version=1`))).toMatchObject({
      type: 'text',
      content: b.content,
      version: 1,
    });
    expect(codeOf(await core.get(`/templates/${b.id}?version=3`))).toEqual([404, 'TEMPLATE_NOT_FOUND']);
    expect((await remove(b.id)).body.data).toEqual({ id: b.id, deleted: true });
    for (const reply of [
      await remove(b.id),
      await core.get(`/templates/${b.id}`),
      await change(b.id, { name: 'x' }),
      await sendTemplate(b.id),
    ])
      expect(codeOf(reply)).toEqual([404, 'TEMPLATE_NOT_FOUND']);
    expect((await create({ message: 'x' }, 'text', 'Gamma one')).status).toBe(201);
    const actions = ((await core.get('/audit?limit=200')).body.data as { action: string }[]).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['template.create', 'template.update', 'template.delete']));
  });

  test.each([
    ['text', {}, 'content.message', 'INVALID_TYPE'],
    ['text', { message: 'Hi', mesage: '{{x}}' }, 'content.mesage', 'UNKNOWN_FIELD'],
    ['text', { message: '{{first name}}' }, 'content', 'INVALID_PLACEHOLDER'],
    ['location', { latitude: '91', longitude: '{{lng}}' }, 'content.latitude', 'TOO_BIG'],
    ['poll', { question: '{{q}}', options: ['{{a}}'] }, 'content.options', 'TOO_SMALL'],
    [
      'calendar_event',
      { name: 'x', startsAt: '2027-01-02T10:00:00Z', endsAt: '2027-01-01T10:00:00Z' },
      'content.endsAt',
      'BEFORE_START',
    ],
    ['image', { caption: 'x' }, 'content.mediaId', 'REQUIRED'],
    ['image', { mediaId: 'x', mediaUrl: 'https://example.com/x.png' }, 'content.mediaId', 'AMBIGUOUS'],
    ['image', { mediaId: '{{file}}' }, 'content.mediaId', 'INVALID_FORMAT'],
    ['image', { mediaUrl: 'https://example.com/{{x}}.png', gif: true }, 'gif', 'NOT_FOR_TYPE'],
    ['image', { mediaUrl: 'https://example.com/{{x}}.png', mediaBase64: picture }, 'content.mediaBase64', 'NOT_FOR_TEMPLATES'],
    ['image', { mediaBase64: picture }, 'content.mediaBase64', 'NOT_FOR_TEMPLATES'],
    ['text', { message: 'x', mediaBase64: picture }, 'content.mediaBase64', 'UNKNOWN_FIELD'],
  ])('%s with %j is refused at %s', async (type, content, path, code) => {
    const reply = await create(content, type);
    expect([codeOf(reply), fieldsOf(reply)]).toEqual([[422, 'VALIDATION_FAILED'], expect.arrayContaining([[path, code]])]);
  });

  test('values with variables are accepted where a filled value may be right, and are checked when filled', async () => {
    const { id } = templateOf(await create({ latitude: '{{lat}}', longitude: '{{lng}}', name: 'Shop' }, 'location'));
    const preview = (variables: object) => core.post(`/templates/${id}/preview`, { variables });
    expect((await preview({ lat: '-12.05', lng: -77 })).body.data).toEqual({
      type: 'location',
      content: { latitude: -12.05, longitude: -77, name: 'Shop' },
      text: 'Shop',
    });
    const wrong = await preview({ lat: 'north', lng: 200 });
    expect([codeOf(wrong), fieldsOf(wrong).map(([path]) => path)]).toEqual([
      [422, 'VALIDATION_FAILED'],
      ['content.latitude', 'content.longitude'],
    ]);
    expect(codeOf(await sendTemplate(id, { lat: 'north', lng: 1 }))).toEqual([422, 'VALIDATION_FAILED']);
    const sent = await sendTemplate(id, { lat: '1.5', lng: '2' });
    expect(dataOf(sent)).toMatchObject({ type: 'location', content: { latitude: 1.5, longitude: 2 }, templateId: id });
  });

  test('a send names every missing variable and accepts nothing', async () => {
    const { id } = templateOf(await create({ message: '{{a}} {{b|x}} {{c}}' }));
    const count = () => core.rig.database.reader.getRepository(Message).count();
    const before = await count();
    const reply = await sendTemplate(id, { b: 'B' });
    expect([codeOf(reply), reply.body.error?.details]).toEqual([[422, 'MISSING_VARIABLE'], { variables: ['a', 'c'] }]);
    const preview = await core.post(`/templates/${id}/preview`, {});
    expect([codeOf(preview), preview.body.error?.details]).toEqual([[422, 'MISSING_VARIABLE'], { variables: ['a', 'c'] }]);
    expect(await count()).toBe(before);
  });

  test('a send is an ordinary message, to a person or a group, and a repeat with its key is the same message', async () => {
    const { id } = templateOf(await create({ message: 'Hello {{name|there}}, {{x}}' }));
    const sent = await sendTemplate(id, { x: '{{name}}' });
    expect([sent.status, dataOf(sent)]).toMatchObject([
      200,
      { type: 'text', text: 'Hello there, {{name}}', status: 'sent', templateId: id },
    ]);
    expect(await core.message(dataOf(sent).id)).toMatchObject({ templateId: id, content: { message: 'Hello there, {{name}}' } });
    const group = { type: 'template', groupId: '120363041234567890@g.us', templateId: id, variables: { x: 1 } };
    expect(dataOf(await core.post('/messages/send-group', group))).toMatchObject({
      text: 'Hello there, 1',
      chat: { type: 'group' },
    });
    const body = { type: 'template', recipient: ana, templateId: id, variables: { x: 'once' } };
    const headers = { 'idempotency-key': `k-${id}` };
    const [first, second] = [await core.post('/messages/send', body, headers), await core.post('/messages/send', body, headers)];
    expect(dataOf(second).id).toBe(dataOf(first).id);
    const other = await core.post('/messages/send', { ...body, variables: { x: 'twice' } }, headers);
    expect(codeOf(other)).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
  });

  test('every type that can be sent can be a template', async () => {
    const mediaId = await upload();
    const examples: [string, object][] = [
      ...requestTypes.map((type): [string, object] => [type, requestOf(type).example]),
      ...mediaTypes.map((type): [string, object] => [
        type,
        { mediaId, ...(type === 'document' ? { filename: '{{name|a}}.png' } : {}) },
      ]),
    ];
    for (const [type, content] of examples) {
      const created = await create(content, type);
      if (type !== 'image' && type !== 'sticker' && type !== 'document' && (mediaTypes as readonly string[]).includes(type)) {
        // The picture is none of these.
        expect([type, codeOf(created)]).toEqual([type, [422, 'FILE_TYPE_MISMATCH']]);
        continue;
      }
      const { id } = templateOf(created);
      const sent = await sendTemplate(id, {}, { async: true });
      expect([type, sent.status, dataOf(sent).type]).toEqual([type, 202, type]);
      expect([type, (await core.post(`/templates/${id}/preview`, {})).status]).toEqual([type, 200]);
    }
  });

  test('a template has a copy of its file, which nothing deletes while a version has it', async () => {
    const mediaId = await upload();
    const made = templateOf(await create({ mediaId, caption: 'For {{name}}' }, 'image'));
    const fileId = made.content['mediaId'] as string;
    expect(fileId).not.toBe(mediaId);
    expect((await core.rig.call('DELETE', `/media/${mediaId}`)).status).toBe(200);
    expect(codeOf(await core.rig.call('DELETE', `/media/${fileId}`))).toEqual([409, 'MEDIA_IN_USE']);
    expect((await core.get(`/media/${fileId}`)).body.data).toMatchObject({ id: fileId, expiresAt: null });
    const { media, retention } = later(60);
    await retention.ofFiles();
    await media.sweep(0);
    const sent = dataOf(await sendTemplate(made.id, { name: 'Ana' }));
    expect(sent).toMatchObject({
      type: 'image',
      status: 'sent',
      content: { caption: 'For Ana', media: { mimetype: 'image/png', size: 70 } },
    });
    // Read and written back, it keeps a file.
    const changed = templateOf(await change(made.id, { content: { ...made.content, caption: 'To {{name}}' } }));
    expect(changed).toMatchObject({ version: 2, content: { caption: 'To {{name}}' } });
    expect(dataOf(await sendTemplate(made.id, { name: 'Bea' }))).toMatchObject({ content: { caption: 'To Bea' } });
    const { key } = await makeAccount(core.rig);
    const foreign = { key, body: { recipient: ana, mediaId: fileId, type: 'image', queueIfOffline: true } };
    await core.rig.call('POST', '/sessions', { key, body: { name: 'other' } });
    expect(codeOf(await core.rig.call('POST', '/messages/send-media', foreign))).toEqual([404, 'MEDIA_NOT_FOUND']);
  });

  test('an earlier version and its file are readable after a change and a deletion, for 90 days', async () => {
    const made = templateOf(await create({ mediaId: await upload(), caption: 'one' }, 'image'));
    const fileId = made.content['mediaId'] as string;
    await change(made.id, { content: { mediaId: fileId, caption: 'two' } });
    await remove(made.id);
    const { reader } = core.rig.database;
    const [row] = await reader.getRepository(Template).findBy({ id: made.id });
    const { accountId } = row!;
    const soon = later(80).templates;
    await soon.prune();
    expect(await soon.templateVersion(accountId, made.id, 1)).toMatchObject({ content: { caption: 'one' }, mediaId: fileId });
    expect(await soon.templateVersion(accountId, made.id, 2)).toMatchObject({ content: { caption: 'two' } });
    await later(100).templates.prune();
    expect(await soon.templateVersion(accountId, made.id, 1)).toBeNull();
    expect(await reader.getRepository(TemplateVersion).countBy({ templateId: made.id })).toBe(0);
    expect(await reader.getRepository(Template).countBy({ id: made.id })).toBe(0);
    expect(await reader.getRepository(MediaFile).countBy({ templateId: made.id })).toBe(0);
  });

  test('of changes at the same time none is lost: each has a version of its own', async () => {
    const { id } = templateOf(await create({ message: '0' }));
    const texts = Array.from({ length: 12 }, (_, n) => String(n + 1));
    const renamed = change(id, { name: 'renamed meanwhile' });
    const replies = await Promise.all([...texts.map((message) => change(id, { content: { message } })), renamed]);
    expect(replies.map(({ status, cause }) => [status, cause])).toEqual(replies.map(() => [200, undefined]));
    const versions = await Promise.all(
      texts.map(async (_, n) => templateOf(await core.get(`/templates/${id}?version=${n + 2}`))),
    );
    expect(versions.map(({ content }) => content['message']).sort()).toEqual([...texts].sort());
    expect(templateOf(await core.get(`/templates/${id}`))).toMatchObject({ name: 'renamed meanwhile', version: 13 });
  });

  test('numbers, amounts and times are written by the language and the time zone of the account', async () => {
    const { id } = templateOf(await create({ message: '{{a|currency:BRL}} {{n|number}} {{t|datetime}}' }));
    const variables = { a: 1234.5, n: '1000.25', t: '2026-11-21T01:30:00Z' };
    const textNow = async () => {
      const { body } = await core.post(`/templates/${id}/preview`, { variables });
      return (body.data as { text: string }).text.replace(/[\u00a0\u202f]/g, ' ');
    };
    expect(await textNow()).toBe('R$1,234.50 1,000.25 November 21, 2026 at 1:30 AM');
    const login = await loginOf(core.rig);
    const mine = (body: object) => core.rig.call('PATCH', '/auth/me', { ...login, body });
    const changed = await mine({ language: 'pt-BR', timezone: 'America/Sao_Paulo' });
    expect(changed.body.data).toMatchObject({ language: 'pt-BR', timezone: 'America/Sao_Paulo' });
    expect(await textNow()).toBe('R$ 1.234,50 1.000,25 20 de novembro de 2026 às 22:30');
    expect(codeOf(await mine({ language: 'xx_1' }))).toEqual([422, 'VALIDATION_FAILED']);
    const wrong = await core.post(`/templates/${id}/preview`, { variables: { ...variables, n: 'many' } });
    expect(fieldsOf(wrong)).toEqual([['variables.n', 'INVALID_VARIABLE']]);
    await mine({ language: 'en', timezone: 'UTC' });
  });

  test('another account has its own: it reads, changes, sends and deletes none of these', async () => {
    const { id, name } = templateOf(await create({ message: 'mine' }));
    const { key } = await makeAccount(core.rig);
    const call = (method: string, path: string, body?: object) => core.rig.call(method, path, { key, ...(body ? { body } : {}) });
    await call('POST', '/sessions', { name: 'theirs' });
    for (const reply of [
      await call('GET', `/templates/${id}`),
      await call('PUT', `/templates/${id}`, { name: 'x' }),
      await call('DELETE', `/templates/${id}`),
      await call('POST', `/templates/${id}/preview`, {}),
      await call('POST', '/messages/send', { type: 'template', recipient: ana, templateId: id, queueIfOffline: true }),
    ])
      expect(codeOf(reply)).toEqual([404, 'TEMPLATE_NOT_FOUND']);
    const mediaId = await upload();
    const stolen = { name: 'stolen', type: 'image', content: { mediaId } };
    expect(codeOf(await call('POST', '/templates', stolen))).toEqual([404, 'MEDIA_NOT_FOUND']);
    expect((await call('GET', '/templates')).body.data).toEqual([]);
    expect((await call('POST', '/templates', { name, type: 'text', content: { message: 'theirs' } })).status).toBe(201);
  });

  test('a session that stores only metadata sends a template whole and stores none of what it said', async () => {
    const { id } = templateOf(await create({ message: 'Secret for {{name}}' }));
    const settings = (storage: string) => core.rig.call('PUT', '/sessions/current', { body: { settings: { storage } } });
    await settings('metadata');
    const sent = await sendTemplate(id, { name: 'Ana' });
    const { id: messageId } = dataOf(sent);
    const message = (await core.message(messageId)) as MessageResource;
    expect(message).toMatchObject({ status: 'sent', text: null, content: null, templateId: id });
    expect(core.worker.left.find((one) => one.messageId === messageId)!.command).toMatchObject({
      content: { message: 'Secret for Ana' },
    });
    expect(JSON.stringify(await core.rig.database.reader.getRepository(Message).findOneBy({ id: messageId }))).not.toContain(
      'Secret',
    );
    await settings('full');
  });
});
