import { createSocket } from 'node:dgram';
import { lookup, type LookupAddress } from 'node:dns';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createResolver } from '../../shared/src/resolver.js';

/** A name server that answers for some names, denies others, and is silent about names that begin with `silent`. */
const known: Record<string, { a?: string; aaaa?: string }> = {
  'both.example': { a: '192.0.2.1', aaaa: '2001:db8::1' },
  'four.example': { a: '192.0.2.2' },
  'six.example': { aaaa: '2001:db8::3' },
  'half.example': { a: '192.0.2.4', aaaa: 'silent' },
  'short.corp.example': { a: '192.0.2.5' },
};
const questions: string[] = [];

function answerTo(query: Buffer): Buffer | null {
  const labels: string[] = [];
  let at = 12;
  for (; query[at]! > 0; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!));
  const name = labels.join('.').toLowerCase();
  const isSix = query.readUInt16BE(at + 1) === 28;
  questions.push(name);
  const record = Object.hasOwn(known, name) ? known[name]! : null;
  const value = isSix ? record?.aaaa : record?.a;
  if (name.startsWith('silent') || value === 'silent') return null;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(record ? 0x8180 : 0x8183, 2);
  header.writeUInt16BE(value ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  const bytes = !value
    ? []
    : isSix
      ? [0x20, 1, 0x0d, 0xb8, ...Array<number>(11).fill(0), Number(value.at(-1))]
      : value.split('.').map(Number);
  const answer = value
    ? Buffer.from([0xc0, 12, 0, isSix ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, bytes.length, ...bytes])
    : Buffer.alloc(0);
  return Buffer.concat([header, query.subarray(12, at + 5), answer]);
}

const server = createSocket('udp4');
let dir = '';
let resolve: (name: string, family?: number) => Promise<LookupAddress[]>;

beforeAll(async () => {
  server.on('message', (query, from) => {
    const answer = answerTo(query);
    if (answer) server.send(answer, from.port, from.address);
  });
  await new Promise<void>((done) => server.bind(0, '127.0.0.1', done));
  dir = await mkdtemp(join(tmpdir(), 'chasqui-resolver-'));
  await writeFile(
    join(dir, 'hosts'),
    '# comment\n127.0.0.1 localhost\n192.0.2.9  Service.internal alias # both\n::1 localhost\n',
  );
  await writeFile(join(dir, 'resolv.conf'), 'nameserver 127.0.0.1\nsearch corp.example\noptions ndots:1\n');
  const resolver = createResolver({
    hostsFile: join(dir, 'hosts'),
    resolvFile: join(dir, 'resolv.conf'),
    servers: [`127.0.0.1:${server.address().port}`],
  });
  resolve = (name, family = 0) =>
    new Promise((done, fail) =>
      resolver(name, { all: true, family }, (error, addresses) => (error ? fail(error) : done(addresses))),
    );
});
afterAll(async () => {
  server.close();
  await rm(dir, { recursive: true, force: true });
});

const ofLinux = process.platform === 'linux' ? describe : describe.skip;
ofLinux('names of receivers', () => {
  test('addresses come from the hosts file, then from the name servers, with the search list', async () => {
    expect(await resolve('LOCALHOST')).toEqual([
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]);
    expect(await resolve('service.internal')).toEqual([{ address: '192.0.2.9', family: 4 }]);
    expect(await resolve('both.example')).toEqual([
      { address: '192.0.2.1', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ]);
    expect(await resolve('both.example', 6)).toEqual([{ address: '2001:db8::1', family: 6 }]);
    expect(await resolve('four.example.')).toEqual([{ address: '192.0.2.2', family: 4 }]);
    expect(await resolve('six.example')).toEqual([{ address: '2001:db8::3', family: 6 }]);
    expect(await resolve('short')).toEqual([{ address: '192.0.2.5', family: 4 }]);
    await expect(resolve('none.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolve('four.example', 6)).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  test('a server that does not reply about IPv6 does not delay the IPv4 addresses', async () => {
    expect(await resolve('half.example')).toEqual([{ address: '192.0.2.4', family: 4 }]);
    // One question for each family. That about IPv6 would have been repeated if its time had been waited for.
    expect(questions.filter((name) => name === 'half.example')).toHaveLength(2);
  });

  test('names whose server does not reply end with an error, and delay neither other names nor the system’s own lookups', async () => {
    let over = 0;
    const silent = Array.from({ length: 40 }, (_, n) =>
      resolve(`silent${n}.example`).catch((error: unknown) => ((over += 1), error)),
    );
    expect(await resolve('four.example')).toHaveLength(1);
    expect((await promisify(lookup)('localhost')).address).toBeDefined();
    expect(over).toBe(0);
    for (const error of await Promise.all(silent)) expect(error).toMatchObject({ code: 'ETIMEOUT' });
    // Not the search list as well: it would have taken the time once more.
    expect(questions.filter((name) => name.startsWith('silent') && name.endsWith('.corp.example'))).toEqual([]);
  }, 60_000);
});
