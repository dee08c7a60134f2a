import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

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
  /** Seals a whole file: the id of the key, a dot, and the bytes. */
  sealFile(bytes: Buffer, place: string): Buffer;
  /** Throws as `open` does. */
  openFile(sealed: Buffer, place: string): Buffer;
  /** Returns whether another key than the current one has sealed this, so that it should be sealed again. */
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
  const openWith = (keyId: string, bytes: Buffer, place: string): Buffer => {
    const key = keysById.get(keyId);
    if (!key) throw new Error(`Nothing in ENCRYPTION_KEYS has the id that a secret was sealed with: ${keyId}.`);
    return openBytes(key, bytes, place);
  };
  return {
    writing,
    seal: (text, place) => `${writing}.${sealBytes(writingKey, Buffer.from(text, 'utf8'), place).toString('base64url')}`,
    open(sealed, place) {
      const dot = sealed.indexOf('.');
      const bytes = Buffer.from(sealed.slice(dot + 1), 'base64url');
      return openWith(sealed.slice(0, Math.max(dot, 0)), bytes, place).toString('utf8');
    },
    sealFile: (bytes, place) => Buffer.concat([Buffer.from(`${writing}.`), sealBytes(writingKey, bytes, place)]),
    openFile(sealed, place) {
      const dot = sealed.indexOf('.');
      return openWith(sealed.toString('latin1', 0, dot), sealed.subarray(dot + 1), place);
    },
    isStale: (sealed) => sealed.indexOf(`${writing}.`) !== 0,
  };
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
