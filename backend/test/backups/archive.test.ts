import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Encrypter } from 'age-encryption';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';
import { newBackupKey, readBackupKey, type BackupKey } from '../../src/backups/archive/key.js';
import { drop, readArchive } from '../../src/backups/archive/reader.js';
import { createArchive } from '../../src/backups/archive/writer.js';
import { restoreBackup } from '../../src/backups/restore.js';
import { migrations } from '../../src/db/migrations/index.js';

/** The form of a backup: what is written is read back as it was, and whatever else a file holds is refused with a reason. */

let folder: string;
let key: BackupKey;
let next = 0;
const fresh = (): string => join(folder, `file-${(next += 1)}`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chasqui-archive-'));
  key = await readBackupKey((await newBackupKey()).identity);
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

const header = {
  format: 1,
  backupId: 'b1',
  version: '0.1.0',
  takenAt: '2026-11-29T00:00:00.000Z',
  database: 'sqlite' as const,
  migration: 'First1',
  serverVersion: null,
  parts: ['database' as const],
  isStopped: false,
};
const contents = { messages: 0, sessions: 0, media: { files: 0, bytes: 0 }, workers: {}, missingLogins: [] };

/** The members that every backup has. */
const needed = { 'database.sqlite': Buffer.from('a database'), 'secrets.json': Buffer.from('{}') };

async function write(members: Record<string, Buffer>): Promise<string> {
  const file = fresh();
  const archive = await createArchive(file, key, fresh());
  await archive.addText('backup.json', JSON.stringify(header));
  for (const [name, bytes] of Object.entries(members)) await archive.addStream(name, bytes.length, Readable.from([bytes]));
  await archive.addText('contents.json', JSON.stringify(contents));
  const { size, sha256 } = await archive.finish();
  const written = await readFile(file);
  expect([written.length, createHash('sha256').update(written).digest('hex')]).toEqual([size, sha256]);
  return file;
}

async function read(file: string, withKey: BackupKey = key): Promise<Record<string, Buffer>> {
  const found: Record<string, Buffer> = {};
  await readArchive(file, withKey, {
    async onMember(name, _size, bytes) {
      const chunks: Buffer[] = [];
      for await (const chunk of bytes) chunks.push(chunk);
      found[name] = Buffer.concat(chunks);
    },
  });
  return found;
}

const sums = (members: Record<string, Buffer>): Record<string, string> =>
  Object.fromEntries(Object.entries(members).map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]));

/** Whether a file is refused, with which code. */
const refusal = (file: string, withKey: BackupKey = key): Promise<unknown> =>
  readArchive(file, withKey, { onMember: drop }).then(
    () => 'accepted',
    (error: { code?: unknown }) => error.code,
  );

type Member = Partial<Header> & { name: string; bytes?: Buffer };

/** An archive with any members, as somebody could make it by hand who knows the public half of the key. */
async function handMade(members: Member[], sums = true): Promise<string> {
  const archive = pack();
  const lines: string[] = [];
  for (const { bytes = Buffer.alloc(0), ...entry } of members) {
    archive.entry(entry, bytes);
    lines.push(`${createHash('sha256').update(bytes).digest('hex')}  ${entry.name}\n`);
  }
  if (sums) archive.entry({ name: 'SHA256SUMS' }, lines.join(''));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  const encrypter = new Encrypter();
  encrypter.addRecipient(key.recipient);
  const file = fresh();
  await writeFile(file, await encrypter.encrypt(gzipSync(Buffer.concat(chunks))));
  return file;
}
const holding = (members: Member[], said: object = contents) =>
  handMade([
    { name: 'backup.json', bytes: Buffer.from(JSON.stringify(header)) },
    ...members,
    { name: 'contents.json', bytes: Buffer.from(JSON.stringify(said)) },
  ]);
const neededMembers = Object.entries(needed).map(([name, bytes]) => ({ name, bytes }));
const whole = (...members: Member[]) => holding([...neededMembers, ...members]);

