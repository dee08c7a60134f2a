import { errorTable, type ErrorCode } from '../errors.js';
import { replyHeaders, type ReplyHeader } from '../headers.js';
import type { AnyRoute } from '../route.js';
import { exampleIds, exampleOf } from './example.js';
import { schemaOf, type Json, type Parts } from './schema.js';

/** Errors that every route may answer with, because every request passes the same checks. */
const everywhere: ErrorCode[] = [
  'MALFORMED_REQUEST',
  'VALIDATION_FAILED',
  'RATE_LIMITED',
  'INTERNAL_ERROR',
  'STORED_DATA_UNREADABLE',
  'DATABASE_UNAVAILABLE',
  'STORAGE_FULL',
  'STORAGE_UNAVAILABLE',
  'SHUTTING_DOWN',
];
/** The errors of routes that read a body. */
const withBody: ErrorCode[] = ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE', 'OVERLOADED'];
const authenticated: ErrorCode[] = ['UNAUTHENTICATED', 'PERMISSION_DENIED'];
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

/**
 * The replies of a route: those of success with schema, example and headers, and the errors, each code with an example. Failures of the same
 * codes are stored in `failures` once and referred to, which makes the document a third as long.
 */
export function repliesOf(route: AnyRoute, parts: Parts): Json {
  const { failures } = parts;
  const replies: Json = {};
  for (const status of route.status) replies[String(status)] = successOf(route, status, parts);
  for (const [status, codes] of byStatus(errorsOf(route))) {
    const name = [status, ...codes].join('.');
    failures[name] ??= failureOf(status, codes);
    replies[String(status)] = { $ref: `#/components/responses/${name}` };
  }
  return replies;
}

/** The example of a whole reply, as it is sent. */
export function replyExampleOf(route: AnyRoute, replies: Parts['replies']): unknown {
  const data = Object.hasOwn(replies, route.id) ? replies[route.id] : exampleOf(route.reply, 'output');
  return route.envelope ? { success: true, data, requestId: exampleIds.requestId } : data;
}

const meanings: Readonly<Record<number, string>> = {
  200: 'Success.',
  201: 'Created.',
  202: 'Accepted and stored. The work goes on after this reply.',
  206: 'The part of the file that `Range` asks for.',
};

function successOf(route: AnyRoute, status: number, { schemas, replies }: Parts): Json {
  const content: Json = {};
  if (route.files.length === 0 || route.envelope) {
    const data = schemaOf(route.reply, 'output', schemas);
    const schema = route.envelope ? envelopeOf(data) : data;
    content['application/json'] = { schema, example: replyExampleOf(route, replies) };
  }
  for (const type of route.files) content[type] = { schema: { type: 'string', format: 'binary' } };
  const meaning = route.replies[status] ?? meanings[status] ?? 'Success.';
  return { description: `${meaning} ${wordsOf(route)}`.trim(), headers: headersOf(successHeaders(route, status)), content };
}

/** What the reply of a route contains, in a sentence. */
function wordsOf({ reply, envelope, files, summary }: AnyRoute): string {
  if (files.length > 0 && !envelope) return `The body is the file (${files.join(', ')}).`;
  const json = schemaOf(reply, 'output', {}) as {
    $ref?: string;
    type?: string;
    items?: { $ref?: string };
    properties?: object;
  };
  const place = envelope ? '`data`' : 'The body';
  const nameOf = (ref: string): string => `\`${ref.split('/').pop()!}\``;
  const also = files.length > 0 ? ` With another \`format\`: ${files.join(', ')}.` : '';
  if (json.$ref) return `${place} is a ${nameOf(json.$ref)}.${also}`;
  if (json.type === 'array')
    return `${place} is a list${json.items?.$ref ? ` of ${nameOf(json.items.$ref)}` : ''}, of the kind: ${summary}.${also}`;
  const fields = Object.keys(json.properties ?? {});
  if (fields.length > 0) return `${place} has ${fields.map((name) => `\`${name}\``).join(', ')}.${also}`;
  return `${place}: ${summary}.${also}`;
}

function failureOf(status: number, codes: readonly ErrorCode[]): Json {
  const names: ReplyHeader[] = [
    'X-Request-Id',
    ...(status === 429 ? limitHeaders : []),
    ...(status === 429 || status === 503 ? (['Retry-After'] as const) : []),
    ...(status === 416 ? (['Content-Range'] as const) : []),
  ];
  return {
    description: codes.map((code) => `\`${code}\`: ${errorTable[code][1]}`).join('\n\n'),
    headers: headersOf(names),
    content: {
      'application/json': {
        schema: { $ref: '#/components/schemas/Error' },
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  };
}

/** The reply of each error code, for routes to refer to. */
export const errorExamples = (): Json =>
  Object.fromEntries(
    Object.entries(errorTable).map(([code, [, message]]) => [
      code,
      {
        summary: code,
        value: { success: false, error: { code, message, details: detailsOf(code) }, requestId: exampleIds.requestId },
      },
    ]),
  );

const detailsOf = (code: string): Json => {
  if (code === 'VALIDATION_FAILED')
    return { fields: [{ path: 'recipient', code: 'INVALID_TYPE', message: 'Expected a text, but it is missing.' }] };
  if (code === 'RATE_LIMITED') return { scope: 'key', limit: 120, retryAfterSeconds: 12 };
  if (code === 'PERMISSION_DENIED') return { permission: 'messages.send' };
  return {};
};

const limitHeaders = [
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
] as const satisfies readonly ReplyHeader[];

function successHeaders(route: AnyRoute, status: number): ReplyHeader[] {
  return [
    'X-Request-Id',
    'RateLimit-Limit',
    'RateLimit-Remaining',
    'RateLimit-Reset',
    ...(route.headers.includes('Idempotency-Key') ? (['Idempotency-Replayed'] as const) : []),
    ...(route.headers.includes('Prefer') ? (['Preference-Applied'] as const) : []),
    ...(route.headers.includes('Range') ? (['Accept-Ranges'] as const) : []),
    ...(status === 206 ? (['Content-Range'] as const) : []),
  ];
}

const headersOf = (names: readonly ReplyHeader[]): Json =>
  Object.fromEntries([...new Set(names)].map((name) => [name, { $ref: `#/components/headers/${name}` }]));

/** The headers of `replyHeaders` under their names, for replies to refer to. */
export const headerComponents = (): Json =>
  Object.fromEntries(
    Object.entries(replyHeaders).map(([name, { schema, doc }]) => [
      name,
      { description: doc, schema: schemaOf(schema, 'output', {}) },
    ]),
  );

/** What every reply in JSON has besides its data. */
export const envelopeSchema: Json = {
  type: 'object',
  required: ['success', 'data', 'requestId'],
  properties: {
    success: { const: true },
    meta: { type: 'object', description: 'Of lists: `limit`, `offset`, `total`, and `nextCursor` where there is one.' },
    warnings: {
      type: 'array',
      description: 'What is not done exactly as it was asked.',
      items: { type: 'object', properties: { code: { type: 'string' }, message: { type: 'string' } } },
    },
    requestId: { type: 'string', description: 'The id of the request, also in the header `X-Request-Id`.' },
  },
};

const envelopeOf = (data: Json): Json => ({
  allOf: [{ $ref: '#/components/schemas/Envelope' }, { type: 'object', properties: { data } }],
});

function byStatus(codes: readonly ErrorCode[]): [number, ErrorCode[]][] {
  const map = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) map.set(errorTable[code][0], [...(map.get(errorTable[code][0]) ?? []), code]);
  return [...map].sort(([a], [b]) => a - b);
}
