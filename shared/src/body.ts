import { isUtf8 as isValidUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';
import { AppError } from './errors.js';

/**
 * Reads request bodies within limits: for each body, and for the sum of all bodies in memory.
 *
 * A body may arrive in chunks of one byte. A chunk that is stored separately needs a hundred times its size, so chunks are joined as they
 * arrive. The bytes of all bodies in memory are counted, because a limit for each body does not help when many arrive at once.
 */

const slabBytes = 65_536;
/** Chunks of at least this size are stored without copying. */
const largeChunk = 8_192;

/** Joins chunks of any size. */
export interface Collector {
  add(chunk: Buffer): void;
  bytes(): Buffer;
}

export function createCollector(): Collector {
  const parts: Buffer[] = [];
  let slab: Buffer | null = null;
  let used = 0;
  const flush = (): void => {
    if (slab && used > 0) parts.push(slab.subarray(0, used));
    slab = null;
    used = 0;
  };
  return {
    add(chunk) {
      if (chunk.length >= largeChunk || (parts.length === 0 && !slab)) {
        flush();
        parts.push(chunk);
        return;
      }
      if (!slab || used + chunk.length > slab.length) {
        flush();
        slab = Buffer.allocUnsafeSlow(slabBytes);
      }
      used += chunk.copy(slab, used);
    },
    bytes() {
      flush();
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    },
  };
}

/** Counts further bytes of one body. Throws when all bodies, or those of one owner, exceed their limit. */
export type CountBytes = (bytes: number) => void;

export interface BodyBudget {
  /** Opens the count of one request. Its bytes are released when the response has ended. */
  open(owner: string, res: ServerResponse): CountBytes;
}

export interface BodyBudgetLimits {
  /** The bytes of all bodies in memory at the same time. */
  totalBytes: number;
  /** Bytes of the bodies of one owner. */
  ownerBytes: number;
}

/** Bodies up to this size are not counted: most are that small, and the number of connections is limited. */
const freeBytes = 65_536;

export function createBodyBudget({ totalBytes, ownerBytes }: BodyBudgetLimits): BodyBudget {
  let total = 0;
  const ofOwner = new Map<string, number>();
  return {
    open(owner, res) {
      let read = 0;
      let counted = 0;
      const release = (): void => {
        total -= counted;
        const left = (ofOwner.get(owner) ?? 0) - counted;
        if (left > 0) ofOwner.set(owner, left);
        else ofOwner.delete(owner);
        counted = 0;
      };
      return (bytes) => {
        read += bytes;
        if (read <= freeBytes || res.closed) return;
        const owned = ofOwner.get(owner) ?? 0;
        const more = read - freeBytes - counted;
        if (owned + more > ownerBytes)
          throw new AppError(
            'RATE_LIMITED',
            { scope: 'bodies', limit: ownerBytes, retryAfterSeconds: 1 },
            'Too many large requests of this account at the same time. Send fewer at once.',
          );
        if (total + more > totalBytes)
          throw new AppError(
            'OVERLOADED',
            { retryAfterSeconds: 2 },
            'Too many large requests at the same time. Try again in a moment.',
          );
        if (counted === 0) res.once('close', release);
        counted += more;
        total += more;
        ofOwner.set(owner, owned + more);
      };
    },
  };
}

export interface JsonLimits {
  /** Bytes of the body, compressed or not, with each escape (`\u0416`, `\/`) counted as the character that it stands for. */
  limit: number;
  countBytes: CountBytes;
  /** Looks at the inflated bytes before they are parsed. Throws to refuse them. */
  verify: (bytes: Buffer) => void;
}

/** Reads and parses a JSON body, which is an object or a list. An empty one is an empty object. Rejects with an `AppError`. */
export async function readJson(req: IncomingMessage, { limit, countBytes, verify }: JsonLimits): Promise<unknown> {
  if (!isUtf8(req.headers['content-type'])) throw malformed('charset.unsupported');
  const inflated = inflating(req.headers['content-encoding']);
  const raw = await readBytes(req, limit + escapeRoom, countBytes);
  const bytes = inflated ? await inflated(raw, limit + escapeRoom, countBytes) : raw;
  if (bytes.length > limit && unescapedLength(bytes) > limit) throw tooLarge(limit);
  verify(bytes);
  return parse(bytes);
}

/**
 * Bytes that JSON escapes may take in addition to the limit of a body. Many clients write every character that is not ASCII as `\uXXXX`, and one
 * outside of the first 65,536 as two of them: up to eight bytes more than in UTF-8. The longest text that is allowed has 65,536 characters.
 */
const escapeRoom = 8 * 65_536;
const [backslash, letterU] = [0x5c, 0x75];

/** Returns the length of JSON in UTF-8 after its escapes are resolved. The parser refuses invalid escapes later. */
function unescapedLength(bytes: Buffer): number {
  let length = bytes.length;
  for (let at = bytes.indexOf(backslash); at >= 0; at = bytes.indexOf(backslash, at)) {
    if (bytes[at + 1] !== letterU) {
      length -= 1;
      at += 2;
      continue;
    }
    const code = parseInt(bytes.toString('latin1', at + 2, at + 6), 16);
    // Half of a surrogate pair, which takes four bytes as a whole.
    const isSurrogate = code >= 0xd800 && code <= 0xdfff;
    length -= 6 - (code < 0x80 ? 1 : code < 0x800 || isSurrogate ? 2 : 3);
    at += 6;
  }
  return length;
}

const malformed = (cause: string): AppError => new AppError('MALFORMED_REQUEST', { cause });
const tooLarge = (limit: number): AppError => new AppError('BODY_TOO_LARGE', { limit });

const isUtf8 = (contentType = ''): boolean => {
  const charset = /;[ \t]*charset="?([^";, \t]+)/i.exec(contentType)?.[1];
  return charset === undefined || /^utf-?8$/i.test(charset);
};

