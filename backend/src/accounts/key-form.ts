import { hash, randomBytes } from 'node:crypto';
import type { ApiKey } from './api-key.entity.js';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const checksumLength = 6;

/** Returns bytes in base 62, padded with zeros to `length`. */
function base62(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (; value > 0n; value /= 62n) text = alphabet[Number(value % 62n)]! + text;
  return text.padStart(length, '0');
}
const checksum = (body: string): string =>
  base62(hash('sha256', `chq:${body}`, 'buffer').subarray(0, 4), checksumLength).slice(-checksumLength);

/** Returns the hash of a key, by which it is found. The database never stores the key itself. */
export const hashOf = (key: string): string => hash('sha256', key);

/** Returns the columns of a key that depend on its secret. */
export const secretColumns = (key: string): Pick<ApiKey, 'hash' | 'prefix' | 'lastFour'> => ({
  hash: hashOf(key),
  prefix: key.slice(0, 8),
  lastFour: key.slice(-4),
});

/**
 * Identifies one secret of a key. It is derived from the stored hash and reveals neither. A token or stream that carries it ends as soon as
 * the key has another secret.
 */
export const fingerprintOf = ({ hash: stored }: { hash: string }): string => hash('sha256', `chq secret:${stored}`).slice(0, 32);

/** Makes a key: `chq_`, 32 random bytes in base 62 (43 characters), and a checksum of six. A mistyped key is refused without a query. */
export function makeKey(): string {
  const body = base62(randomBytes(32), 43);
  return `chq_${body}${checksum(body)}`;
}

export function isKeyForm(text: string): boolean {
  const match = /^chq_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/.exec(text);
  return match !== null && checksum(match[1]!) === match[2];
}
