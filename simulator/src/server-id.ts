import { randomBytes } from 'node:crypto';

/** The id of a new group or channel, of 18 digits as WhatsApp's server creates it. */
export function newServerId(domain: 'g.us' | 'newsletter'): string {
  const digits = String(BigInt(`0x${randomBytes(6).toString('hex')}`)).padStart(14, '0');
  return `1203${digits.slice(0, 14)}@${domain}`;
}
