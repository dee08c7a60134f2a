import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { openPieces, sealPieces, splitHead } from './sealed-pieces.js';

/** AES-256-GCM as NIST SP 800-38D has it: a nonce of 96 bits, a tag of 128. */
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Encrypts secrets and files at rest. The form is `keyId.base64url(nonce, tag, ciphertext)`. `place` names where the text is stored
 * (`webhooks.secret:<id>`): it cannot be opened in another row.
 */
export interface Sealer {
  /** The id of the key that seals. */
  readonly writing: string;
  seal(text: string, place: string): string;
  /** Throws when the key is not known, or when the text was changed or moved. */
  open(sealed: string, place: string): string;
  /** Seals a file in pieces: the id of the key, a tilde, and the form of sealed-pieces.ts. */
  sealFile(bytes: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer>;
  /**
   * Opens a file. Throws as `open` does, perhaps after it has yielded the pieces before the one that was changed. A file that an earlier version sealed
   * as a whole, which has a dot after the id, is in memory as a whole.
   */
  openFile(sealed: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer>;
  /** Returns whether another key than the current one has sealed this, so that it should be sealed again. Of a file, the first bytes are enough. */
  isStale(sealed: string | Buffer): boolean;
}

/**
 * `keys` is the setting ENCRYPTION_KEYS, `id:base64` comma separated. The first key seals, all of them open: a new key goes in front, and the old
 * one stays until no data is sealed with it. Throws for a list that cannot be used.
 */
export function createSealer(keys: string): Sealer {
  const entries = keys.split(',').map((entry) => parseKey(entry.trim()));
  const keysById = new Map(entries);
  const [writing] = entries[0]!;
  // Of two keys with one id the last one opens, so it seals too.
  const writingKey = keysById.get(writing)!;
  const keyOf = (keyId: string): Buffer => {
    const key = keysById.get(keyId);
    if (!key) throw new Error(`Nothing in ENCRYPTION_KEYS has the id that a secret was sealed with: ${keyId}.`);
    return key;
  };
  const openWith = (keyId: string, bytes: Buffer, place: string): Buffer => openBytes(keyOf(keyId), bytes, place);
  return {
    writing,
    seal: (text, place) => `${writing}.${sealBytes(writingKey, Buffer.from(text, 'utf8'), place).toString('base64url')}`,
    open(sealed, place) {
      const dot = sealed.indexOf('.');
      const bytes = Buffer.from(sealed.slice(dot + 1), 'base64url');
      return openWith(sealed.slice(0, Math.max(dot, 0)), bytes, place).toString('utf8');
    },
    async *sealFile(bytes, place) {
      yield Buffer.from(`${writing}~`);
      yield* sealPieces(writingKey, bytes, place);
    },
    async *openFile(sealed, place) {
      const { keyId, isWhole, rest } = await readHead(sealed);
      if (isWhole) yield openWith(keyId, await collect(rest), place);
      else yield* openPieces(keyOf(keyId), rest, place);
    },
    isStale: (sealed) => sealed.indexOf(`${writing}.`) !== 0 && sealed.indexOf(`${writing}~`) !== 0,
  };
}

/** The longest id of a key, and the mark after it. */
const headBytes = 17;

/** Reads the id of the key at the beginning of a sealed file, and the mark that says which form follows. */
async function readHead(
  sealed: AsyncIterable<Buffer>,
): Promise<{ keyId: string; isWhole: boolean; rest: AsyncIterable<Buffer> }> {
  const { head, rest } = await splitHead(sealed, headBytes);
  const [start = '', keyId = '', mark] = /^([A-Za-z0-9_-]{1,16})([.~])/.exec(head.toString('latin1')) ?? [];
  if (!start) throw new Error('A sealed file does not begin with the id of a key.');
  async function* whole(): AsyncGenerator<Buffer> {
    yield head.subarray(start.length);
    yield* rest;
  }
  return { keyId, isWhole: mark === '.', rest: whole() };
}

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sealBytes(key: Buffer, bytes: Buffer, place: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(place));
  const sealed = [cipher.update(bytes), cipher.final()];
  return Buffer.concat([nonce, cipher.getAuthTag(), ...sealed]);
}

function openBytes(key: Buffer, bytes: Buffer, place: string): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
    .setAAD(Buffer.from(place))
    .setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]);
}

function parseKey(entry: string): [id: string, key: Buffer] {
  const [, id, text] = /^([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/=_-]+)$/.exec(entry) ?? [];
  const key = Buffer.from(text ?? '', 'base64');
  if (!id || key.length !== 32)
    throw new Error('ENCRYPTION_KEYS must be `id:base64` entries of 32 bytes each, comma separated, such as `k2:…,k1:…`.');
  return [id, key];
}
