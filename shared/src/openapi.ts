import { z } from 'zod';
import { errorTable, type ErrorCode } from './errors.js';
import { eventCatalogue, eventTypes, type EventType } from './events.js';
import { requestHeaders } from './headers.js';
import type { AnyRoute } from './route.js';

type Json = Record<string, unknown>;

/** Errors that every route may answer with, because every request passes the same checks. */
const everywhere: ErrorCode[] = [
  'MALFORMED_REQUEST',
  'VALIDATION_FAILED',
  'RATE_LIMITED',
  'INTERNAL_ERROR',
  'DATABASE_UNAVAILABLE',
  'STORAGE_FULL',
  'SHUTTING_DOWN',
];
/** The errors of routes that read a body. */
const withBody: ErrorCode[] = ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'OVERLOADED'];
const authenticated: ErrorCode[] = ['UNAUTHENTICATED', 'PERMISSION_DENIED'];

/**
 * Returns the OpenAPI 3.1 document of a list of routes, and of the events that webhooks deliver. Pure: the same routes produce the same document.
 */
export function openapi(
  routes: readonly AnyRoute[],
  about: { title: string; version: string; description: string; base: string },
): Json {
  const schemas: Json = { Error: errorSchema };
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}').replace(/(.)\/$/, '$1');
    (paths[path] ??= {})[route.method] = operationOf(route, schemas);
  }
  return {
    openapi: '3.1.0',
    info: { title: about.title, version: about.version, description: about.description },
    servers: [{ url: about.base }],
    security: [{ ApiKey: [] }, { Bearer: [] }, { XApiKey: [] }],
    paths,
    webhooks: Object.fromEntries(eventTypes.map((type) => [type, { post: webhookOf(type, schemas) }])),
    components: {
      parameters: headerParameters(),
      schemas,
      securitySchemes: {
        ApiKey: { type: 'apiKey', in: 'header', name: 'Authorization', description: '`Authorization: ApiKey <key>`' },
        Bearer: { type: 'http', scheme: 'bearer' },
        XApiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
      },
    },
  };
}

const errorSchema: Json = {
  type: 'object',
  required: ['success', 'error', 'requestId'],
  properties: {
    success: { const: false },
    error: {
      type: 'object',
      required: ['code', 'message', 'details'],
      properties: { code: { type: 'string' }, message: { type: 'string' }, details: { type: 'object' } },
    },
    requestId: { type: 'string' },
  },
};

const idempotencyErrors: ErrorCode[] = ['IDEMPOTENCY_IN_PROGRESS', 'IDEMPOTENCY_KEY_REUSED'];

/** Every error code that a route may answer with: its own, and those of the common checks. */
export const errorsOf = (route: AnyRoute): ErrorCode[] => [
  ...new Set([
    ...route.errors,
    ...everywhere,
    ...(route.consumes === 'none' ? [] : withBody),
    ...(route.auth === 'pub' ? [] : authenticated),
    ...(route.headers.includes('Idempotency-Key') ? idempotencyErrors : []),
    ...(route.idempotency === 'replayed' ? (['OPERATION_TIMEOUT'] as const) : []),
  ]),
];

function operationOf(route: AnyRoute, schemas: Json): Json {
  const responses: Json = {};
  for (const status of route.status) {
    const content: Json = {};
    if (route.files.length === 0 || route.envelope) {
      const data = schemaOf(route.reply, 'output', schemas);
      content['application/json'] = { schema: route.envelope ? envelopeOf(data) : data };
    }
    for (const type of route.files) content[type] = { schema: { type: 'string', format: 'binary' } };
    responses[String(status)] = { description: 'Done', content };
  }
  for (const [status, codes] of byStatus(errorsOf(route))) {
    responses[String(status)] = {
      description: codes.map((code) => `\`${code}\`: ${errorTable[code][1]}`).join('\n\n'),
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
    };
  }
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [route.id.split('.')[0]],
    ...descriptionOf(route),
    ...(route.auth === 'pub' ? { security: [] } : {}),
    parameters: [
      ...parametersOf(route.params, 'path', schemas),
      ...parametersOf(route.query, 'query', schemas),
      ...route.headers.map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ],
    ...bodyOf(route, schemas),
    responses,
  };
}

