import { AppError, fileSpecOf, type MediaType } from '@chasqui/shared';
import { fileTypeFromBuffer, fileTypeFromStream, supportedMimeTypes } from 'file-type';
import { lookup } from 'mime-types';
import type { FileBytes } from '../lib/file-bytes.js';

/**
 * Determines the type of an outgoing file. Its bytes decide. Where bytes do not distinguish types (texts, and Office files, which share a
 * container), the declared type and the name decide.
 */

/** Programs for the receiver's machine. They are never accepted, whatever ALLOWED_FILE_TYPES says. */
const executables = new Set([
  'application/x-msdownload',
  'application/x-elf',
  'application/x-mach-binary',
  'application/x-sh',
  'application/x-msi',
  'application/vnd.microsoft.portable-executable',
]);

/** The types that servers and clients declare when they do not know the type. */
const unspecific = new Set([
  'application/octet-stream',
  'binary/octet-stream',
  'application/x-download',
  'application/download',
  'application/force-download',
  'application/unknown',
]);

/** Types whose files share a container, by the type that their bytes show. */
const containers: ReadonlyMap<string, RegExp> = new Map([
  [
    'application/x-cfb',
    /^application\/(msword|vnd\.ms-(excel|powerpoint|outlook|project|works)|vnd\.visio|vnd\.ms-(word|excel|powerpoint)\..+)$/,
  ],
  ['application/zip', /^application\/(vnd\.openxmlformats-officedocument\..+|vnd\.oasis\.opendocument\..+|epub\+zip)$/],
  ['application/xml', /^(text\/xml|[^/+]+\/[^/+]+\+xml)$/],
  ['application/ogg', /^(audio|video)\/ogg$/],
]);
/** Types whose bytes show the type although the files are texts. */
const writtenAsText = new Set([
  'application/xml',
  'application/rtf',
  'application/postscript',
  'application/eps',
  'application/pgp-encrypted',
  'application/x-ms-regedit',
]);
/** The type of a container when no hint names another. */
const containerNames: ReadonlyMap<string, string> = new Map([['application/xml', 'text/xml']]);

/** The media types of files that WhatsApp accepts for a type of message; undefined: all. */
const mimetypesOf = (type: MediaType): RegExp | undefined => fileSpecOf(type).mimetypes;

