import { createHmac, randomBytes } from 'node:crypto';

/** `whsec_` and 24 random bytes in base64, as the Standard Webhooks specification has it. */
export const makeSecret = (): string => `whsec_${randomBytes(24).toString('base64')}`;

const prefix = 'whsec_';

/** The bytes of a secret in base64 behind `whsec_`; null for any other text. */
function encodedKey(secret: string): Buffer | null {
  const [, encoded] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  return encoded === undefined ? null : Buffer.from(encoded, 'base64');
}

/** Whether a caller may use this secret: `whsec_` and 16 to 64 bytes in base64, or another text of 16 to 128 printable ASCII characters. */
export function isSecret(text: string): boolean {
  if (!text.startsWith(prefix)) return /^[\x21-\x7e]{16,128}$/.test(text);
  const length = encodedKey(text)?.length ?? 0;
  return length >= 16 && length <= 64;
}

/** The part of its secret that an endpoint shows, to distinguish two secrets: the first four characters of its own part. */
export const secretPrefix = (secret: string): string => secret.slice(0, (secret.startsWith(prefix) ? prefix.length : 0) + 4);

/**
 * Returns `v1,…` over id, time (Unix seconds) and the body's bytes, as the Standard Webhooks specification has it. The key of a secret without
 * `whsec_` is its UTF-8 bytes.
 */
export function sign(secret: string, id: string, timestamp: number, body: string): string {
  const key = encodedKey(secret) ?? Buffer.from(secret, 'utf8');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/** Returns the signature over the body alone, with the secret as it is shown, for receivers that know only this form. */
export const plainSignature = (secret: string, body: string): string => createHmac('sha256', secret).update(body).digest('hex');
