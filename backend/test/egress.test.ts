import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { createEgress, isPublicAddress } from '@chasqui/shared/egress';
import { createSpool } from '../src/lib/file-bytes.js';
import { createSafeFetch } from '../src/lib/safe-fetch.js';

const spool = createSpool(tmpdir());
/** A canary on both loopbacks: whatever the spelling, it must not see a connection. */
const canaries: Server[] = [];
let port: number;
let connections = 0;
beforeAll(async () => {
  const listen = (host: string, at: number) =>
    new Promise<Server>((resolve, reject) => {
      const server = createServer((_req, res) => res.end('secret'));
      server.on('connection', () => (connections += 1));
      server.once('error', reject);
      server.listen(at, host, () => resolve(server));
    });
  const first = await listen('127.0.0.1', 0);
  port = (first.address() as AddressInfo).port;
  canaries.push(
    first,
    ...(await listen('::1', port).then(
      (server) => [server],
      () => [],
    )),
  );
});
afterAll(() => Promise.all(canaries.map((server) => new Promise((resolve) => server.close(resolve)))));

const limits = { maxBytes: 1000, timeoutMs: 2000 };

test.each([
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.0.0.1.',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  'localhost',
  'LOCALHOST',
  '0.0.0.0',
  '[::]',
  '0',
  '１２７.0.0.1',
  '127.0.1',
  '0x7f.1',
  '017700000001',
  '[::127.0.0.1]',
  '[0:0:0:0:0:ffff:127.0.0.1]',
  '[64:ff9b:1::7f00:1]',
  '[::ffff:0:7f00:1]',
  'example.com@127.0.0.1',
  '%31%32%37.0.0.1',
  '127。0。0。1',
])('http://%s is refused without a connection', async (host) => {
  await expect(createSafeFetch(createEgress({ allow: [] }), spool)(`http://${host}:${port}/`, limits)).rejects.toMatchObject({
    code: expect.stringMatching(/^(URL_NOT_ALLOWED|MEDIA_URL_FAILED)$/),
  });
  expect(connections).toBe(0);
});

test.each([
  'file:///etc/passwd',
  'ftp://example.com/',
  'http://user:pass@example.com/',
  'gopher://example.com',
  'javascript:alert(1)',
  'not a url',
  'http://',
])('%s is no URL for us', async (url) => {
  await expect(createSafeFetch(createEgress({ allow: [] }), spool)(url, limits)).rejects.toMatchObject({
    code: 'URL_NOT_ALLOWED',
  });
});

test.each([
  ['10.1.2.3', false],
  ['100.64.0.1', false],
  ['169.254.169.254', false],
  ['172.31.0.1', false],
  ['192.168.1.1', false],
  ['198.18.0.1', false],
  ['224.0.0.1', false],
  ['255.255.255.255', false],
  ['fd00::1', false],
  ['fe80::1', false],
  ['ff02::1', false],
  ['2001:db8::1', false],
  ['::ffff:8.8.8.8', false],
  ['8.8.8.8', true],
  ['172.32.0.1', true],
  ['2606:4700::1111', true],
] as const)('%s is public: %s', (address, isPublic) => expect(isPublicAddress(address)).toBe(isPublic));

test.each([
  ['a name that says loopback', [['127.0.0.1'], ['127.0.0.1']]],
  ['a name that says a public and a private address', [['8.8.8.8', '127.0.0.1']]],
  ['a name that says the IPv6 loopback', [['::1']]],
  ['a name that says a mapped loopback', [['::ffff:127.0.0.1']]],
  ['a name without addresses', [[]]],
] as [string, string[][]][])('%s is refused without a connection', async (_what, answers) => {
  const asked: string[] = [];
  const fetch = createSafeFetch(
    createEgress({
      allow: [],
      resolve: (hostname, _options, done) => {
        asked.push(hostname);
        const addresses = answers[Math.min(asked.length, answers.length) - 1]!;
        done(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        );
      },
    }),
    spool,
  );
  await expect(fetch(`http://rebind.example.com:${port}/`, limits)).rejects.toMatchObject({
    code: expect.stringMatching(/^(URL_NOT_ALLOWED|MEDIA_URL_FAILED)$/),
  });
  expect(connections).toBe(0);
});

test('a name that changes its address gains nothing: the connection itself resolves it once, and the next one resolves it again', async () => {
  // 198.18.0.0/15 is for benchmarks: allowed here as if it were public, and no host is there.
  const answers = ['198.18.0.1', '127.0.0.1', '127.0.0.1'];
  const asked: string[] = [];
  const fetch = createSafeFetch(
    createEgress({
      allow: ['198.18.0.0/15'],
      resolve: (_hostname, _options, done) => {
        const address = answers[asked.length]!;
        asked.push(address);
        done(null, [{ address, family: 4 }]);
      },
    }),
    spool,
  );
  const once = () => fetch(`http://rebind.example.com:${port}/`, { ...limits, timeoutMs: 300 });
  await expect(once()).rejects.toMatchObject({ code: 'MEDIA_URL_FAILED' });
  expect(asked).toEqual(['198.18.0.1']);
  await expect(once()).rejects.toMatchObject({ code: 'URL_NOT_ALLOWED' });
  expect(asked).toEqual(['198.18.0.1', '127.0.0.1']);
  expect(connections).toBe(0);
});

