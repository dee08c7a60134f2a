import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { createSpool, inMemory } from '../src/lib/file-bytes.js';
import { createConverter } from '../src/media/convert.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** Moving pictures become stickers and GIF becomes film where ffmpeg is; elsewhere the reply says so, and nothing is sent as something else. */

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
if (!hasFfmpeg) process.stderr.write('SKIPPED: the tests that convert pictures, because ffmpeg was not found.\n');
/** One picture. */
const still = Buffer.from('R0lGODlhAQABAAAAACw=', 'base64');
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

function film(format: 'gif' | 'mp4' | 'webm'): Buffer {
  const more = { gif: [], mp4: ['-movflags', 'frag_keyframe+empty_moov', '-pix_fmt', 'yuv420p'], webm: ['-c:v', 'libvpx'] };
  // The sides of a film are even, and those of a GIF need not be.
  const size = format === 'gif' ? '121x91' : '120x90';
  const source = ['-f', 'lavfi', '-i', `testsrc=duration=1:size=${size}:rate=8`];
  return execFileSync('ffmpeg', ['-loglevel', 'quiet', ...source, ...more[format], '-f', format, 'pipe:1']);
}

/** Whether WebP has several pictures: the chunk ANIM (https://developers.google.com/speed/webp/docs/riff_container). */
const isMoving = (bytes: Buffer): boolean => bytes.toString('latin1', 8, 12) === 'WEBP' && bytes.subarray(0, 64).includes('ANIM');
const isMp4 = (bytes: Buffer): boolean => bytes.toString('latin1', 4, 8) === 'ftyp';

(hasFfmpeg ? describe : describe.skip)('with ffmpeg', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite' });
  });
  afterAll(() => core?.close());
  const send = async (bytes: Buffer, more: object) => {
    const reply = await core.post('/messages/send-media', { recipient: ana, mediaBase64: bytes.toString('base64'), ...more });
    // The reply of a busy machine may come before the message is sent.
    if (reply.status < 300) await core.reaches(dataOf(reply).id, 'sent');
    return reply;
  };
  const fileOf = ({ id }: MessageResource) => core.worker.left.find((one) => one.messageId === id)!.file!;

  test.each(['gif', 'mp4', 'webm'] as const)('a moving picture (%s) becomes a moving sticker', async (format) => {
    const reply = await send(film(format), { type: 'sticker', stickerName: 'Guests', stickerAuthor: 'Shop' });
    expect(reply.body).not.toHaveProperty('warnings');
    const message = dataOf(reply);
    expect(message.content).toMatchObject({ media: { mimetype: 'image/webp' }, stickerName: 'Guests', stickerAuthor: 'Shop' });
    const { bytes } = fileOf(message);
    expect([isMoving(bytes), bytes.length < 500_000]).toEqual([true, true]);
  });

  test.each<[string, object]>([
    ['for a film', { type: 'video', gif: true }],
    ['without a type', { gif: true }],
    ['for a video', { type: 'video' }],
  ])('a GIF that is asked %s leaves as MP4', async (_what, more) => {
    const message = dataOf(await send(film('gif'), more));
    expect(message).toMatchObject({ type: 'video', content: { media: { mimetype: 'video/mp4' } } });
    expect(isMp4(fileOf(message).bytes)).toBe(true);
  });

  test('a GIF in the storage mode metadata, which allows no temporary file, is refused as a film and leaves as a picture', async () => {
    const keep = (storage: string) => core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { storage } } });
    await keep('metadata');
    try {
      const refused = await send(film('gif'), { gif: true });
      expect([refused.status, refused.body.error?.details?.['fields']]).toMatchObject([422, [{ code: 'NOT_CONVERTED' }]]);
      expect(dataOf(await send(film('gif'), {})).type).toBe('image');
    } finally {
      await keep('full');
    }
  });

  test('what is broken is refused with its reason, and nothing is left on the disk', async () => {
    const spool = createSpool(tmpdir());
    const convert = createConverter({ ffmpeg: 'ffmpeg', maxBytes: 1_000_000, spool });
    expect(await convert('film', inMemory(film('gif').subarray(0, 30)), 'image/gif', true)).toEqual({
      reason: expect.stringMatching(/\.$/),
    });
    expect(await convert('sticker', inMemory(Buffer.from('#EXTM3U\n')), 'application/x-mpegurl', true)).toEqual({
      reason: expect.stringMatching(/cannot be converted/),
    });
    const small = createConverter({ ffmpeg: 'ffmpeg', maxBytes: 100, spool });
    expect(await small('sticker', inMemory(film('gif')), 'image/gif', true)).toEqual({
      reason: expect.stringMatching(/too large/),
    });
    expect(await small('film', inMemory(film('gif')), 'image/gif', true)).toEqual({ reason: expect.stringMatching(/too large/) });
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('chasqui-convert-'))).toEqual([]);
  });
});

describe('without ffmpeg', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite', settings: { FFMPEG_PATH: '/nowhere/ffmpeg' } });
  });
  afterAll(() => core?.close());
  const send = (bytes: Buffer, more: object) =>
    core.post('/messages/send-media', { recipient: ana, mediaBase64: bytes.toString('base64'), ...more });
  const count = async () => (await core.get('/messages?direction=outbound&limit=1')).body.meta?.['total'];

  test('a still picture becomes a sticker in the page, so that it leaves as it is', async () => {
    const reply = await send(png, { type: 'sticker', stickerName: 'Guests' });
    expect([reply.status, 'warnings' in reply.body, dataOf(reply).content]).toMatchObject([
      200,
      false,
      { stickerName: 'Guests' },
    ]);
  });

  test('an animated picture becomes a still sticker, and the reply warns', async () => {
    const animated = Buffer.concat([still, Buffer.from('NETSCAPE2.0')]);
    const { body } = await send(animated, { type: 'sticker' });
    expect(body).toMatchObject({
      warnings: [{ code: 'STICKER_NOT_ANIMATED', message: expect.stringContaining('ffmpeg was not found') }],
    });
  });

  test.each<[string, Buffer, object]>([
    ['a video as a sticker', Buffer.from('\0\0\0\x18ftypisom\0\0\0\0isom', 'latin1'), { type: 'sticker' }],
    ['a GIF as a film', still, { gif: true }],
  ])('%s is refused with the reason, and not stored', async (_what, bytes, more) => {
    const before = await count();
    const { status, body } = await send(bytes, more);
    expect([status, body.error?.details?.['fields']]).toMatchObject([
      422,
      [{ path: 'file', code: 'NOT_CONVERTED', message: expect.stringContaining('ffmpeg was not found') }],
    ]);
    expect(await count()).toBe(before);
  });
});
