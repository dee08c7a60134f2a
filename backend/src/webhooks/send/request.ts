import { version } from '../../version.js';
import { bodyOf, type OutgoingEvent } from '../payload.js';
import { plainSignature, sign } from '../signing.js';
import type { Webhook, WebhookDelivery } from '../webhook.entity.js';

/** The decrypted secrets and headers of an endpoint. The second secret is the one before, while both sign. */
export interface Opened {
  secrets: string[];
  headers: Record<string, string>;
}

/**
 * Builds the request of one attempt: a new time and new signatures, the same id and the same body. Throws `TRANSFORM_INVALID` when the
 * body would be too large.
 */
export function requestOf(
  webhook: Webhook,
  delivery: Pick<WebhookDelivery, 'id' | 'attempts'>,
  outgoing: OutgoingEvent,
  { secrets, headers }: Opened,
  at: Date,
): { headers: Record<string, string>; body: string } {
  const { event, body } = bodyOf(outgoing, webhook);
  const timestamp = Math.floor(at.getTime() / 1000);
  return {
    body,
    headers: {
      ...headers,
      'content-type': 'application/json',
      'user-agent': `Chasqui/${version}`,
      'webhook-id': outgoing.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': secrets.map((secret) => sign(secret, outgoing.id, timestamp, body)).join(' '),
      'x-webhook-event': headerValue(event),
      'x-webhook-id': outgoing.id,
      'x-webhook-delivery': delivery.id,
      'x-webhook-attempt': String(delivery.attempts + 1),
      'x-webhook-signature': plainSignature(secrets[0]!, body),
      ...(secrets[1] === undefined ? {} : { 'x-webhook-signature-previous': plainSignature(secrets[1], body) }),
      'x-webhook-session': outgoing.session?.id ?? '',
      'x-webhook-instance': outgoing.session?.id ?? '',
    },
  };
}

/** Percent-encodes what a header cannot carry: names that were saved before they were checked. */
const headerValue = (text: string): string =>
  text.replace(/[^\x20-\x7e]+/g, (part) =>
    [...Buffer.from(part)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );

/** The headers of an attempt as its log shows them: without the values that are secret. */
export const shownHeaders = (headers: Record<string, string>, secret: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, secret.includes(name) || name.includes('signature') ? '…' : value]),
  );