describe('an archive', () => {
  test('returns what was written, whatever the sizes', async () => {
    const id = fc.stringMatching(/^[\w-]{1,20}$/);
    const name = fc.oneof(
      fc.tuple(fc.stringMatching(/^\w{2}$/), id).map(([below, file]) => `media/${below}/${file}`),
      fc
        .tuple(id, id, fc.array(fc.stringMatching(/^[\w .-]{1,60}x$/u), { minLength: 1, maxLength: 5 }))
        .map(([worker, session, path]) => `workers/${worker}/logins/${session}/${path.join('/')}`),
    );
    const size = fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.constantFrom(0, 1, 511, 512, 65_535, 65_536, 65_537, 300_000));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(name, size, fc.integer()), { selector: ([one]) => one, maxLength: 8 }),
        async (wanted) => {
          const members = Object.fromEntries(
            wanted.map(([one, length, seed]) => [one, Buffer.alloc(length, createHash('sha256').update(String(seed)).digest())]),
          );
          const all = { ...needed, ...members };
          expect(sums(await read(await write(all)))).toEqual(sums(all));
        },
      ),
      { numRuns: 10 },
    );
  });

  test('that is cut off at any byte, or has another byte anywhere, is refused', async () => {
    const file = await write({ 'database.sqlite': Buffer.alloc(150_000, 'data that repeats. ') });
    const bytes = await readFile(file);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1 }), fc.boolean(), async (at, isCut) => {
        const changed = fresh();
        const other = Buffer.from(bytes);
        other[at]! ^= 1;
        await writeFile(changed, isCut ? bytes.subarray(0, at) : other);
        expect(['ARCHIVE_DAMAGED', 'KEY_WRONG']).toContain(await refusal(changed));
      }),
      { numRuns: 40 },
    );
    await writeFile(file, Buffer.concat([bytes, Buffer.from('more')]));
    expect(await refusal(file)).toBe('ARCHIVE_DAMAGED');
  });

  test('is opened by its own key only, and not by the half that writes', async () => {
    const file = await write(needed);
    expect(await refusal(file, await readBackupKey((await newBackupKey()).identity))).toBe('KEY_WRONG');
    expect(await refusal(file, await readBackupKey(key.recipient))).toBe('KEY_WRONG');
    expect(await refusal(file)).toBe('accepted');
  });

  test('of a newer format is refused with that reason', async () => {
    const newer = Buffer.from(JSON.stringify({ ...header, format: 2, more: true }));
    expect(await refusal(await handMade([{ name: 'backup.json', bytes: newer }]))).toBe('ARCHIVE_NEWER');
  });
});

