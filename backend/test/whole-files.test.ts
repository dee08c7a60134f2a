import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** Files that a process reads into memory as a whole have a limit of their own, below MAX_FILE_SIZE. */

const limit = 10_485_760;
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
/** A picture of this size. What follows its end is not looked at. */
const pictureOf = (size: number): Buffer => Buffer.concat([png, Buffer.alloc(size - png.length)]);

let core: Core;
beforeAll(async () => {
  core = await startCore({ database: 'sqlite', settings: { MAX_FILE_SIZE: '12000000' } });
  core.worker.answer.set('profile.setPicture', {
    ...{ phoneNumber: '+1', lid: null, name: 'Shop', about: null, picture: null, isBusiness: false, platform: 'android' },
  });
});
afterAll(() => core?.close());

const formOf = (size: number, fields: Record<string, string> = {}): FormData => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  form.set('file', new Blob([new Uint8Array(pictureOf(size))], { type: 'image/png' }), 'a.png');
  return form;
};

test.each([
  ['sticker', limit, null],
  ['sticker', limit + 1, { limit, size: limit + 1 }],
  ['image', limit + 1, null],
])('a %s of %i bytes', async (type, size, refused) => {
  const before = core.worker.puts.length;
  const reply = await core.rig.call('POST', '/messages/send-media', { body: formOf(size, { recipient: ana, type }) });
  if (!refused) return void (await core.reaches(dataOf(reply).id, 'sent'));
  expect([reply.status, reply.body.error?.code, reply.body.error?.details]).toEqual([413, 'FILE_TOO_LARGE', refused]);
  expect(core.worker.puts.length).toBe(before);
});

test.each([
  [limit, 200],
  [limit + 1, 413],
])('a picture of the profile of %i bytes', async (size, status) => {
  const before = core.worker.operations.length;
  const reply = await core.rig.call('PUT', '/sessions/current/profile/picture', { body: formOf(size) });
  expect([reply.status, core.worker.operations.length - before]).toEqual([status, status === 200 ? 1 : 0]);
});
