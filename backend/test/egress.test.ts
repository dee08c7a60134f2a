import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSafeFetch, isPublicAddress } from '../src/lib/safe-fetch.js';

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
  '127。0。0。1',
])('http://%s is refused without a connection', async (host) => {
  await expect(createSafeFetch({ allow: [] })(`http://${host}:${port}/`, limits)).rejects.toMatchObject({
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
  await expect(createSafeFetch({ allow: [] })(url, limits)).rejects.toMatchObject({ code: 'URL_NOT_ALLOWED' });
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

test('a network that the operator allows is reached; size, status and redirects are held to', async () => {
  const server = createServer((req, res) => {
    if (req.url === '/big') return void res.end(Buffer.alloc(5000));
    if (req.url === '/gone') return void res.writeHead(404).end();
    if (req.url === '/away') return void res.writeHead(302, { location: `http://127.0.0.1:${port}/` }).end();
    res.writeHead(200, { 'content-type': 'image/png; charset=x' }).end('hello');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const fetch = createSafeFetch({ allow: ['127.0.0.0/8'] });
  expect(await fetch(`${at}/a%20b.png`, limits)).toEqual({
    bytes: Buffer.from('hello'),
    mimetype: 'image/png',
    filename: 'a b.png',
  });
  await expect(fetch(`${at}/big`, limits)).rejects.toMatchObject({ code: 'FILE_TOO_LARGE' });
  await expect(fetch(`${at}/gone`, limits)).rejects.toMatchObject({ code: 'MEDIA_URL_FAILED', details: { statusCode: 404 } });
  await expect(fetch(`${at}/away`, limits)).rejects.toMatchObject({ code: 'MEDIA_URL_FAILED', details: { statusCode: 302 } });
  await new Promise((resolve) => server.close(resolve));
  expect(connections).toBe(0);
});
