import { allows, AppError, eventCatalogue, eventTypes, typesNamed, type EventType } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Egress } from '@chasqui/shared/egress';
import type { EndpointSecrets } from './endpoint-secrets.js';
import { filterWith } from './filter.js';
import { requireTransform } from './payload.js';
import { isSecret } from './signing.js';
import type { Webhook, WebhookFilter, WebhookRetry, WebhookTransform } from './webhook.entity.js';
import type { Changes } from '../lib/changes.js';

export interface WebhookInput {
  url: string;
  events: string[];
  secret?: string | undefined;
  headers?: Record<string, string> | undefined;
  active?: boolean | undefined;
  description?: string | null | undefined;
  includeContent?: boolean | undefined;
  filter?: WebhookFilter | null | undefined;
  transform?: WebhookTransform | null | undefined;
  retry?: WebhookRetry | null | undefined;
}

export interface InputRules {
  secrets: EndpointSecrets;
  egress: Egress;
  /** Requires https, except for networks that the operator allows. */
  httpsOnly: boolean;
}

/** Headers that this program or HTTP itself sets. */
const reservedHeaders =
  /^(host|content-length|content-type|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|user-agent|proxy-.*|webhook-.*|x-webhook-.*)$/i;
const maxHeaders = 20;

/**
 * Checks an input and returns its fields in the form of the row; only those that were sent. Throws `URL_NOT_ALLOWED`, `VALIDATION_FAILED`,
 * `TRANSFORM_INVALID`, `UNKNOWN_EVENT_TYPE`, `PERMISSION_DENIED` and `INVALID_RECIPIENT`.
 */
export function columnsOf(rules: InputRules, caller: Caller, id: string, input: Changes<WebhookInput>): Partial<Webhook> {
  if (input.url !== undefined) requireUrl(rules, input.url);
  if (input.headers) requireHeaders(input.headers);
  if (input.secret !== undefined) requireSecret(input.secret);
  requireTransform(input.transform);
  const { url, description, includeContent, filter, transform, retry } = input;
  const columns: Partial<Webhook> = {
    ...(input.events ? { events: input.events, types: typesOf(caller, input.events) } : {}),
    ...(input.secret === undefined
      ? {}
      : { secret: rules.secrets.sealSecret(id, input.secret), oldSecret: null, oldSecretUntil: null }),
    ...(input.headers ? { headers: rules.secrets.sealHeaders(id, input.headers) } : {}),
  };
  const plain = { url, description, includeContent, filter: filter && filterWith(filter), transform, retry };
  for (const [name, value] of Object.entries(plain)) if (value !== undefined) Object.assign(columns, { [name]: value });
  return columns;
}

function requireUrl({ egress, httpsOnly }: InputRules, text: string): void {
  const url = egress.check(text);
  if (httpsOnly && url.protocol !== 'https:' && !egress.isOpenedHost(url.hostname))
    throw new AppError('URL_NOT_ALLOWED', {}, 'Use https. http is for networks in EGRESS_ALLOW.');
}

function requireHeaders(headers: Record<string, string>): void {
  const reserved = Object.keys(headers).find((name) => reservedHeaders.test(name));
  if (reserved) throw invalidField('headers', `The header ${reserved} is set by Chasqui.`);
  if (Object.values(headers).some((value) => /[^\t\x20-\x7e]/.test(value)))
    throw invalidField('headers', 'A header’s value must be printable ASCII.');
  if (Object.keys(headers).length > maxHeaders) throw invalidField('headers', `At most ${maxHeaders} headers.`);
}

function requireSecret(secret: string): void {
  if (isSecret(secret)) return;
  throw invalidField(
    'secret',
    'A secret is whsec_ and 16 to 64 bytes in base64, or another text of 16 to 128 printable ASCII characters without blanks.',
  );
}

const invalidField = (path: string, message: string): AppError =>
  new AppError('VALIDATION_FAILED', { fields: [{ path, code: 'INVALID_FORMAT', message }] }, message);

/**
 * Returns a map of each type to the requested name that includes it, without those that the caller may not read. Throws `PERMISSION_DENIED` for the name
 * of a single type that the caller may not read.
 */
function typesOf(caller: Caller, names: readonly string[]): Partial<Record<EventType, string>> {
  const types: Partial<Record<EventType, string>> = {};
  for (const name of names) {
    const named = typesNamed(name);
    if (!named) throw new AppError('UNKNOWN_EVENT_TYPE', { event: name, known: eventTypes }, `There is no event type ${name}.`);
    const isSingle = named.length === 1;
    for (const type of named) {
      const { permission } = eventCatalogue[type];
      if (allows(caller.permissions, permission)) types[type] ??= isSingle ? name : type;
      else if (isSingle)
        throw new AppError('PERMISSION_DENIED', { permission }, `Events ${name} need the permission ${permission}.`);
    }
  }
  return types;
}
