import { Decrypter } from 'age-encryption';
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { BackupProblem } from '../problem.js';
import type { BackupKey } from './key.js';
import {
  archiveFormat,
  backupContents,
  backupHeader,
  checkMember,
  lastMember,
  type BackupContents,
  type BackupHeader,
} from './members.js';

/** Receives the members of an archive. If a function throws, the reading ends with that error. */
export interface ArchiveVisitor {
  /** Called first. */
  onHeader?(header: BackupHeader): Promise<void> | void;
  /** Receives each member that is not JSON of this format, and must read it to its end. */
  onMember(name: string, size: number, bytes: AsyncIterable<Buffer>): Promise<void>;
}

export interface ReadArchive {
  header: BackupHeader;
  contents: BackupContents;
  members: number;
  /** The size of all members. */
  bytes: number;
}

/** Reads a member and discards it, to check an archive only. */
export const drop: ArchiveVisitor['onMember'] = async (_name, _size, bytes) => {
  for await (const chunk of bytes) void chunk;
};

/**
 * Reads an archive from beginning to end, and proves that it is complete: age authenticates each piece and the end, and every member is compared with
 * `SHA256SUMS`. Callers must not use what they received before this resolves. Throws `KEY_WRONG`, `ARCHIVE_DAMAGED`, `ARCHIVE_REFUSED` and
 * `ARCHIVE_NEWER`.
 */
export async function readArchive(file: string, key: BackupKey, visitor: ArchiveVisitor): Promise<ReadArchive> {
  if (key.identity === null)
    throw new BackupProblem(
      'KEY_WRONG',
      'BACKUP_KEY is a recipient (age1…), which can only write backups. Set it to the identity (AGE-SECRET-KEY-1…) that belongs to it.',
    );
  const encrypted = createReadStream(file);
  try {
    const plain = await decrypt(encrypted, key.identity);
    const archive = extract();
    const state: State = {
      header: null,
      contents: null,
      members: 0,
      bytes: 0,
      parts: new Set(),
      sums: createHash('sha256'),
      isWhole: false,
    };
    const [members, stages] = await Promise.allSettled([
      readMembers(archive as unknown as AsyncIterable<unknown>, state, visitor),
      pipeline(plain, createGunzip(), archive as unknown as NodeJS.WritableStream),
    ]);
    // If a member is refused, the stages before it end early. Their error is only a consequence.
    if (members.status === 'rejected' && !isStreamEnd(members.reason)) throw members.reason;
    if (stages.status === 'rejected') throw stages.reason;
    if (members.status === 'rejected') throw members.reason;
    if (!state.isWhole || !state.header || !state.contents) throw damaged('its end is missing');
    const missing = missingPart(state.header, state.contents, state.parts);
    if (missing !== undefined) throw damaged(`it says that it holds ${missing}, and does not`);
    return { header: state.header, contents: state.contents, members: state.members, bytes: state.bytes };
  } catch (error) {
    throw problemOf(error);
  } finally {
    encrypted.destroy();
  }
}

interface State {
  header: BackupHeader | null;
  contents: BackupContents | null;
  members: number;
  bytes: number;
  /** The names of the members; of a login, the name of its folder. */
  parts: Set<string>;
  /** The hash of the text that `SHA256SUMS` must have. */
  sums: Hash;
  isWhole: boolean;
}

const damaged = (why: string): BackupProblem =>
  new BackupProblem('ARCHIVE_DAMAGED', `The backup is damaged or not whole: ${why}. Nothing was changed. Use another backup.`);

async function decrypt(encrypted: Readable, identity: string): Promise<Readable> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  try {
    const plain = await decrypter.decrypt(Readable.toWeb(encrypted) as globalThis.ReadableStream<Uint8Array>);
    return Readable.fromWeb(plain as unknown as ReadableStream<Uint8Array>);
  } catch (error) {
    if (isSystemError(error)) throw error;
    // The library has no error codes. An error about the identity means that the file has the header of an age file; any other error means that it
    // has none.
    if (error instanceof Error && error.message.startsWith('no identity'))
      throw new BackupProblem(
        'KEY_WRONG',
        'The backup was made with another key. Set BACKUP_KEY to the identity that belongs to it.',
      );
    throw damaged('it does not begin as a backup does');
  }
}