type Inflate = (raw: Buffer, limit: number, countBytes: CountBytes) => Promise<Buffer>;

const inflaters: ReadonlyMap<string, Inflate> = new Map(
  [
    ['gzip', promisify(gunzip)] as const,
    ['deflate', promisify(inflate)] as const,
    ['br', promisify(brotliDecompress)] as const,
  ].map(([name, run]) => [
    name,
    async (raw: Buffer, limit: number, countBytes: CountBytes): Promise<Buffer> => {
      // The inflated size is known only afterwards, so the maximum is counted first.
      countBytes(limit);
      try {
        return await run(raw, { maxOutputLength: limit });
      } catch (error) {
        throw (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? tooLarge(limit) : malformed('encoding.invalid');
      }
    },
  ]),
);

/** Returns how to inflate the body; null if it is not compressed. Throws for an unknown or a double compression. */
function inflating(encoding: string | undefined): Inflate | null {
  const name = encoding?.trim().toLowerCase() || 'identity';
  if (name === 'identity') return null;
  const known = inflaters.get(name);
  if (!known) throw malformed('encoding.unsupported');
  return known;
}

/** Resolves with the body. When it is refused, the rest of it is read and dropped, so that the caller can read the answer. */
export function readBytes(req: IncomingMessage, limit: number, countBytes: CountBytes): Promise<Buffer> {
  const declared = Number(req.headers['content-length'] ?? 0);
  if (declared > limit) return Promise.reject(tooLarge(limit));
  return new Promise((resolve, reject) => {
    if (req.destroyed && !req.readableEnded) return reject(malformed('request.aborted'));
    const collector = createCollector();
    let received = 0;
    const stop = (): void => {
      req.off('data', onData);
      req.off('end', onEnd);
      req.off('close', onClose);
    };
    const refuse = (error: unknown): void => {
      stop();
      req.resume();
      reject(error as Error);
    };
    const onData = (chunk: Buffer): void => {
      received += chunk.length;
      if (received > limit) return refuse(tooLarge(limit));
      try {
        countBytes(chunk.length);
      } catch (error) {
        return refuse(error);
      }
      collector.add(chunk);
    };
    const onEnd = (): void => {
      stop();
      resolve(collector.bytes());
    };
    const onClose = (): void => refuse(malformed('request.aborted'));
    req.on('data', onData);
    req.on('end', onEnd);
    req.on('close', onClose);
  });
}

function parse(bytes: Buffer): unknown {
  // Decoding would replace bytes that are not UTF-8, and the message would be sent with other characters than the caller's.
  if (!isValidUtf8(bytes)) throw malformed('charset.invalid');
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const text = bytes.toString('utf8', hasMark ? 3 : 0);
  if (text.length === 0) return {};
  // No route accepts JSON that is neither an object nor a list.
  if (!/^[ \t\r\n]*[{[]/.test(text)) throw notJson('');
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw notJson((error as Error).message);
  }
}

/** `reason` is that of `JSON.parse`, which may quote the body. */
function notJson(reason: string): AppError {
  const at = /at position (\d+)/.exec(reason)?.[1];
  const where = at === undefined ? '' : ` at character ${Number(at) + 1}`;
  const sentence = `The body is not valid JSON${where}. Check its quotes, commas and braces: a shell may have removed some.`;
  return new AppError('MALFORMED_REQUEST', { cause: 'entity.parse.failed' }, sentence);
}
