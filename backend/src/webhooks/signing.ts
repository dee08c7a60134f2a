import { createHmac, randomBytes } from 'node:crypto';

/** `whsec_` and 24 random bytes in base64, as the Standard Webhooks specification has it. */
export const makeSecret = (): string => `whsec_${randomBytes(24).toString('base64')}`;

/** A caller's own secret: base64 behind `whsec_`, of 16 to 64 bytes. */
export const isSecret = (text: string): boolean => {
  const [, encoded] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const { length } = Buffer.from(encoded ?? '', 'base64');
  return length >= 16 && length <= 64;
};

/** `v1,…` over id, time (Unix seconds) and the body's bytes. */
export function sign(secret: string, id: string, timestamp: number, body: string): string {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/** For receivers that know only this form: over the body alone, with the secret as it is shown. */
export const plainSignature = (secret: string, body: string): string => createHmac('sha256', secret).update(body).digest('hex');
