import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startCore, type Core } from './support/core.js';

/** Operations that carry a file: the backend reads and checks it, and the worker gets its bytes beside an input without them. */

const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const profile = {
  phoneNumber: '+1',
  lid: null,
  name: 'Shop',
  about: null,
  picture: null,
  isBusiness: false,
  platform: 'android',
};
const channel = {
  ...{ id: '120363041234567890@newsletter', name: 'Shop news', description: null, role: 'owner', subscribers: 0 },
  ...{ isMuted: false, isVerified: false, reactions: 'all', inviteLink: null, picture: null, createdAt: null },
};

describe('the picture of a profile', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite' });
    core.worker.answer.set('profile.setPicture', profile);
  });
  afterAll(() => core?.close());
  const put = (body: object) => core.rig.call('PUT', '/sessions/current/profile/picture', { body });

  test('reaches the worker as bytes, from base64 and from multipart', async () => {
    const form = new FormData();
    form.set('file', new Blob([png], { type: 'application/octet-stream' }), 'a "b"/c.png');
    for (const body of [
      { mediaBase64: png.toString('base64') },
      { mediaBase64: `data:image/png;base64,${png.toString('base64')}` },
      form,
    ]) {
      const answer = await put(body);
      expect([answer.status, answer.body.data]).toEqual([200, profile]);
      expect(core.worker.lastOf('profile.setPicture')).toMatchObject({
        operation: 'profile.setPicture',
        input: {},
        file: { bytes: png, mimetype: 'image/png', filename: 'file' },
      });
      // The bytes cross once: the input names no source.
      expect(Object.keys(core.worker.lastOf('profile.setPicture')!.input)).toEqual([]);
    }
  });

  test('is refused before the worker is called when it is no picture, missing, named twice, empty or too large', async () => {
    const before = core.worker.operations.length;
    const cases: [object, number, string][] = [
      [{ mediaBase64: Buffer.from('%PDF-1.4\n%%EOF').toString('base64') }, 422, 'FILE_TYPE_MISMATCH'],
      [{ mediaBase64: Buffer.from('just a text').toString('base64'), mimetype: 'image/png' }, 422, 'FILE_TYPE_MISMATCH'],
      [{}, 422, 'VALIDATION_FAILED'],
      [{ mediaBase64: png.toString('base64'), mediaUrl: 'https://example.com/a.png' }, 422, 'VALIDATION_FAILED'],
      [{ mediaBase64: '!!!' }, 422, 'VALIDATION_FAILED'],
      [{ mediaUrl: 'http://127.0.0.1/a.png' }, 422, 'URL_NOT_ALLOWED'],
      [{ mediaId: '01890000-0000-7000-8000-000000000000' }, 404, 'MEDIA_NOT_FOUND'],
      [{ mediaBase64: Buffer.alloc(11_000_000).toString('base64') }, 413, 'FILE_TOO_LARGE'],
    ];
    for (const [body, status, code] of cases) {
      const answer = await put(body);
      const sent = JSON.stringify(body).slice(0, 80);
      expect([sent, answer.status, answer.body.error?.code, answer.cause]).toEqual([sent, status, code, undefined]);
    }
    expect(core.worker.operations.length).toBe(before);
  });
});

describe('the picture of a new channel', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite' });
    core.worker.answer.set('channels.create', channel);
  });
  afterAll(() => core?.close());
  const create = (body: object) => core.rig.call('POST', '/sessions/current/channels', { body });

  test('reaches the worker beside the name, and a channel without one needs no file', async () => {
    const form = new FormData();
    form.set('name', 'Shop news');
    form.set('file', new Blob([png], { type: 'image/png' }), 'c.png');
    const input = { name: 'Shop news' };
    for (const [body, file] of [
      [
        { ...input, mediaBase64: png.toString('base64') },
        { bytes: png, mimetype: 'image/png' },
      ],
      [form, { bytes: png, mimetype: 'image/png' }],
      [input, null],
    ] as const) {
      const answer = await create(body);
      expect([answer.status, answer.body.data]).toEqual([201, channel]);
      const asked = core.worker.lastOf('channels.create')!;
      expect({ input: asked.input, file: asked.file ?? null }).toMatchObject({ input, file });
      expect(Object.keys(asked.input)).toEqual(['name']);
    }
  });

  test('is refused before the worker is called when it is no picture', async () => {
    const before = core.worker.operations.length;
    const refused = await create({ name: 'Shop news', mediaBase64: Buffer.from('just a text').toString('base64') });
    expect([refused.status, refused.body.error?.code]).toEqual([422, 'FILE_TYPE_MISMATCH']);
    expect(core.worker.operations.length).toBe(before);
  });
});
