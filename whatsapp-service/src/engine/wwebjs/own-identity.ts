import { phoneOf } from '@chasqui/shared';
import type { Identity } from '../engine.js';

/** The longest values that the backend stores. */
const limits = { lid: 40, pushName: 128, platform: 40, version: 40 } as const;

const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const text = (value: unknown, limit: number): string | null =>
  typeof value === 'string' ? cut(value.replaceAll('\0', ''), limit) || null : null;
const cut = (value: string, limit: number): string =>
  value.slice(0, /[\uD800-\uDBFF]/.test(value.charAt(limit - 1)) ? limit - 1 : limit);

/**
 * Reads the linked account from the page's answer. Parts of it are sent with every heartbeat of the worker, and one invalid value would
 * make the backend refuse the whole heartbeat, so a value of another type becomes null.
 */
export function readIdentity(answer: unknown): Identity {
  const { phone, lid, pushName, platform, version } = fields(answer);
  return {
    phoneNumber: phoneOf(text(phone, 64))?.slice(1) ?? null,
    lid: text(lid, limits.lid),
    pushName: text(pushName, limits.pushName),
    platform: text(platform, limits.platform),
    whatsappWebVersion: text(version, limits.version),
  };
}
