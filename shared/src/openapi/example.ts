import type { z } from 'zod';
import { jsonSchemaOf } from './schema.js';

/**
 * Examples of requests and replies, made from their schemas. A field is what its schema gives as an example
 * (`z.string().meta({ examples: ['…'] })`), else what fields of its name look like, else the smallest value that its type allows.
 */

/** The part of JSON Schema that our schemas produce. */
export interface JsonSchema {
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  examples?: unknown[];
  default?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  properties?: Record<string, JsonSchema>;
  propertyNames?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
  required?: string[];
  items?: JsonSchema;
  prefixItems?: JsonSchema[];
  minItems?: number;
  minLength?: number;
  format?: string;
  minimum?: number;
  exclusiveMinimum?: number;
}

/** Ids in examples, so that one object has one id in all of them. */
export const exampleIds = {
  sessionId: '01920000-0000-7000-8000-000000000001',
  messageId: '01920000-0000-7000-8000-000000000002',
  accountId: '01920000-0000-7000-8000-000000000003',
  keyId: '01920000-0000-7000-8000-000000000004',
  webhookId: '01920000-0000-7000-8000-000000000005',
  deliveryId: '01920000-0000-7000-8000-000000000006',
  eventId: '01920000-0000-7000-8000-000000000007',
  templateId: '01920000-0000-7000-8000-000000000008',
  mediaId: '01920000-0000-7000-8000-000000000009',
  scheduleId: '01920000-0000-7000-8000-00000000000a',
  bulkId: '01920000-0000-7000-8000-00000000000b',
  planId: '01920000-0000-7000-8000-00000000000c',
  exportId: '01920000-0000-7000-8000-00000000000d',
  erasureId: '01920000-0000-7000-8000-00000000000e',
  requestId: '01920000-0000-7000-8000-00000000000f',
  backupId: '01920000-0000-7000-8000-000000000010',
} as const;

const phone = '+5511999990001';
const personId = '5511999990001@c.us';

/** What a text field of this name looks like. */
const texts: Readonly<Record<string, string>> = {
  ...exampleIds,
  id: '01920000-0000-7000-8000-000000000000',
  bulkJobId: exampleIds.bulkId,
  instanceId: exampleIds.sessionId,
  name: 'Ana',
  username: 'ana',
  email: 'ana@example.com',
  phone,
  phoneNumber: '+5511988887777',
  fromNumber: phone,
  toNumber: phone,
  recipient: phone,
  contactId: personId,
  chatId: personId,
  from: personId,
  to: personId,
  lid: '184467440737@lid',
  pushName: 'Your shop',
  message: 'Hello Ana',
  text: 'Hello Ana',
  body: 'Hello Ana',
  caption: 'The invoice of May',
  filename: 'invoice.pdf',
  mimetype: 'application/pdf',
  url: 'https://example.com/hook',
  mediaUrl: 'https://example.com/invoice.pdf',
  whatsappId: `true_${personId}_3EB0C431C26A1916E07A`,
  whatsappMessageId: `true_${personId}_3EB0C431C26A1916E07A`,
  version: '1.0.0',
  platform: 'android',
  timezone: 'America/Sao_Paulo',
  language: 'pt-BR',
  workerId: 'worker-1',
  jobName: 'qr.sweep',
  cursor: '00000000018422',
  qrText: '2@bGluay10aGlzLWRldmljZQ==,cHVibGljLWtleQ==,aWRlbnRpdHk=,YWR2,1',
  qrCode: 'data:image/png;base64,iVBORw0KGgo=',
  code: 'ABCD1234',
  key: 'chq_5fKpW2uYb7',
  apiKey: 'chq_5fKpW2uYb7',
  token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTkyIn0.c2lnbmF0dXJl',
  ticket: 'dGlja2V0',
  secret: 'whsec_c2VjcmV0LXRoYXQtc2lnbnMtZGVsaXZlcmllcw==',
  ip: '203.0.113.7',
  currency: 'BRL',
  emoji: '👍',
  cron: '0 9 * * 1',
  date: '2026-05-04',
  countryCode: '55',
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
};

/** Fields that are null unless something is wrong, special or still to come. */
const usuallyNull = new Set([
  'reason',
  'error',
  'expiresAt',
  'scheduledAt',
  'scheduleId',
  'bulkJobId',
  'templateId',
  'nextAttemptAt',
  'cancelledAt',
  'failedAt',
  'deletedAt',
  'lastError',
  'quoted',
  'quotedMessage',
  'quotedMessageId',
  'supersededBy',
  'suspendedAt',
  'suspendReason',
  'disabledAt',
  'disabledReason',
  'qrCode',
  'nextCursor',
  'rateLimit',
]);