/** One event as an endpoint without a transformation receives it. */
function webhookOf(type: EventType, schemas: Json): Json {
  const { doc, permission, data } = eventCatalogue[type];
  const session = {
    type: ['object', 'null'],
    properties: { id: { type: 'string' }, name: { type: 'string' } },
    required: ['id', 'name'],
  };
  const properties = {
    id: { type: 'string' },
    event: { type: 'string', description: 'The name under which the endpoint subscribed.' },
    type: { const: type },
    session,
    instance: session,
    data: schemaOf(data, 'output', schemas),
    timestamp: { type: 'string', format: 'date-time' },
    cursor: { type: 'string' },
  };
  return {
    operationId: `webhook.${type}`,
    summary: type,
    description: `${doc}\n\nPermission: \`${permission}\``,
    tags: ['webhook events'],
    security: [],
    parameters: ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => ({
      name,
      in: 'header',
      required: true,
      schema: { type: 'string' },
    })),
    requestBody: {
      content: { 'application/json': { schema: { type: 'object', required: Object.keys(properties), properties } } },
    },
    responses: {
      '2XX': { description: 'Received. Any other status is retried.' },
      '410': { description: 'The receiver no longer exists. The endpoint is switched off.' },
    },
  };
}

function descriptionOf({ permission, idempotency }: AnyRoute): Json {
  const lines = [
    ...(permission ? [`Permission: \`${permission}\``] : []),
    ...(idempotency !== null && typeof idempotency === 'object'
      ? [`\`Idempotency-Key\` has no effect here. ${idempotency.without}`]
      : []),
  ];
  return lines.length > 0 ? { description: lines.join('\n\n') } : {};
}

/** The headers of `requestHeaders` under their names, for routes to refer to. */
function headerParameters(): Json {
  return Object.fromEntries(
    Object.entries(requestHeaders).map(([name, { schema, doc }]) => [
      name,
      { name, in: 'header', required: false, description: doc, schema: schemaOf(schema, 'input', {}) },
    ]),
  );
}

function bodyOf(route: AnyRoute, schemas: Json): Json {
  if (route.consumes === 'none') return {};
  const schema = schemaOf(route.body, 'input', schemas);
  const content: Json = { 'application/json': { schema } };
  if (route.consumes === 'upload') {
    const file: Json = { type: 'object', properties: { file: { type: 'string', format: 'binary' } } };
    content['multipart/form-data'] = { schema: { allOf: [schema, file] } };
  }
  return { requestBody: { content } };
}

function envelopeOf(data: Json): Json {
  return {
    type: 'object',
    required: ['success', 'data', 'requestId'],
    properties: {
      success: { const: true },
      data,
      meta: { type: 'object' },
      warnings: { type: 'array' },
      requestId: { type: 'string' },
    },
  };
}

function parametersOf(schema: z.ZodType, place: 'path' | 'query', schemas: Json): Json[] {
  const object = schemaOf(schema, 'input', schemas) as { properties?: Record<string, Json>; required?: string[] };
  return Object.entries(object.properties ?? {}).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || (object.required ?? []).includes(name),
    schema: property,
  }));
}

function byStatus(codes: readonly ErrorCode[]): Map<number, ErrorCode[]> {
  const map = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) map.set(errorTable[code][0], [...(map.get(errorTable[code][0]) ?? []), code]);
  return map;
}

/** JSON Schema of a zod schema; the named ones (`.meta({id})`) are moved into `schemas` and referred to. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const {
    $schema: _,
    $defs,
    ...json
  } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json & { $defs?: Record<string, Json> };
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = relocate(definition) as Json;
  const named = json as { id?: string };
  if (named.id && io === 'output') {
    schemas[named.id] = relocate(json) as Json;
    return { $ref: `#/components/schemas/${named.id}` };
  }
  return relocate(json) as Json;
}

function relocate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocate);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !(key === 'id' && typeof inner === 'string'))
      .map(([key, inner]) =>
        key === '$ref' && typeof inner === 'string'
          ? [key, inner.replace('#/$defs/', '#/components/schemas/')]
          : [key, relocate(inner)],
      ),
  );
}