async function readMembers(archive: AsyncIterable<unknown>, state: State, visitor: ArchiveVisitor): Promise<void> {
  for await (const entry of archive as AsyncIterable<AsyncIterable<Buffer> & { header: Header }>) {
    const { name, size = 0, type } = entry.header;
    if (state.isWhole) throw damaged('something follows its last member');
    checkMember({ name, type });
    const isFirst = state.members === 0;
    if (isFirst !== (name === 'backup.json')) throw damaged('its members are not in order');
    state.members += 1;
    state.bytes += size;
    state.parts.add(loginFolder.exec(name)?.[0] ?? name);
    const hash = createHash('sha256');
    const bytes = hashed(entry, hash);
    if (name === 'backup.json') {
      state.header = headerOf(await textOf(bytes));
      await visitor.onHeader?.(state.header);
    } else if (name === 'contents.json') state.contents = backupContents.parse(JSON.parse(await textOf(bytes)));
    else if (name === lastMember) {
      await drop(name, size, bytes);
      if (hash.digest('hex') !== state.sums.digest('hex')) throw damaged('its members do not match their checksums');
      state.isWhole = true;
      continue;
    } else await visitor.onMember(name, size, bytes);
    state.sums.update(`${hash.digest('hex')}  ${name}\n`);
  }
}

const loginFolder = /^workers\/[^/]+\/logins\/[^/]+(?=\/)/;

/** Returns a part that the header or the contents name and the archive lacks; undefined if it has all of them. */
function missingPart(header: BackupHeader, contents: BackupContents, parts: ReadonlySet<string>): string | undefined {
  const workers = Object.entries(contents.workers).flatMap(([id, { logins }]) => {
    const folders = Object.keys(logins).map((sessionId) => `workers/${id}/logins/${sessionId}`);
    return folders.length > 0 ? [`workers/${id}/worker.sqlite`, ...folders] : [];
  });
  const named = [header.database === 'sqlite' ? 'database.sqlite' : 'database.dump', 'secrets.json', ...workers];
  return named.find((name) => !parts.has(name));
}

async function* hashed(entry: AsyncIterable<Buffer>, hash: Hash): AsyncGenerator<Buffer> {
  for await (const chunk of entry) {
    hash.update(chunk);
    yield chunk;
  }
}

/** The maximum size in bytes of a member that is read as text. */
const maxText = 16_777_216;

async function textOf(bytes: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > maxText) throw damaged('a part that should be small is large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function headerOf(text: string): BackupHeader {
  const value = JSON.parse(text) as { format?: unknown };
  if (typeof value.format === 'number' && value.format > archiveFormat)
    throw new BackupProblem(
      'ARCHIVE_NEWER',
      `The backup was made by a newer version of this program (format ${value.format}). Install that version, then run the same command again.`,
    );
  return backupHeader.parse(value);
}

const isSystemError = (error: unknown): boolean => typeof (error as { syscall?: unknown } | null)?.syscall === 'string';

const isStreamEnd = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === 'ERR_STREAM_PREMATURE_CLOSE';

/**
 * Returns the error to throw. Errors of the disk, aborts and our own problems are returned unchanged. Every other error of decrypting, inflating or
 * parsing means that the archive is damaged.
 */
function problemOf(error: unknown): unknown {
  if (error instanceof BackupProblem || isSystemError(error)) return error;
  if (error instanceof Error && error.name === 'AbortError') return error;
  return damaged(error instanceof Error ? (error.message.split('\n')[0] ?? '') : 'it cannot be read');
}
