import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import type { Random, RawCase } from './raw.js';

/** Requests that no client should make, generated from a seed. `key` is a header line that authenticates, or empty. */

const methods = ['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'CONNECT', 'TRACE', 'PROPFIND', 'get', 'G\0T', ''];
const versions = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', 'HTTP/1.1 ', 'XTTP/1.1', ''];
const parts = [
  '/',
  '//',
  '///',
  '/\\',
  '\\',
  '*',
  '?',
  '#',
  '%',
  '%00',
  '%zz',
  '%ff%fe',
  '%ED%A0%80',
  ':80',
  '@',
  '[',
  ']',
  '::1',
  '\0',
  '\x7f',
  '\xff',
  'é',
  ' ',
  '..',
  'http:',
  'http://',
  'ws://',
  'x:',
  'a',
  'api/v1',
  'admin',
  'health',
  'ws',
  'events',
  'internal',
  '?ticket=',
  '__proto__',
];
const wholeTargets = [
  '//',
  '///',
  '//:80',
  '/\\',
  '*',
  '',
  'http://',
  'http://[::1',
  'http://a:99999/',
  'http://%/',
  'http:///',
  'https://x:y@[/',
  '//[::1/',
  '/%',
  '/%E0%A4%A',
  '/api/v1/messages/%00',
  '/api/v1/ws?ticket=%',
  '/admin/%ff',
  '/api/docs/%2e%2e/%2e%2e/package.json',
  '/api/docs/%00',
  'example.com:443',
];

export function targetCases(random: Random, count: number): RawCase[] {
  const cases: RawCase[] = [];
  const upgrades = [
    '',
    'Connection: Upgrade\r\nUpgrade: websocket\r\n',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
  ];
  for (const target of wholeTargets)
    for (const upgrade of upgrades)
      cases.push({ name: `target ${target}`, pieces: [`GET ${target} HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`], waitMs: 400 });
  for (const long of [4_096, 16_000, 65_536])
    cases.push({ name: `target of ${long}`, pieces: [`GET /${'a'.repeat(long)} HTTP/1.1\r\nHost: x\r\n\r\n`], waitMs: 400 });
  while (cases.length < count) {
    const target = Array.from({ length: 1 + random.below(6) }, () => random.pick(parts)).join('');
    const line = `${random.chance(0.6) ? 'GET' : random.pick(methods)} ${target} ${random.chance(0.8) ? 'HTTP/1.1' : random.pick(versions)}`;
    const host = random.pick(['Host: x\r\n', 'Host: x\r\n', '', 'Host: [\r\n', 'Host: a\r\nHost: b\r\n', 'Host: //\r\n']);
    cases.push({ name: line, pieces: [`${line}\r\n${host}${random.pick(upgrades)}\r\n`], waitMs: 300 });
  }
  return cases;
}

export function upgradeCases(random: Random, key: string, count: number): RawCase[] {
  const keys = ['dGhlIHNhbXBsZSBub25jZQ==', '', 'x', '=', 'a'.repeat(4_000), '\xff'];
  const frames = [
    Buffer.from([0x81, 0x85, 1, 2, 3, 4, 0, 0, 0, 0, 0]),
    Buffer.from([0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1]),
    Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    Buffer.from([0xf1, 0x80, 0, 0, 0, 0]),
    Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0xff, 0xff]),
    Buffer.from([0x09, 0x80]),
    maskedText('{"type":"subscribe","after":"1","sessionId":"a\\u0000b"}'),
    maskedText('{"type":"subscribe","types":["\ud800"]}'),
    maskedText(`${'['.repeat(30_000)}`),
    maskedText('{"type":"ping"}'),
  ];
  return Array.from({ length: count }, (_, index): RawCase => {
    const head = [
      `${random.pick(['GET', 'GET', 'GET', 'POST', 'HEAD'])} ${random.pick(['/api/v1/ws', '/api/v1/ws/', '/api/v1/ws?ticket=cht_x', '/', '/api/v1/wsx'])} HTTP/1.1`,
      'Host: x',
      `Connection: ${random.pick(['Upgrade', 'upgrade, keep-alive', 'Upgrade, Upgrade', 'close, Upgrade'])}`,
      `Upgrade: ${random.pick(['websocket', 'WebSocket', 'websocket, h2c', 'h2c', 'tls/1.0', ''])}`,
      `Sec-WebSocket-Version: ${random.pick(['13', '13', '13', '8', '0', '99', '-1', 'x', '13, 8'])}`,
      `Sec-WebSocket-Key: ${random.chance(0.7) ? keys[0]! : random.pick(keys)}`,
      ...(random.chance(0.3)
        ? [`Sec-WebSocket-Extensions: ${random.pick(['permessage-deflate', 'permessage-deflate; x=', ';;;', '"'])}`]
        : []),
      ...(random.chance(0.3) ? [`Sec-WebSocket-Protocol: ${random.pick(['a', 'a,a', ',', '\x80'])}`] : []),
      ...(random.chance(0.3) ? ['Content-Length: 5'] : []),
      ...(key && random.chance(0.6) ? [key] : []),
    ].join('\r\n');
    return {
      name: `upgrade ${index}: ${head.slice(0, 300)}`,
      pieces: [`${head}\r\n\r\n`, ...(random.chance(0.7) ? [random.pick(frames), random.pick(frames)] : [])],
      gapMs: random.pick([0, 1, 5]),
      then: random.pick(['wait', 'end', 'reset']),
      waitMs: 150,
    };
  });
}

