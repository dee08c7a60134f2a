import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createSpool, type Spool } from '../src/lib/file-bytes.js';
import { eventually } from './support/eventually.js';

/** Files on their way through the backend: whole after any number of readings, never in plain text on the disk, and gone afterwards. */

let dir: string;
let spool: Spool;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'chasqui-file-bytes-'));
  spool = createSpool(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** The files of the spool that this process has open. */
const opened = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(dir) ? [`/proc/self/fd/${fd}`] : [];
    } catch {
      return []; // Closed meanwhile.
    }
  });
const chunked = (bytes: Buffer, size: number): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })(),
  );
const isOnLinux = process.platform === 'linux';

describe('a file that came as a stream', () => {
  test.each([
    [0, 10],
    [1, 1],
    [100_000, 7],
    [1_048_576, 65_536],
    [1_048_577, 65_536],
    [5_000_000, 3_333],
    [5_000_000, 2_000_000],
  ])('of %d bytes in chunks of %d is whole, also when it is read several times at once', async (size, chunk) => {
    const bytes = randomBytes(size);
    const content = await spool(chunked(bytes, chunk), size);
    expect([content.size, content.sha256]).toEqual([size, createHash('sha256').update(bytes).digest('hex')]);
    const readings = await Promise.all([content.whole(), buffer(content.stream()), content.whole()]);
    for (const read of readings) expect(read.equals(bytes)).toBe(true);
    content.drop();
  });

  test('leaves no name and no plain text on the disk, and no open file once it is dropped', async () => {
    if (!isOnLinux) return;
    const secret = Buffer.from('a secret of our guests ');
    const content = await spool(chunked(Buffer.concat(Array.from({ length: 200_000 }, () => secret)), 65_536), 10_000_000);
    expect(await readdir(dir)).toEqual([]);
    const [file, ...others] = opened();
    expect(others).toEqual([]);
    expect((await readFile(file!)).includes('secret')).toBe(false);
    const reading = content.stream();
    content.drop();
    content.drop();
    // What is read already is read to its end.
    expect((await buffer(reading)).length).toBe(content.size);
    await eventually('the file to be closed', () => Promise.resolve(opened().length === 0));
    expect(() => content.stream()).toThrow('The request ended before its file was read.');
  });

  test.each<[string, () => Readable, number, object]>([
    ['above the limit', () => chunked(randomBytes(3_000_000), 65_536), 2_999_999, { code: 'FILE_TOO_LARGE' }],
    [
      'that breaks off',
      () =>
        Readable.from(
          (async function* () {
            yield randomBytes(2_000_000);
            throw new Error('cut');
          })(),
        ),
      10_000_000,
      { message: 'cut' },
    ],
  ])('%s is refused, its source is ended, and nothing of it is left', async (_what, create, limit, error) => {
    const source = create();
    await expect(spool(source, limit)).rejects.toMatchObject(error);
    expect(source.destroyed).toBe(true);
    if (isOnLinux) await eventually('the file to be closed', () => Promise.resolve(opened().length === 0));
  });
});