/** Returns the type of message for a file when the caller names none. WhatsApp does not show SVG as a picture. */
export function kindOf(mimetype: string): MediaType {
  if (mimetypesOf('image')?.test(mimetype)) return 'image';
  if (/^video\//.test(mimetype)) return 'video';
  return /^audio\//.test(mimetype) ? 'audio' : 'document';
}

export interface TypeHints {
  /** As the caller declares it. It must not contradict the bytes. */
  declared: string | null;
  /** As the server of a URL declares it. Servers are often wrong, so it counts only where the bytes show no type. */
  served?: string | null;
  filename: string | null;
  /** The type of message that sends the file. */
  type: MediaType | undefined;
}

/** The hints that name a specific type, without parameters. */
interface Hinted {
  declared: string | null;
  served: string | null;
  byName: string | null;
}

/** Returns the media type (lower case, without parameters). Throws `FILE_TYPE_NOT_ALLOWED` and `FILE_TYPE_MISMATCH`. */
export async function resolveType(file: FileBytes, hints: TypeHints, allowed: readonly string[]): Promise<string> {
  const bytes = await startOf(file);
  const found = bytes.length === file.size ? await fileTypeFromBuffer(bytes) : await sniff(file);
  const sniffed = plain(found?.mime) ?? (isLatePdf(bytes) ? 'application/pdf' : null);
  const declared = specific(plain(hints.declared));
  const byName = specific(plain(lookup(hints.filename ?? '') || null));
  const isText = sniffed === null && looksLikeText(bytes);
  const hinted = { declared, served: specific(plain(hints.served)), byName };
  const mimetype = sniffed === null ? unsniffed(hinted, isText) : refined(sniffed, hinted);
  const details = { declared: plain(hints.declared), sniffed };
  if (!isMediaTypeName(mimetype) || executables.has(mimetype) || !isAllowed(mimetype, allowed))
    throw new AppError('FILE_TYPE_NOT_ALLOWED', { ...details, type: mimetype });
  const pretends = isText && declared !== null && isNoText(declared);
  const contradicts =
    sniffed !== null && declared !== null && !agree(mimetype, declared) && !(declared === 'application/zip' && isArchive(bytes));
  if (contradicts || pretends || (hints.type && mimetypesOf(hints.type)?.test(mimetype) === false))
    throw new AppError('FILE_TYPE_MISMATCH', details);
  return mimetype;
}

/** At least the first 64 KiB; the whole file if it is in memory. */
async function startOf(file: FileBytes): Promise<Buffer> {
  const stream = file.stream();
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    parts.push(chunk);
    size += chunk.length;
    if (size >= startBytes) break;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
const startBytes = 65_536;

/** Reads as much of a file as its type needs, for example over the pictures at the start of a song. */
async function sniff(file: FileBytes): ReturnType<typeof fileTypeFromBuffer> {
  const stream = file.stream();
  try {
    return await fileTypeFromStream(stream);
  } finally {
    stream.destroy();
  }
}

/** The type of a file whose bytes show one. Of a container it is the first hint whose files have that container. */
function refined(sniffed: string, { declared, served, byName }: Hinted): string {
  const inside = containers.get(sniffed);
  const match = inside && [declared, served, byName].find((hint) => hint !== null && inside.test(hint));
  return match ?? containerNames.get(sniffed) ?? sniffed;
}

/** Returns the type of a file whose bytes show none. A text without a declared type is `text/plain`: its name alone cannot make it a program or a picture. */
function unsniffed({ declared, served, byName }: Hinted, isText: boolean): string {
  if (!isText) {
    const match = [served, byName].find((hint) => hint !== null && /^application\//.test(hint));
    return declared ?? match ?? 'application/octet-stream';
  }
  const match = [declared, served].find((hint) => hint !== null && hint !== 'text/plain');
  return match ?? (byName !== null && /^(text\/|image\/svg\+xml$)/.test(byName) ? byName : 'text/plain');
}

/** Whether a declared type fits a file of this type. */
function agree(mimetype: string, declared: string): boolean {
  const family = (name: string): string => name.split('/')[0]!;
  const isSound = (name: string): boolean => ['audio', 'video'].includes(family(name));
  if (family(mimetype) === 'application' && family(declared) === 'application')
    // A declared type whose files would show it by their bytes must be what the bytes show, or share their container.
    return mimetype === declared || !isShownByBytes(declared) || shareContainer(mimetype, declared);
  if (family(mimetype) === family(declared)) return true;
  if (isSound(mimetype)) return isSound(declared) || /^application\/(ogg|mp4|x-matroska)$/.test(declared);
  return mimetype === 'text/xml' && declared === 'application/xml';
}

/** Whether all files of a type begin with bytes that show it. PostScript is excluded, because Illustrator files are declared as it but are PDFs. */
const isShownByBytes = (type: string): boolean => supportedMimeTypes.has(type) && type !== 'application/postscript';

const isNoText = (type: string): boolean =>
  /^(image|video|audio)\/(?!svg\+xml$)/.test(type) ||
  (/^application\//.test(type) && isShownByBytes(type) && !writtenAsText.has(type));

const shareContainer = (type: string, other: string): boolean =>
  [...containers].some(([container, inside]) => [type, other].every((one) => one === container || inside.test(one)));

/** Whether the bytes are a PDF with blanks or a byte order mark before its first line, as PDF readers accept it. */
const isLatePdf = (bytes: Buffer): boolean => /^(?:\xef\xbb\xbf)?[\s\0]*%PDF-/.test(bytes.toString('latin1', 0, 1_024));

/** Many formats are ZIP archives, and may be declared as such. */
const isArchive = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 2) === 'PK';

const plain = (type: string | null | undefined): string | null => type?.split(';')[0]?.trim().toLowerCase() || null;
const specific = (type: string | null): string | null => (type !== null && unspecific.has(type) ? null : type);

const isAllowed = (mimetype: string, allowed: readonly string[]): boolean =>
  allowed.some((pattern) => new RegExp(`^${pattern.replace(/[.+]/g, '\\$&').replaceAll('*', '.*')}$`).test(mimetype));

/** Whether a text is the name of a media type (RFC 6838). It is stored and sent as a header, so it must not contain control characters. */
const isMediaTypeName = (name: string): boolean =>
  name.length <= 127 && /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/.test(name);

/** Whether bytes are a text in UTF-8, UTF-16 with its mark, or an older encoding: their start contains only the control characters of texts. */
export function looksLikeText(bytes: Buffer): boolean {
  const start = bytes.subarray(0, 4096);
  const isUtf16 = (start[0] === 0xff && start[1] === 0xfe) || (start[0] === 0xfe && start[1] === 0xff);
  if (isUtf16) return true;
  return start.every((byte) => byte >= 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0c || byte === 0x0d || byte === 0x1b);
}
