import { createCipheriv, createDecipheriv, createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { AppError } from '@chasqui/shared';
import { createCollector } from '@chasqui/shared/express';

/**
 * The bytes of a file between two steps of a request, in memory or on the disk. A large file is never in memory as a whole unless a caller
 * asks for that with `whole`.
 */
export interface FileBytes {
  readonly size: number;
  /** The bytes from the start. May be called repeatedly. A chunk has at most 256 KiB, unless the bytes are in memory anyway. */
  stream(): Readable;
  whole(): Promise<Buffer>;
  /** Frees the bytes once no stream reads them; later streams fail. Idempotent. */
  drop(): void;
}

/** Bytes that came as a stream. */
export interface Spooled extends FileBytes {
  /** In hexadecimal. */
  readonly sha256: string;
}

/**
 * Takes a stream to its end. Rejects with `FILE_TOO_LARGE` at the first byte above `limit`, and with the error of the stream or of the disk; then
 * nothing is left.
 */
export type Spool = (source: Readable, limit: number) => Promise<Spooled>;

/** Bytes in memory. */
export const inMemory = (bytes: Buffer): FileBytes => ({
  size: bytes.length,
  stream: () => Readable.from([bytes], { objectMode: false }),
  whole: () => Promise.resolve(bytes),
  drop: () => undefined,
});

/** Returns the first bytes, at most `length`. */
export async function headOf(bytes: FileBytes, length: number): Promise<Buffer> {
  let head = Buffer.alloc(0);
  for await (const chunk of bytes.stream()) {
    head = Buffer.concat([head, (chunk as Buffer).subarray(0, length - head.length)]);
    if (head.length >= length) break;
  }
  return head;
}

/** Whether the bytes contain this text of Latin letters. */
export async function includesText(bytes: FileBytes, text: string): Promise<boolean> {
  let end = Buffer.alloc(0);
  for await (const chunk of bytes.stream()) {
    const seen = Buffer.concat([end, chunk as Buffer]);
    if (seen.includes(text, 0, 'latin1')) return true;
    end = Buffer.from(seen.subarray(Math.max(0, seen.length - text.length + 1)));
  }
  return false;
}

/** Bytes that are stored in another form; `open` turns that form, in pieces, into `size` bytes. A stream of them ends with the error of `open`. */
export function opened(stored: FileBytes, size: number, open: (from: AsyncIterable<Buffer>) => AsyncIterable<Buffer>): FileBytes {
  const stream = (): Readable => Readable.from(open(stored.stream()), { objectMode: false });
  return {
    size,
    stream,
    async whole() {
      const parts: Buffer[] = [];
      for await (const chunk of stream()) parts.push(chunk as Buffer);
      return Buffer.concat(parts);
    },
    drop: () => stored.drop(),
  };
}

/**
 * Returns a file of the web whose bytes `open` yields each time they are sent. The web makes a file only of bytes in memory or on the disk; what sends it
 * uses its size, its name, its type and its stream.
 */
export function streamedFile(
  { name, type, size }: { name: string; type: string; size: number },
  open: () => AsyncIterable<Buffer>,
): File {
  const stream = { value: () => Readable.toWeb(Readable.from(open(), { objectMode: false })) };
  return Object.defineProperties(new File([], name, { type }), { size: { value: size }, stream });
}

/** The bytes of an open file, which `drop` closes. `decoder` returns the function that decodes its chunks in order. */
export function onDisk(handle: FileHandle, size: number, decoder: () => (chunk: Buffer) => Buffer = () => copied): FileBytes {
  let readers = 0;
  let isDropped = false;
  const release = (): void => {
    if (isDropped && readers === 0) void handle.close().catch(() => undefined); // Nothing was written that could be lost.
  };
  const stream = (): Readable => {
    // The caller disconnected before its file was read.
    if (isDropped) throw new AppError('MALFORMED_REQUEST', {}, 'The request ended before its file was read.');
    readers += 1;
    const chunks = Readable.from(chunksOf(handle, size, decoder()), { objectMode: false });
    return chunks.once('close', () => {
      readers -= 1;
      release();
    });
  };
  return {
    size,
    stream,
    async whole() {
      const parts: Buffer[] = [];
      for await (const chunk of stream()) parts.push(chunk as Buffer);
      return Buffer.concat(parts);
    },
    drop() {
      if (isDropped) return;
      isDropped = true;
      release();
    },
  };
}

const chunkBytes = 262_144;
const copied = (chunk: Buffer): Buffer => Buffer.from(chunk);

async function* chunksOf(handle: FileHandle, size: number, decode: (chunk: Buffer) => Buffer): AsyncGenerator<Buffer> {
  const room = Buffer.allocUnsafeSlow(Math.min(chunkBytes, size));
  for (let position = 0; position < size;) {
    const { bytesRead } = await handle.read(room, 0, Math.min(room.length, size - position), position);
    if (bytesRead === 0) throw new Error('A temporary file is shorter than it was written.');
    position += bytesRead;
    yield decode(room.subarray(0, bytesRead));
  }
}

/** Files up to this size stay in memory. */
const memoryBytes = 1_048_576;

/**
 * Creates a spool with temporary files in `dir`. A file has no name from its first byte on, so the operating system removes it with the process. It is
 * encrypted under a key that exists only in memory: the storage mode of its message, which may forbid plain text on the disk, is not known yet.
 */
export function createSpool(dir: string): Spool {
  return async (source, limit) => {
    const hash = createHash('sha256');
    const key = randomBytes(32);
    const cipher = createCipheriv('aes-256-ctr', key, zeros);
    let file: FileHandle | null = null;
    let batch = createBatch();
    let size = 0;
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > limit) throw new AppError('FILE_TOO_LARGE', { limit });
        hash.update(chunk);
        batch.add(chunk);
        if (batch.size() <= (file ? chunkBytes : memoryBytes)) continue;
        file ??= await openUnnamed(dir);
        await writeAll(file, cipher.update(batch.bytes()));
        batch = createBatch();
      }
      const sha256 = hash.digest('hex');
      if (!file) return { ...inMemory(batch.bytes()), sha256 };
      await writeAll(file, cipher.update(batch.bytes()));
      const decoder = () => {
        // The key encrypts this one file, so the counter may begin at zero.
        const decipher = createDecipheriv('aes-256-ctr', key, zeros);
        return (chunk: Buffer): Buffer => decipher.update(chunk);
      };
      return { ...onDisk(file, size, decoder), sha256 };
    } catch (error) {
      source.destroy();
      await file?.close();
      throw error;
    }
  };
}

const zeros = Buffer.alloc(16);

function createBatch() {
  const collector = createCollector();
  let size = 0;
  return {
    size: () => size,
    bytes: () => collector.bytes(),
    add(chunk: Buffer): void {
      size += chunk.length;
      collector.add(chunk);
    },
  };
}

async function openUnnamed(dir: string): Promise<FileHandle> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, randomUUID());
  const handle = await open(path, 'wx+', 0o600);
  await rm(path, { force: true }).catch(() => undefined); // A system that keeps the names of open files; the sweep removes it.
  return handle;
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length;) written += (await file.write(bytes, written)).bytesWritten;
}