describe('a hand-made archive', () => {
  test('of valid members is accepted, so that the refusals below have their own reasons', async () => {
    expect(await refusal(await whole({ name: 'media/ab/cd', bytes: Buffer.from('x') }))).toBe('accepted');
  });

  test.each<Member>([
    { name: 'media/ab/../../../etc/passwd' },
    { name: '../secrets.json' },
    { name: '/etc/passwd' },
    { name: 'workers/w/logins/s/../../../../x' },
    { name: 'workers/w/logins/s/a\\..\\b' },
    { name: 'workers/w/logins/s/./a' },
    { name: 'workers/w/logins/s//a' },
    { name: 'workers/w/logins/s/a\nb' },
    { name: 'secrets.json', type: 'symlink', linkname: '/etc/passwd' },
    { name: 'media/ab/cd', type: 'link', linkname: '/etc/passwd' },
    { name: 'media/ab', type: 'directory' },
    { name: 'media/ab/cd', type: 'character-device' },
    { name: 'media/ab/cd', type: 'fifo' },
    { name: 'chasqui.sqlite' },
    { name: 'workers/w/anything' },
  ])('with the member %j is refused', async (member) => {
    expect(await refusal(await whole(member))).toBe('ARCHIVE_REFUSED');
  });

  test('without a member that its header or its contents name is refused', async () => {
    const login = { logins: { s: { savedAt: 1, fresh: true } } };
    const workers = { ...contents, workers: { w: login, unused: { logins: {} } } };
    const members: Member[] = [...neededMembers, { name: 'workers/w/worker.sqlite' }, { name: 'workers/w/logins/s/a/b' }];
    expect(await refusal(await holding(members, workers))).toBe('accepted');
    for (const { name } of members) {
      const others = members.filter((member) => member.name !== name);
      expect([name, await refusal(await holding(others, workers))]).toEqual([name, 'ARCHIVE_DAMAGED']);
    }
    const dump = [{ name: 'database.dump' }, { name: 'secrets.json' }];
    expect(await refusal(await holding(dump))).toBe('ARCHIVE_DAMAGED');
  });

  test.each([
    ['a member twice', ['workers/w/logins/s/a', 'workers/w/logins/s/a'], '{}', 'ARCHIVE_REFUSED'],
    ['a file below a file', ['workers/w/logins/s/a', 'workers/w/logins/s/a/b'], '{}', 'ARCHIVE_REFUSED'],
    ['a file with the name of a folder', ['workers/w/logins/s/a/b', 'workers/w/logins/s/a'], '{}', 'ARCHIVE_REFUSED'],
    ['a name that no file system takes', [`workers/w/logins/s/${'a'.repeat(300)}`], '{}', 'ARCHIVE_REFUSED'],
    ['secrets that are not JSON', [], 'not JSON', 'ARCHIVE_DAMAGED'],
    ['secrets without keys', [], '{}', 'ARCHIVE_DAMAGED'],
    ['a database that is none', [], '{"ENCRYPTION_KEYS":""}', 'ARCHIVE_DAMAGED'],
  ])('with %s cannot be restored, and leaves nothing behind', async (_what, names, secrets, code) => {
    const database = { name: 'database.sqlite', bytes: Buffer.alloc(8_192, 'no database') };
    const members = [database, { name: 'secrets.json', bytes: Buffer.from(secrets) }, ...names.map((name) => ({ name }))];
    const known = { ...header, migration: migrations.at(-1)!.name };
    const file = await handMade([
      { name: 'backup.json', bytes: Buffer.from(JSON.stringify(known)) },
      ...members,
      { name: 'contents.json', bytes: Buffer.from(JSON.stringify({ ...contents, workers: { w: { logins: {} } } })) },
    ]);
    const dataDir = fresh();
    const options = { databaseUrl: undefined, encryptionKeys: undefined, startsSessions: true, workerId: undefined };
    const restored = restoreBackup({ file, key, dataDir, mode: 'copy', ...options });
    await expect(restored).rejects.toMatchObject({ name: 'BackupProblem', code });
    expect(await readdir(dataDir)).toEqual(['backend.lock.sqlite']);
  });

  test('whose checksums do not match, or that has none, is refused', async () => {
    const members = [
      { name: 'backup.json', bytes: Buffer.from(JSON.stringify(header)) },
      { name: 'contents.json', bytes: Buffer.from(JSON.stringify(contents)) },
    ];
    expect(await refusal(await handMade(members, false))).toBe('ARCHIVE_DAMAGED');
    expect(await refusal(await handMade([...members, { name: 'SHA256SUMS', bytes: Buffer.from('x') }], false))).toBe(
      'ARCHIVE_DAMAGED',
    );
  });

  test('without a header, or with bytes that are no archive at all, is refused', async () => {
    expect(await refusal(await handMade([{ name: 'secrets.json' }]))).toBe('ARCHIVE_DAMAGED');
    const file = fresh();
    await writeFile(file, 'not an archive');
    expect(await refusal(file)).toBe('ARCHIVE_DAMAGED');
  });
});

describe('the key', () => {
  test.each([undefined, '', '  '])('%j is missing', async (text) => {
    await expect(readBackupKey(text)).rejects.toMatchObject({ code: 'KEY_MISSING' });
  });
  test('with a typing error is refused, and the sentence does not contain it', async () => {
    const { identity } = await newBackupKey();
    const other = identity.slice(0, -1) + (identity.endsWith('Q') ? 'P' : 'Q');
    for (const wrong of [other, identity.toLowerCase(), 'a password', `${identity}Q`]) {
      const error = await readBackupKey(wrong).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'KEY_INVALID' });
      expect(String(error)).not.toContain(wrong);
    }
  });
});
