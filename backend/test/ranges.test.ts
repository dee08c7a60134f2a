import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { startCore, type Core } from './support/core.js';

const text = 'Line of a file that shrinks when it is compressed.\n'.repeat(100);
const bytes = Buffer.from(text);

describe('a part of a file', () => {
  let core: Core;
  let path: string;
  beforeAll(async () => {
    core = await startCore({});
    const sent = await core.post('/messages/send-media', {
      recipient: '5511999990001',
      mediaBase64: bytes.toString('base64'),
      filename: 'lines.txt',
      mimetype: 'text/plain',
    });
    path = `/api/v1/messages/${(sent.body.data as { id: string }).id}/media`;
  });
  afterAll(() => core?.close());
  const fetchPart = async (range: string | null, more: RequestInit = {}) => {
    const headers = { authorization: `ApiKey ${core.rig.apiKey}`, ...(range === null ? {} : { range }), ...more.headers };
    const reply = await fetch(`${core.rig.url}${path}`, { ...more, headers });
    return { reply, body: Buffer.from(await reply.arrayBuffer()) };
  };

  test('any range that lies in the file, wholly or in part, is those bytes; one behind its end is 416', async () => {
    const place = fc.integer({ min: 0, max: bytes.length + 500 });
    await fc.assert(
      fc.asyncProperty(fc.option(place, { nil: null }), fc.option(place, { nil: null }), async (from, to) => {
        const { reply, body } = await fetchPart(`bytes=${from ?? ''}-${to ?? ''}`);
        const isMalformed = (from === null && to === null) || (from !== null && to !== null && to < from);
        if (isMalformed) return expect([reply.status, body.equals(bytes)]).toEqual([200, true]);
        const begin = from ?? Math.max(0, bytes.length - to!);
        const end = from === null ? bytes.length : Math.min(bytes.length, (to ?? bytes.length) + 1);
        if (begin >= bytes.length) {
          expect([reply.status, reply.headers.get('content-range')]).toEqual([416, `bytes */${bytes.length}`]);
          return expect(JSON.parse(body.toString())).toMatchObject({ success: false, error: { code: 'RANGE_NOT_SATISFIABLE' } });
        }
        expect([reply.status, reply.headers.get('content-range'), reply.headers.get('content-encoding')]).toEqual([
          206,
          `bytes ${begin}-${end - 1}/${bytes.length}`,
          null,
        ]);
        expect(body.equals(bytes.subarray(begin, end))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('a request that is no single range of bytes, or depends on a version of the file, gets the whole file', async () => {
    for (const range of ['bytes=0-1,4-5', 'lines=0-1', 'bytes', 'bytes=a-b', `bytes=0-${'9'.repeat(40)}`, 'bytes=-']) {
      const { reply, body } = await fetchPart(range);
      expect([range, reply.status, body.equals(bytes)]).toEqual([range, 200, true]);
    }
    const ifRange = await fetchPart('bytes=0-1', { headers: { 'if-range': '"v1"' } });
    expect([ifRange.reply.status, ifRange.body.length]).toEqual([200, bytes.length]);
    const head = await fetchPart('bytes=0-1', { method: 'HEAD' });
    expect([head.reply.status, head.reply.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
  });

  test('a whole file says that parts of it can be had, and is not compressed, because parts are not', async () => {
    const { reply, body } = await fetchPart(null);
    expect([reply.headers.get('accept-ranges'), reply.headers.get('content-encoding'), body.equals(bytes)]).toEqual([
      'bytes',
      null,
      true,
    ]);
  });
});
