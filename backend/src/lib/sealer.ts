import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** AES-256-GCM as NIST SP 800-38D has it: a nonce of 96 bits, a tag of 128. */
const nonceBytes = 12;
const tagBytes = 16;

export type Sealer = ReturnType<typeof createSealer>;

/**
 * Secrets at rest: `keyId.base64url(nonce, tag, ciphertext)`. `keys` is the setting ENCRYPTION_KEYS, `id:base64` comma separated: the first
 * one writes, all of them read, so a new key goes in front and the old one stays until no data is sealed with it. `place` says
 * where the text is stored (`webhooks.secret:<id>`): moved to another row it cannot be opened. Throws for a list that cannot be used.
 */
export function createSealer(keys: string) {
  const known = new Map(keys.split(',').map((entry) => parseKey(entry.trim())));
  const [first] = known.keys();
  const writing = first as string;

  function sealBytes(bytes: Buffer, place: string): Buffer {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', known.get(writing)!, nonce).setAAD(Buffer.from(place));
    const sealed = [cipher.update(bytes), cipher.final()];
    return Buffer.concat([nonce, cipher.getAuthTag(), ...sealed]);
  }
  function openBytes(keyId: string, bytes: Buffer, place: string): Buffer {
    const key = known.get(keyId);
    if (!key) throw new Error(`Nothing in ENCRYPTION_KEYS has the id that a secret was sealed with: ${keyId}.`);
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
      .setAAD(Buffer.from(place))
      .setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]);
  }

  return {
    /** The id of the key that writes. */
    writing,
    seal: (text: string, place: string): string =>
      `${writing}.${sealBytes(Buffer.from(text, 'utf8'), place).toString('base64url')}`,
    /** A whole file: the id of its key, a dot, and its bytes. */
    sealFile: (bytes: Buffer, place: string): Buffer => Buffer.concat([Buffer.from(`${writing}.`), sealBytes(bytes, place)]),
    openFile(sealed: Buffer, place: string): Buffer {
      const dot = sealed.indexOf('.');
      return openBytes(sealed.toString('latin1', 0, dot), sealed.subarray(dot + 1), place);
    },
    /** Throws when the key is not known, or when the text was changed or moved. */
    open(sealed: string, place: string): string {
      const dot = sealed.indexOf('.');
      return openBytes(sealed.slice(0, Math.max(dot, 0)), Buffer.from(sealed.slice(dot + 1), 'base64url'), place).toString(
        'utf8',
      );
    },
    /** Whether the text should be sealed again: another key writes now. */
    isStale: (sealed: string | Buffer): boolean => sealed.indexOf(`${writing}.`) !== 0,
  };
}

function parseKey(entry: string): [id: string, key: Buffer] {
  const [, id, text] = /^([A-Za-z0-9_-]{1,16}):([A-Za-z0-9+/=_-]+)$/.exec(entry) ?? [];
  const key = Buffer.from(text ?? '', 'base64');
  if (!id || key.length !== 32)
    throw new Error('ENCRYPTION_KEYS must be `id:base64` entries of 32 bytes each, comma separated, such as `k2:…,k1:…`.');
  return [id, key];
}