describe('a network that the operator allows', () => {
  const allowed = '127.0.0.1';
  let server: Server;
  let at: string;
  let asked: string[];
  const fetch = createSafeFetch(createEgress({ allow: [`${allowed}/32`] }), spool);

  beforeEach(async () => {
    asked = [];
    server = createServer((req, res) => {
      asked.push(req.url!);
      const url = new URL(req.url!, at);
      const headers = Object.fromEntries(url.searchParams.entries());
      const [, kind = '', first = ''] = url.pathname.split('/');
      if (kind === 'big') return void res.end(Buffer.alloc(5000));
      if (kind === 'status') return void res.writeHead(Number(first), headers).end('hello');
      // `/hops/3` redirects to `/hops/2` and so on.
      if (kind === 'hops' && first !== '0') return void res.writeHead(302, { location: `/hops/${Number(first) - 1}` }).end();
      if (kind === 'raw') res.setHeader('content-disposition', Buffer.from('attachment; filename="Ação.pdf"').toString('latin1'));
      res.writeHead(200, { 'content-type': 'image/png; charset=x', ...headers }).end('hello');
    });
    await new Promise<void>((resolve) => server.listen(0, allowed, resolve));
    at = `http://${allowed}:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  test('is reached; limits of size and status apply', async () => {
    const { bytes, ...about } = await fetch(`${at}/a%20b.png`, limits);
    expect([(await bytes.whole()).toString(), about]).toEqual(['hello', { mimetype: 'image/png', filename: 'a b.png' }]);
    await expect(fetch(`${at}/big`, limits)).rejects.toMatchObject({ code: 'FILE_TOO_LARGE' });
    await expect(fetch(`${at}/status/404`, limits)).rejects.toMatchObject({
      code: 'MEDIA_URL_FAILED',
      details: { statusCode: 404 },
    });
    await expect(fetch(`${at}/x?content-encoding=gzip`, limits)).rejects.toMatchObject({ details: { cause: 'CONTENT_ENCODED' } });
  });

  test.each([301, 302, 303, 307, 308])(
    'a redirect with %d is followed, and the file has the name of the last address',
    async (status) => {
      const found = await fetch(`${at}/status/${status}?location=${encodeURIComponent('/there/report.pdf')}`, limits);
      expect([(await found.bytes.whole()).toString(), found.filename]).toEqual(['hello', 'report.pdf']);
    },
  );

  test('five redirects are followed, a sixth is not', async () => {
    expect((await (await fetch(`${at}/hops/5`, limits)).bytes.whole()).toString()).toBe('hello');
    await expect(fetch(`${at}/hops/6`, limits)).rejects.toMatchObject({ details: { cause: 'TOO_MANY_REDIRECTS' } });
  });

  test('each redirect passes the guard like the first address', async () => {
    for (const location of [
      `http://127.0.0.2:${port}/`,
      `http://[::1]:${port}/`,
      'http://169.254.169.254/latest/',
      'http://2130706434/',
      'http://user:secret@8.8.8.8/',
      'http://8.8.8.8:25/',
      'file:///etc/passwd',
      'data:text/plain,x',
      'http://',
    ])
      await expect(
        [location, fetch(`${at}/status/302?location=${encodeURIComponent(location)}`, limits)][1],
      ).rejects.toMatchObject({
        code: expect.stringMatching(/^(URL_NOT_ALLOWED|MEDIA_URL_FAILED)$/),
      });
    expect(connections).toBe(0);
    expect(asked.every((url) => url.startsWith('/status/302'))).toBe(true);
  });

  test('the time limit covers all redirects in total', async () => {
    await expect(fetch(`${at}/hops/5`, { ...limits, timeoutMs: 0 })).rejects.toMatchObject({ details: { cause: 'TIMEOUT' } });
  });

  test.each([
    ['attachment; filename="Invoice 7.pdf"', 'Invoice 7.pdf'],
    [`attachment; filename="a.pdf"; filename*=UTF-8''Rechnung%20%C3%BC7.pdf`, 'Rechnung ü7.pdf'],
    ['attachment; filename=plain.pdf', 'plain.pdf'],
    ['inline', 'download'],
    ['attachment; filename="', 'download'],
    ['nonsense;;=', 'download'],
  ])('the name in %s is %s', async (disposition, name) => {
    const query = `content-disposition=${encodeURIComponent(disposition)}`;
    expect((await fetch(`${at}/download?${query}`, limits)).filename).toBe(name);
  });

  test('a name in bare UTF-8 is read as such', async () => {
    expect((await fetch(`${at}/raw`, limits)).filename).toBe('Ação.pdf');
  });
});

test('a port of another protocol is refused, in whatever spelling, unless the operator allows the address', () => {
  const { check } = createEgress({ allow: ['10.0.0.0/8'] });
  for (const port of [1, 22, 25, 110, 143, 465, 587, 2049, 5060, 6000, 6667, 10080])
    for (const host of ['8.8.8.8', 'example.com', '[2606:4700::1111]', '134744072'])
      for (const spelling of [String(port), `0${port}`])
        expect(() => check(`http://${host}:${spelling}/`)).toThrow(/Port \d+ belongs to another protocol/);
  for (const url of [
    'http://8.8.8.8/',
    'https://example.com:443/',
    'https://example.com:8443/',
    'http://example.com:8080/',
    'http://10.1.2.3:25/',
  ])
    expect(check(url).href).toBe(url.replace(':443', ''));
});
