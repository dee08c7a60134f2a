import type { z } from 'zod';
import { eventCatalogue, eventTypes, type EventType } from '../events.js';
import { requestHeaders, requestIdHeader } from '../headers.js';
import type { AnyRoute } from '../route.js';
import { exampleIds, exampleOf } from './example.js';
import { envelopeSchema, errorExamples, headerComponents, repliesOf } from './replies.js';
import { schemaOf, type Json, type Parts } from './schema.js';

export interface About {
  title: string;
  version: string;
  description: string;
  base: string;
  /** Sentences about groups of routes, in the order in which the groups are shown. Others follow, without a sentence. */
  groups?: Readonly<Record<string, string>>;
  /** Examples of `data` by the id of a route, as a backend answered. Absent: they are made from the schemas. */
  replies?: Readonly<Record<string, unknown>>;
}

/**
 * Returns the OpenAPI 3.1 document of a list of routes, and of the events that webhooks deliver. Pure: the same routes produce the same document.
 */
export function openapi(routes: readonly AnyRoute[], about: About): Json {
  const schemas: Json = { Envelope: envelopeSchema, Error: errorSchema };
  const failures: Json = {};
  const parts: Parts = { schemas, failures, replies: about.replies ?? {} };
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}').replace(/(.)\/$/, '$1');
    (paths[path] ??= {})[route.method] = operationOf(route, parts);
  }
  return {
    openapi: '3.1.0',
    info: { title: about.title, version: about.version, description: about.description },
    servers: [{ url: about.base }],
    security: [{ ApiKey: [] }],
    ...(about.groups ? { tags: Object.entries(about.groups).map(([name, sentence]) => ({ name, description: sentence })) } : {}),
    paths,
    webhooks: Object.fromEntries(eventTypes.map((type) => [type, { post: webhookOf(type, schemas) }])),
    components: {
      parameters: headerParameters(),
      headers: headerComponents(),
      examples: errorExamples(),
      responses: failures,
      schemas,
      securitySchemes: {
        ApiKey: {
          type: 'apiKey',
          in: 'header',
          name: 'X-API-Key',
          description:
            'Paste the API key as it was printed, `chq_…`. A token of a login goes into the same box. Programs may also send `Authorization: ApiKey <key>` or `Authorization: Bearer <token>`.',
        },
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

function operationOf(route: AnyRoute, parts: Parts): Json {
  const { schemas } = parts;
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [route.id.split('.')[0]],
    ...descriptionOf(route),
    ...(route.auth === 'pub' ? { security: [] } : {}),
    parameters: [
      ...parametersOf(route, 'path', schemas),
      ...parametersOf(route, 'query', schemas),
      ...[...route.headers, requestIdHeader.name].map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ],
    ...bodyOf(route, schemas),
    responses: repliesOf(route, parts),
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
      content: {
        'application/json': {
          schema: { type: 'object', required: Object.keys(properties), properties },
          example: eventExample(type),
        },
      },
    },
    responses: {
      '2XX': { description: 'Received. Any other status is retried.' },
      '410': { description: 'The receiver no longer exists. The endpoint is switched off.' },
    },
  };
}

function eventExample(type: EventType): Json {
  const session = { id: exampleIds.sessionId, name: 'default' };
  const data = exampleOf(eventCatalogue[type].data, 'output');
  const when = { timestamp: '2026-05-04T12:30:00.000Z', cursor: '00000000018422' };
  return { id: exampleIds.eventId, event: type, type, session, instance: session, data, ...when };
}

const callers: Readonly<Partial<Record<AnyRoute['auth'], string>>> = {
  acc: 'An account key or a token; the key of a session is refused.',
  pwd: 'The token of a login with a password (`POST /auth/login`).',
  stf: 'The token of a login by staff (`POST /auth/login`).',
  adm: 'The token of a login by an admin (`POST /auth/login`).',
};

function descriptionOf({ auth, permission, idempotency }: AnyRoute): Json {
  const lines = [
    ...(permission ? [`Permission: \`${permission}\``] : []),
    ...(callers[auth] ? [`Needs: ${callers[auth]}`] : []),
    ...(idempotency !== null && typeof idempotency === 'object'
      ? [`\`Idempotency-Key\` has no effect here. ${idempotency.without}`]
      : []),
  ];
  return lines.length > 0 ? { description: lines.join('\n\n') } : {};
}

/** The headers of `requestHeaders` under their names, for routes to refer to. */
function headerParameters(): Json {
  const rows = { ...requestHeaders, [requestIdHeader.name]: requestIdHeader };
  return Object.fromEntries(
    Object.entries(rows).map(([name, { schema, doc }]) => [
      name,
      { name, in: 'header', required: false, description: doc, schema: schemaOf(schema, 'input', {}) },
    ]),
  );
}

function bodyOf(route: AnyRoute, schemas: Json): Json {
  if (route.consumes === 'none') return {};
  const schema = schemaOf(route.body, 'input', schemas);
  const examples = Object.fromEntries(
    Object.entries(requestExamplesOf(route)).map(([summary, value]) => [
      summary.toLowerCase().replace(/[^a-z0-9]+/g, '-'),
      { summary, value },
    ]),
  );
  const content: Json = { 'application/json': { schema, examples } };
  if (route.consumes === 'upload') {
    const file: Json = { type: 'object', properties: { file: { type: 'string', format: 'binary' } } };
    content['multipart/form-data'] = { schema: { allOf: [schema, file] } };
  }
  return { requestBody: { content } };
}

/** The example bodies of a route by a few words, the first one first: those of its contract, or one that is made from its schema. */
export function requestExamplesOf(route: AnyRoute): Readonly<Record<string, unknown>> {
  return route.examples ?? { Example: exampleOf(route.body, 'input') };
}

/** What `:sessionId` and others look like. `current` is the session of the key, so that a request works as it is printed. */
const parameterExamples: Readonly<Record<string, string>> = {
  ...exampleIds,
  sessionId: 'current',
  contact: exampleIds.accountId,
  workerId: 'worker-1',
  callId: '3EB0C431C26A1916E07A',
  labelId: '1',
};

/** The example of a path parameter. `sample`: what its schema gives. */
export function parameterExampleOf({ auth }: AnyRoute, name: string, sample: unknown): unknown {
  // Staff are not in a session.
  if (name === 'sessionId' && (auth === 'stf' || auth === 'adm')) return exampleIds.sessionId;
  return parameterExamples[name] ?? sample;
}

function parametersOf(route: AnyRoute, place: 'path' | 'query', schemas: Json): Json[] {
  const schema: z.ZodType = place === 'path' ? route.params : route.query;
  const object = schemaOf(schema, 'input', schemas) as { properties?: Record<string, Json>; required?: string[] };
  const samples = exampleOf(schema, 'input') as Json;
  return Object.entries(object.properties ?? {}).map(([name, property]) => {
    const required = place === 'path' || (object.required ?? []).includes(name);
    const { description, ...rest } = property;
    return {
      name,
      in: place,
      required,
      ...(description === undefined ? {} : { description }),
      schema: rest,
      ...(required ? { example: place === 'path' ? parameterExampleOf(route, name, samples[name]) : samples[name] } : {}),
    };
  });
}
