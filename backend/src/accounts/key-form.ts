import { hash, randomBytes } from 'node:crypto';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const checksumLength = 6;

/** Base 62 of a number of any size, filled up with zeros. */
function base62(bytes: Buffer, length: number): string {
  let value = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  for (; value > 0n; value /= 62n) text = alphabet[Number(value % 62n)]! + text;
  return text.padStart(length, '0');
}
const checksum = (body: string): string =>
  base62(hash('sha256', `chq:${body}`, 'buffer').subarray(0, 4), checksumLength).slice(-checksumLength);
/** What is stored of a key. */
export const hashOf = (key: string): string => hash('sha256', key);

/**
 * Names one secret of a key, made from its stored hash, without telling anything of either. A token or stream that carries it ends as soon as
 * the key has another secret.
 */
export const fingerprintOf = ({ hash: stored }: { hash: string }): string => hash('sha256', `chq secret:${stored}`).slice(0, 32);

/** `chq_`, 32 random bytes in base 62 (43 characters), six of checksum: a mistyped key is refused without a look into the database. */
export function makeKey(): string {
  const body = base62(randomBytes(32), 43);
  return `chq_${body}${checksum(body)}`;
}
export function isKeyForm(text: string): boolean {
  const match = /^chq_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/.exec(text);
  return match !== null && checksum(match[1]!) === match[2];
}
