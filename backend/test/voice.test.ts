import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createSpool, headOf, inMemory, opened } from '../src/lib/file-bytes.js';
import { createConverter, headBytes, isOggOpus } from '../src/media/convert.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { sounds } from './support/sounds.js';

/** Voice notes are Ogg/Opus when they leave, or the reply says that they are not. */

const hasFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;
if (!hasFfmpeg) process.stderr.write('SKIPPED: the tests that convert sound, because ffmpeg was not found.\n');
const types = { wav: 'audio/wav', mp3: 'audio/mpeg', m4a: 'audio/mp4', webm: 'video/webm' } as const;

(hasFfmpeg ? describe : describe.skip)('with ffmpeg', () => {
  const spool = createSpool(tmpdir());
  const convert = createConverter({ ffmpeg: 'ffmpeg', maxBytes: 1_000_000, spool });

  test.each(Object.entries(types))('%s becomes Ogg/Opus', async (name, type) => {
    const converted = await convert('voice', inMemory(sounds[name as keyof typeof types]), type, true);
    expect('bytes' in converted && isOggOpus(await headOf(converted.bytes, headBytes))).toBe(true);
  });

  test('a file on the disk is read in pieces, and never as a whole', async () => {
    const pieces = async function* (from: AsyncIterable<Buffer>) {
      for await (const chunk of from) for (let at = 0; at < chunk.length; at += 100) yield chunk.subarray(at, at + 100);
    };
    for (const [sound, type, mayUseDisk] of [
      ['wav', 'audio/wav', false],
      ['m4a', 'audio/mp4', true],
    ] as const) {
      const whole = () => Promise.reject(new Error('The whole file was read into memory.'));
      const bytes = { ...opened(inMemory(sounds[sound]), sounds[sound].length, pieces), whole };
      const converted = await convert('voice', bytes, type, mayUseDisk);
      expect([sound, 'bytes' in converted && isOggOpus(await headOf(converted.bytes, headBytes))]).toEqual([sound, true]);
    }
  });

  test('many at once are all converted, and nothing is left on the disk', async () => {
    const converted = await Promise.all(
      Array.from({ length: 8 }, () => convert('voice', inMemory(sounds.m4a), 'audio/mp4', true)),
    );
    expect(converted.every((one) => 'bytes' in one)).toBe(true);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('chasqui-convert-'))).toEqual([]);
  });

  test('a file that has no sound, is broken, is a playlist or becomes too large is not converted, and the reply has the reason', async () => {
    const playlist = Buffer.from('#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n');
    for (const [bytes, type] of [
      [Buffer.alloc(500), 'audio/mpeg'],
      [playlist, 'audio/mpeg'],
      [playlist, 'audio/x-mpegurl'],
      [sounds.m4a.subarray(0, 300), 'audio/mp4'],
    ] as const)
      expect(await convert('voice', inMemory(bytes), type, true)).toEqual({ reason: expect.stringMatching(/\.$/) });
    const small = createConverter({ ffmpeg: 'ffmpeg', maxBytes: 100, spool });
    expect(await small('voice', inMemory(sounds.wav), 'audio/wav', true)).toEqual({ reason: expect.stringMatching(/too large/) });
  });
});

describe('a send', () => {
  let core: Core;
  const send = (bytes: Buffer, more: object = {}) =>
    core.post('/messages/send-media', { recipient: ana, type: 'voice', mediaBase64: bytes.toString('base64'), ...more });
  const codes = (body: object): unknown => (body as { warnings?: { code: string }[] }).warnings?.map(({ code }) => code);
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite', settings: { FFMPEG_PATH: '/nowhere/ffmpeg' } });
  });
  afterAll(() => core?.close());

  test('without ffmpeg leaves as it is, and the reply warns, also when it is replayed', async () => {
    const key = { 'Idempotency-Key': 'voice-1' };
    const body = { recipient: ana, type: 'voice', mediaBase64: sounds.wav.toString('base64') };
    const first = await core.post('/messages/send-media', body, key);
    const again = await core.post('/messages/send-media', body, key);
    for (const reply of [first, again]) expect([reply.status, codes(reply.body)]).toEqual([200, ['VOICE_NOT_CONVERTED']]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    const [left] = core.worker.left.filter(({ messageId }) => messageId === dataOf(first).id);
    expect(left!.file!.bytes.equals(sounds.wav)).toBe(true);
  });

  test('of Ogg/Opus needs no ffmpeg and no warning', async () => {
    const reply = await send(sounds.opus);
    expect([reply.status, codes(reply.body)]).toEqual([200, undefined]);
    expect(dataOf(reply).content).toMatchObject({ media: { mimetype: 'audio/ogg' } });
  });

  test('as a document is not touched', async () => {
    expect(codes((await send(sounds.mp3, { type: 'audio', asDocument: true, filename: 'a.mp3' })).body)).toBeUndefined();
  });
});
