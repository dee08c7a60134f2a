import { Encrypter } from 'age-encryption';
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createGzip } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';
import type { BackupKey } from './key.js';
import { lastMember } from './members.js';

/** Writes one archive, member by member, in the form that members.ts describes. Needs a few hundred kilobytes of memory for members of any size. */
export interface ArchiveWriter {
  /** Adds a member with this text. */
  addText(name: string, text: string): Promise<void>;
  /** Adds a file with the size that it has when it is opened; the file may be deleted after that. Returns its size; null if there is no such file. */
  addFile(name: string, path: string): Promise<number | null>;
  /** Adds exactly `size` bytes. Rejects if the stream has more or less. */
  addStream(name: string, size: number, bytes: Readable): Promise<void>;
  /** Adds the last member, and resolves when every byte is on the disk. */
  finish(): Promise<{ size: number; sha256: string }>;
  /** Ends the writing. The file stays incomplete. */
  abort(): Promise<void>;
}

interface Context {
  archive: Pack;
  /** Rejects as soon as a later stage fails, so that no member waits for it. */
  written: Promise<void>;
  sums: FileHandle;
  sumsFile: string;
  file: { hash: Hash; size: number };
  abort: AbortController;
}

/** Creates an archive. `file` must not exist. `sumsFile`: the path of a temporary file, which the caller deletes. */
export async function createArchive(file: string, key: Pick<BackupKey, 'recipient'>, sumsFile: string): Promise<ArchiveWriter> {
  const archive = pack();
  const gzip = createGzip({ level: 5 });
  const encrypter = new Encrypter();
  encrypter.addRecipient(key.recipient);
  const measured = { hash: createHash('sha256'), size: 0 };
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      measured.hash.update(chunk);
      measured.size += chunk.length;
      done(null, chunk);
    },
  });
  const abort = new AbortController();
  const encrypted = await encrypter.encrypt(Readable.toWeb(gzip) as globalThis.ReadableStream<Uint8Array>);
  const target = createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
  const stages = [
    pipeline(archive as unknown as Readable, gzip, { signal: abort.signal }),
    pipeline(Readable.fromWeb(encrypted as unknown as ReadableStream<Uint8Array>), measure, target, { signal: abort.signal }),
  ];
  const written = Promise.all(stages).then(() => undefined);
  written.catch((error: unknown) => {
    abort.abort();
    archive.destroy(error as Error);
  });
  const context: Context = { archive, written, sums: await open(sumsFile, 'wx', 0o600), sumsFile, file: measured, abort };
  return {
    addText: (name, text) => addStream(context, name, Buffer.byteLength(text), Readable.from([Buffer.from(text)])),
    addFile: (name, path) => addFile(context, name, path),
    addStream: (name, size, bytes) => addStream(context, name, size, bytes),
    finish: () => finish(context),
    async abort() {
      abort.abort();
      archive.destroy();
      await written.catch(() => undefined);
      await context.sums.close().catch(() => undefined);
    },
  };
}

async function addFile(context: Context, name: string, path: string): Promise<number | null> {
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!handle) return null;
  try {
    const { size } = await handle.stat();
    const bytes = size === 0 ? Readable.from([]) : handle.createReadStream({ autoClose: false, start: 0, end: size - 1 });
    await addStream(context, name, size, bytes);
    return size;
  } finally {
    await handle.close();
  }
}

async function addStream(context: Context, name: string, size: number, bytes: Readable): Promise<void> {
  const sum = await addEntry(context, name, size, bytes);
  await context.sums.write(`${sum}  ${name}\n`);
}

async function addEntry({ archive, written, abort }: Context, name: string, size: number, bytes: Readable): Promise<string> {
  const hash = createHash('sha256');
  const entry = archive.entry({ name, size, mode: 0o600, mtime: new Date(0) });
  const added = pipeline(
    bytes,
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        hash.update(chunk);
        yield chunk;
      }
    },
    entry,
    { signal: abort.signal },
  );
  // After the failure of a later stage, the entry alone would wait for ever.
  await Promise.race([added, written.then(() => added)]);
  return hash.digest('hex');
}

async function finish(context: Context): Promise<{ size: number; sha256: string }> {
  const { archive, written, sums, sumsFile, file } = context;
  const { size } = await sums.stat();
  await sums.close();
  await addEntry(context, lastMember, size, createReadStream(sumsFile));
  archive.finalize();
  await written;
  return { size: file.size, sha256: file.hash.digest('hex') };
}