function maskedText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = bytes.length < 126 ? Buffer.from([0x81, 0x80 | bytes.length]) : Buffer.alloc(4);
  if (bytes.length >= 126) {
    head[0] = 0x81;
    head[1] = 0x80 | 126;
    head.writeUInt16BE(bytes.length, 2);
  }
  return Buffer.concat([head, Buffer.alloc(4), bytes]);
}

export function headerCases(random: Random, key: string, target: string): RawCase[] {
  const flood = (lines: string[]): string => `GET ${target} HTTP/1.1\r\nHost: x\r\n${lines.join('\r\n')}\r\n\r\n`;
  const many = (count: number, line: (index: number) => string): string[] =>
    Array.from({ length: count }, (_, index) => line(index));
  const floods: [string, string][] = [
    ['3,000 short headers', flood(many(3_000, (index) => `a${index}:`))],
    ['one header of 60 KB', flood([`x: ${'a'.repeat(60_000)}`])],
    ['2,000 of one name', flood(many(2_000, () => 'x: y'))],
    ['folded', flood(['x: a', ' b', '\tc'])],
    ['no colon', flood(['nonsense'])],
    ['blank in the name', flood(['x y: z'])],
    ['NUL in the value', flood(['x: a\0b'])],
    ['lone CR', flood(['x: a\rb'])],
    ['two lengths', `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`],
    [
      'length and chunked',
      `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['negative length', `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Length: -1\r\n\r\n`],
    [
      'huge length',
      `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Type: application/json\r\nContent-Length: 99999999999999999999\r\n\r\n{}`,
    ],
    ['unknown coding', `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    [
      'expectation',
      `POST ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n`,
    ],
    ['another expectation', `POST ${target} HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 2\r\n\r\n`],
    ['many cookies', flood([`Cookie: ${many(1_500, (index) => `a${index}=${index}`).join(';')}`])],
    ['many languages', flood([`Accept-Encoding: ${many(1_500, () => 'gzip;q=0.1').join(',')}`])],
    ['odd authorizations', flood([`Authorization: Bearer  ${'a.'.repeat(500)}`, 'X-API-Key: \xff'])],
    ['blanks', flood([`Authorization: Bearer${' '.repeat(12_000)}x`])],
  ];
  const cases = floods.map(([name, text]): RawCase => ({ name, pieces: [text], waitMs: 400 }));
  for (let index = 0; index < 60; index += 1) {
    const noise = random.bytes(1 + random.below(300));
    cases.push({ name: `noise ${index}`, pieces: [noise], then: random.pick(['wait', 'end', 'reset']), waitMs: 100 });
    const start = `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`;
    cases.push({
      name: `noise behind a request ${index}`,
      pieces: [start, noise],
      then: random.pick(['wait', 'end', 'reset']),
      waitMs: 100,
    });
  }
  return cases;
}

export interface Upload {
  method: string;
  path: string;
  body: Buffer;
  type: string;
}

export const multipart = (fields: Record<string, string>, file: Buffer): { body: Buffer; type: string } => {
  const lines = Object.entries(fields).map(
    ([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(`${lines.join('')}${head}`), file, Buffer.from('\r\n--b--\r\n')]);
  return { body, type: 'multipart/form-data; boundary=b' };
};

/** The body ends at every byte: as a request that says so, and as a caller that closes or resets the connection. */
export function cutCases(random: Random, key: string, { method, path, body, type }: Upload): RawCase[] {
  const cases: RawCase[] = [];
  for (let at = 0; at < body.length; at += 1) {
    const head = (length: number): string =>
      `${method} ${path} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
    const cut = body.subarray(0, at);
    cases.push({ name: `${path}: ${type} whole at ${at} of ${body.length}`, pieces: [head(at), cut] });
    cases.push({
      name: `${path}: ${type} broken off at ${at} of ${body.length}`,
      pieces: [head(body.length), cut],
      then: random.pick(['end', 'reset']),
      waitMs: 300,
    });
  }
  return cases;
}

/** Forms that meet each limit, in one piece and in many, so that a limit is met within a chunk and between two. */
export function largeFormCases(random: Random, key: string, { method, path }: Upload, fileLimit: number): RawCase[] {
  const part = (name: string, more: string, value: Buffer | string): Buffer =>
    Buffer.concat([
      Buffer.from(`--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`),
      Buffer.from(value),
      Buffer.from('\r\n'),
    ]);
  const file = (size: number): Buffer => part('file', '; filename="a.txt"\r\nContent-Type: text/plain', Buffer.alloc(size, 'a'));
  const bodies: [string, Buffer[]][] = [
    ...[-1, 0, 1, 2, 70_000].map((over): [string, Buffer[]] => [`a file of the limit and ${over}`, [file(fileLimit + over)]]),
    ['two files', [file(10), file(10)]],
    ['a file too large, then fields', [file(fileLimit + 10), part('caption', '', 'x'), file(10)]],
    ['a part of another name', [part('other', '; filename="a"', 'x'), part('caption', '', 'x')]],
    ['100 fields', Array.from({ length: 100 }, (_, index) => part(`a${index}`, '', 'x'))],
    ['a field too large, then a file', [part('caption', '', Buffer.alloc(fileLimit * 2 + 500_000, 'a')), file(fileLimit + 10)]],
    ['a field without a name', [Buffer.from('--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n')]],
    ['headers of a part without end', [Buffer.from(`--b\r\n${'X: y\r\n'.repeat(5_000)}`)]],
  ];
  return bodies.flatMap(([name, parts]) => {
    const body = Buffer.concat([...parts, Buffer.from('--b--\r\n')]);
    const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n\r\n`;
    const pieces: Buffer[] = [];
    for (let at = 0; at < body.length;) {
      const size = 1 + random.below(60_000);
      pieces.push(body.subarray(at, at + size));
      at += size;
    }
    return [
      { name: `${path}: ${name}`, pieces: [Buffer.concat([Buffer.from(head), body])] },
      { name: `${path}: ${name}, in ${pieces.length} pieces`, pieces: [head, ...pieces] },
      { name: `${path}: ${name}, and the connection ends`, pieces: [head, ...pieces], then: 'reset' },
    ];
  });
}

/** Bodies in forms that cost more than they weigh, or that do not end as they say. */
export function bodyCases(random: Random, key: string, { method, path, body, type }: Upload): RawCase[] {
  const head = (lines: string[]): string => `${method} ${path} HTTP/1.1\r\nHost: x\r\n${[key, ...lines].join('\r\n')}\r\n\r\n`;
  const coded = (coding: string, bytes: Buffer): RawCase => ({
    name: `${path}: ${coding} of ${bytes.length}`,
    pieces: [head([`Content-Type: ${type}`, `Content-Encoding: ${coding}`, `Content-Length: ${bytes.length}`]), bytes],
    waitMs: 5_000,
  });
  const big = Buffer.concat([Buffer.from('{"message":"'), Buffer.alloc(64 * 1024 * 1024, 'a'), Buffer.from('"}')]);
  const gzip = gzipSync(body);
  const chunk = (bytes: Buffer | string): string => `${Buffer.byteLength(bytes).toString(16)}\r\n${bytes.toString()}\r\n`;
  const chunked = (name: string, text: string): RawCase => ({
    name: `${path}: chunked, ${name}`,
    pieces: [head([`Content-Type: ${type}`, 'Transfer-Encoding: chunked']), text],
    then: 'end',
    waitMs: 500,
  });
  const json = (name: string, text: string): RawCase => ({
    name: `${path}: ${name}`,
    pieces: [head(['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`]), text],
    waitMs: 5_000,
  });
  return [
    coded('gzip', gzip),
    coded('gzip', gzip.subarray(0, gzip.length - 5)),
    coded('gzip', gzipSync(big)),
    coded('gzip', gzipSync(gzipSync(big))),
    coded('br', brotliCompressSync(big.subarray(0, 8 * 1024 * 1024))),
    coded('deflate', deflateSync(big)),
    coded('br', random.bytes(200)),
    coded('zstd', random.bytes(200)),
    coded('gzip, br', random.bytes(200)),
    chunked('no size', 'x\r\n'),
    chunked('negative size', '-5\r\nhello\r\n0\r\n\r\n'),
    chunked('huge size', 'ffffffffffffffff\r\nhello'),
    chunked('long extension', `5;${'a'.repeat(30_000)}\r\nhello\r\n0\r\n\r\n`),
    chunked('no end', chunk(body)),
    chunked('wrong end', `${chunk(body)}0\r\nGarbage`),
    chunked('trailers', `${chunk(body)}0\r\n${'a: b\r\n'.repeat(2_000)}\r\n`),
    json('an array of 100,000', `{"mentions":[${'0,'.repeat(100_000)}0]}`),
    json('7 MB of objects', `{"mentions":[${'{},'.repeat(2_300_000)}0]}`),
    json('nested 100,000 deep', `{"mentions":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    json('20,000 unknown fields', `{${Array.from({ length: 20_000 }, (_, index) => `"a${index}":1`).join()}}`),
    json(
      'a data URL without a comma',
      JSON.stringify({
        type: 'document',
        recipient: '5511999990001',
        queueIfOffline: true,
        mediaBase64: `data:${'a'.repeat(5_000_000)}`,
      }),
    ),
    {
      name: `${path}: one byte at a time`,
      pieces: [
        head([`Content-Type: ${type}`, `Content-Length: ${body.length}`]),
        ...[...body.subarray(0, 120)].map((byte) => Buffer.from([byte])),
      ],
      gapMs: 2,
      then: 'reset',
    },
    {
      name: `${path}: pipelined`,
      pieces: [
        Buffer.concat(
          Array.from({ length: 40 }, () =>
            Buffer.concat([Buffer.from(head([`Content-Type: ${type}`, `Content-Length: ${body.length}`])), body]),
          ),
        ),
      ],
      then: 'reset',
      waitMs: 1_000,
    },
  ];
}