/** Flags that are false unless something is wrong, special or still to come. */
const usuallyFalse = new Set([
  'isArchived',
  'isBlocked',
  'isBusiness',
  'isForwarded',
  'isGroup',
  'isMuted',
  'isReadOnly',
  'isUrgent',
  'autoRotation',
  'isClaimable',
  'stale',
  'draining',
  'degraded',
  'mustChangePassword',
]);

/** People and chats, whose `id` is one of WhatsApp. */
const people = new Set(['contact', 'participant', 'author', 'owner', 'chat', 'mentionedContact']);

const time = '2026-05-04T12:30:00.000Z';
const formats: Readonly<Record<string, string>> = {
  'date-time': time,
  date: '2026-05-04',
  email: 'ana@example.com',
  uri: 'https://example.com/',
  uuid: '01920000-0000-7000-8000-000000000000',
};

/** Stands in example bodies for a date of the next months: a fixed one would be refused one day, because it has passed. */
export const soonToken = '{{soon}}';

/** Puts a date into the text of examples, half a year after `now`. */
export const withSoon = (text: string, now: Date): string =>
  text.replaceAll(soonToken, new Date(now.getTime() + 180 * 86_400_000).toISOString().slice(0, 10));

/** A value of the schema. For an input: required fields only, lists as short as they may be. For an output: lists of one item. */
export function exampleOf(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const json = jsonSchemaOf(schema, io) as JsonSchema;
  return build(json, { definitions: json.$defs ?? {}, itemsAtLeast: io === 'output' ? 1 : 0, isOutput: io === 'output' }, '');
}

interface Context {
  definitions: Readonly<Record<string, JsonSchema>>;
  itemsAtLeast: number;
  isOutput: boolean;
}

function build(schema: JsonSchema, context: Context, name: string): unknown {
  if (schema.examples) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.default !== undefined && !context.isOutput) return schema.default;
  if (schema.$ref) return build(context.definitions[schema.$ref.replace('#/$defs/', '')] ?? {}, context, name);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return build(choiceOf(choices, name), context, name);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => build(part, context, name))) as unknown;
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'object') return objectOf(schema, context, name);
  if (type === 'array') return listOf(schema, context, name);
  if (type === 'string') return textOf(schema, context, name);
  if (type === 'integer' || type === 'number') return numberOf(schema);
  if (type === 'boolean') return !(context.isOutput && usuallyFalse.has(name));
  return null;
}

function choiceOf(choices: readonly JsonSchema[], name: string): JsonSchema {
  const nothing = choices.find(({ type }) => type === 'null');
  if (nothing && usuallyNull.has(name)) return nothing;
  return choices.find(({ type }) => type !== 'null') ?? {};
}

/** Zod writes the limits of safe integers where there are no others. */
function numberOf({ minimum, exclusiveMinimum }: JsonSchema): number {
  if (exclusiveMinimum !== undefined) return exclusiveMinimum + 1;
  return minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? 1 : minimum;
}

function objectOf(schema: JsonSchema, context: Context, name: string): unknown {
  const { required = [], properties = {}, propertyNames, additionalProperties } = schema;
  const named = (field: string): string => (field === 'id' && context.isOutput && people.has(name) ? 'contactId' : field);
  const fields = Object.fromEntries(required.map((field) => [field, build(properties[field] ?? {}, context, named(field))]));
  const isMap = propertyNames?.enum === undefined && typeof additionalProperties === 'object';
  if (!context.isOutput || !isMap || Object.keys(additionalProperties).length === 0) return fields;
  const key = propertyNames?.examples?.[0] ?? 'name';
  return { ...fields, [String(key)]: build(additionalProperties, context, 'value') };
}

function listOf({ minItems = 0, items, prefixItems }: JsonSchema, context: Context, name: string): unknown {
  if (prefixItems) return prefixItems.map((item) => build(item, context, name));
  // `participants` is a list of what `participant` is.
  const singular = name.replace(/s$/, '');
  return Array.from({ length: Math.max(minItems, items ? context.itemsAtLeast : 0) }, () =>
    build(items ?? {}, context, singular),
  );
}

function textOf({ format, minLength = 1 }: JsonSchema, { isOutput }: Context, name: string): string {
  const known = formats[format ?? ''];
  if (known) return known;
  const text = Object.hasOwn(texts, name) ? texts[name]! : isOutput ? 'text' : 'x';
  return text.padEnd(minLength, 'x');
}
