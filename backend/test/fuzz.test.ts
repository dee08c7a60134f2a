import { request as send } from 'node:http';
import { Agent } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AppError, operationIds } from '@chasqui/shared';
import { loginOf } from './support/account.js';
import { databases, serviceKey } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { randomOf, type Random } from './support/raw.js';

/**
 * Requests generated from the OpenAPI document: mostly as it says, with one thing or another wrong. Whatever comes, there is no 5xx, the
 * answer is the envelope, and the process stays up. PostgreSQL refuses values that SQLite stores (U+0000, numbers out of range), so both run.
 * A failure prints the seed and the request. `PROPERTY_SEED` repeats a run, `PROPERTY_RUNS` multiplies the requests.
 */

const requestsOn = { sqlite: 14_000, postgres: 4_000 };
const seed = Number(process.env['PROPERTY_SEED']);
const together = 24;

interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  $ref?: string;
  minimum?: number;
  maximum?: number;
  format?: string;
}
interface Operation {
  operationId: string;
  parameters?: { name: string; in: 'path' | 'query' | 'header'; schema: Schema }[];
  requestBody?: { content: Record<string, { schema: Schema }> };
}
interface Document {
  servers: { url: string }[];
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

let core: Core;
/** Objects that are there, by the name of the parameter. */
const there: Record<string, string> = {};

const nasty: readonly unknown[] = [
  null,
  '',
  ' ',
  '\0',
  'a\0b',
  '1\0',
  'abc:00000000-0000-7000-8000-000000000000',
  ...['abc', '1e30', '-1', ' ', '9'.repeat(40), '\0'].map((time) =>
    Buffer.from(`${time}:00000000-0000-7000-8000-000000000000`).toString('base64url'),
  ),
  '9'.repeat(18),
  '-9223372036854775809',
  'Infinity',
  '+275760-09-13T00:00:00.001Z',
  '0000-01-01T00:00:00Z',
  '\u202e\ud800',
  'x'.repeat(5_000),
  "' OR 1=1 --",
  '%00../../etc/passwd',
  '{{7*7}}',
  '😀'.repeat(50),
  -1,
  0,
  1e308,
  2 ** 53,
  0.1,
  true,
  [],
  [[[[]]]],
  {},
  { __proto__: 1, constructor: { prototype: 1 } },
  '1970-01-01T00:00:00Z',
  '9999-12-31T23:59:60Z',
  'http://127.0.0.1:1/',
  'data:,x',
];

function valueOf(schema: Schema | undefined, random: Random, document: Document, depth = 0): unknown {
  if (!schema || depth > 6 || random.chance(0.08)) return random.pick(nasty);
  if (schema.$ref) return valueOf(document.components.schemas[schema.$ref.split('/').at(-1)!], random, document, depth + 1);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return valueOf(random.pick(choices), random, document, depth + 1);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return random.pick(schema.enum);
  switch (Array.isArray(schema.type) ? random.pick(schema.type) : schema.type) {
    case 'object': {
      const names = Object.keys(schema.properties ?? {});
      // A few of many optional fields: each can be wrong, and a request with ten of them would always be refused.
      const optional = Math.min(0.4, 4 / names.length);
      const chosen = names.filter((name) => (schema.required?.includes(name) ? !random.chance(0.05) : random.chance(optional)));
      const made = chosen.map((name) => [name, valueOf(schema.properties![name], random, document, depth + 1)]);
      if (random.chance(0.05)) made.push([random.pick(['extra', '__proto__', 'constructor', '']), random.pick(nasty)]);
      return Object.fromEntries(made) as unknown;
    }
    case 'array':
      return Array.from({ length: random.pick([0, 1, 1, 2, 40]) }, () => valueOf(schema.items, random, document, depth + 1));
    case 'integer':
    case 'number':
      return random.pick([schema.minimum ?? 0, schema.maximum ?? 100, 1, 7, -1, 1.5]);
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    default:
      if (schema.format === 'date-time') return random.pick(['2026-11-21T10:00:00Z', '2030-01-01T00:00:00+05:30', 'gestern']);
      return random.pick([
        '5511999990001',
        'x',
        'current',
        core.sessionId,
        'https://example.com/a',
        'a@example.com',
        'America/Lima',
      ]);
  }
}

interface Made {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string | null;
}

/** Says less than it sends. The server closes its connection behind the answer, so it must not be one that others use. */
const isCut = ({ headers, body }: Made): boolean => body !== null && Number(headers['content-length']) < Buffer.byteLength(body);

function makeRequest(random: Random, document: Document, keys: readonly (string | null)[]): Made {
  const path = random.pick(Object.keys(document.paths));
  const method = random.pick(Object.keys(document.paths[path]!));
  const operation = document.paths[path]![method]!;
  const text = (schema: Schema): string => {
    const value = valueOf(schema, random, document);
    return typeof value === 'string' ? value : JSON.stringify(value);
  };
  const wellFormed = (value: string): string => encodeURIComponent(value.replace(/[\ud800-\udfff]/g, '?'));
  /** Mostly something that is there: a generator that only meets 404 looks no further than the door. */
  const named = ({ name }: { name: string }): string => (random.chance(0.7) ? (there[name] ?? '') : '');
  let target = path;
  const query: string[] = [];
  for (const parameter of operation.parameters ?? []) {
    if (parameter.in === 'path')
      target = target.replace(`{${parameter.name}}`, wellFormed(named(parameter) || text(parameter.schema)) || 'x');
    // A long poll is meant to take its time.
    else if (parameter.in === 'query' && parameter.name !== 'wait' && random.chance(0.4))
      query.push(`${parameter.name}=${wellFormed(text(parameter.schema))}`);
  }
  const headers: Record<string, string> = {};
  const key = random.pick(keys);
  if (key !== null) headers[random.pick(['authorization', 'x-api-key'])] = key;
  if (headers['authorization'])
    headers['authorization'] = `${random.pick(['ApiKey', 'Bearer', 'ApiKey', 'Bearer', 'Basic'])} ${headers['authorization']}`;
  if (random.chance(0.1)) headers['idempotency-key'] = random.pick(['one', 'two', 'x'.repeat(300)]);
  if (random.chance(0.05)) headers['prefer'] = random.pick(['respond-async', 'wait=0', 'wait=x']);
  let body: string | null = null;
  const content = operation.requestBody?.content['application/json'];
  if (content || random.chance(0.03)) {
    body = JSON.stringify(valueOf(content?.schema, random, document)) ?? '';
    if (random.chance(0.03)) body = body.slice(0, random.below(body.length + 1));
    headers['content-type'] = random.chance(0.97)
      ? 'application/json'
      : random.pick(['text/plain', 'multipart/form-data', 'application/xml']);
  }
  if (body !== null) headers['content-length'] = String(Math.min(Buffer.byteLength(body), random.chance(0.99) ? Infinity : 3));
  const search = query.length > 0 ? `?${query.join('&')}` : '';
  return { method: method.toUpperCase(), path: `${document.servers[0]!.url}${target}${search}`, headers, body };
}

describe.each(await databases())('on %s', (database) => {
  const requests = requestsOn[database] * Number(process.env['PROPERTY_RUNS']);
  beforeAll(async () => {
    const settings = { REGISTRATION: 'open', SEND_WAIT_MS: '50', INIT_WAIT_MS: '50', MAX_SESSIONS: '50' };
    core = await startCore({ database, settings });
  }, 60_000);
  afterAll(() => core?.close());

  test(`${requests} requests generated from the OpenAPI document: no 5xx, always the envelope, and the process stays up`, async () => {
    const random = randomOf(seed);
    const document = (await core.rig.call('GET', '/openapi.json', { key: null })).body as unknown as Document;
    expect(Object.keys(document.paths).length).toBeGreaterThan(40);
    const login = await loginOf(core.rig);
    const token = login.headers.authorization.slice('Bearer '.length);
    const limited = await core.post('/keys', { name: 'limited', permissions: ['messages.send'] });
    there['sessionId'] = core.sessionId;
    there['messageId'] = dataOf(await core.send('there')).id;
    const idOf = async (path: string, body: object): Promise<string> =>
      ((await core.post(path, body)).body.data as { id: string }).id;
    there['webhookId'] = await idOf('/webhooks', { url: 'https://hook.invalid/', events: ['message.*'] });
    there['exportId'] = await idOf('/privacy/exports', { contact: '5511999990001' });
    // What the page would say is not what this is about.
    for (const id of operationIds) core.worker.answer.set(id, new AppError('SESSION_NOT_CONNECTED'));
    const keys = [
      core.rig.apiKey,
      core.rig.apiKey,
      token,
      token,
      (limited.body.data as { key: string }).key,
      serviceKey,
      'chq_x',
      null,
    ];
    const agent = new Agent({ keepAlive: true, maxSockets: together });
    const base = new URL(core.rig.url);
    const statuses = new Map<number, number>();

    /** A line that the server closed while it was idle is the client's to replace. */
    const ask = (made: Made): Promise<{ status: number; type: string; body: string }> =>
      new Promise((resolve, reject) => {
        const request = send(
          {
            agent: isCut(made) ? false : agent,
            host: base.hostname,
            port: base.port,
            method: made.method,
            path: made.path,
            headers: made.headers,
          },
          (response) => {
            const type = response.headers['content-type'] ?? '';
            const done = (body: string): void => resolve({ status: response.statusCode!, type, body });
            // Streams have no end.
            if (type.startsWith('text/event-stream')) return (request.destroy(), done(''));
            let body = '';
            response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
            response.on('end', () => done(body));
          },
        );
        request.setTimeout(30_000, () => request.destroy(new Error('No answer within 30 s.')));
        request.on('error', (error) => (request.reusedSocket ? resolve(ask(made)) : reject(error)));
        request.end(made.body ?? undefined);
      });

    let left = requests;
    const wrongs: string[] = [];
    const runner = async (): Promise<void> => {
      while (left > 0 && wrongs.length === 0) {
        left -= 1;
        const made = makeRequest(random, document, keys);
        // What ends the key that all of this is asked with is for other tests.
        if (/logout|api-key\/regenerate|me\/password|^DELETE .*\/keys\/|PUT .*\/keys\//.test(`${made.method} ${made.path}`))
          continue;
        if (made.method === 'PATCH' && made.path.includes('/admin/accounts/')) continue;
        const answer = await ask(made).catch((error: unknown) => ({ status: 0, type: '', body: String(error) }));
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        const isEnvelope = (): boolean => {
          const body = JSON.parse(answer.body) as { success?: unknown; error?: { code?: unknown; message?: unknown } };
          return answer.status < 400 ? body.success === true : body.success === false && typeof body.error?.code === 'string';
        };
        const isFine =
          answer.status >= 200 &&
          answer.status < 500 &&
          (answer.status === 204 ||
            /^(image\/|application\/zip|text\/csv)/.test(answer.type) ||
            // A code as text, and a file, without the envelope.
            (answer.status === 200 &&
              /^\/api\/v1\/sessions\/[^/]+\/qr\?/.test(made.path) &&
              answer.type.startsWith('text/plain')) ||
            (answer.status === 200 && made.path.startsWith('/api/v1/opt-outs/export')) ||
            answer.type.startsWith('text/event-stream') ||
            (answer.type.includes('json') && isEnvelope()));
        if (!isFine) wrongs.push(`${answer.status} ${answer.body.slice(0, 500)} ← ${JSON.stringify(made).slice(0, 1_500)}`);
      }
    };
    await Promise.all(Array.from({ length: together }, runner));
    agent.destroy();
    expect({ seed, wrongs }).toEqual({ seed, wrongs: [] });
    expect((await core.rig.call('GET', '//health', { key: null })).status).toBe(200);
    // A generator whose requests are all refused at the door would prove nothing.
    const accepted = [...statuses].filter(([status]) => status < 300).reduce((sum, [, count]) => sum + count, 0);
    expect(accepted).toBeGreaterThan(requests / 40);
    process.stdout.write(`fuzz on ${database}, seed ${seed}: ${JSON.stringify(Object.fromEntries([...statuses].sort()))}\n`);
  }, 300_000);
});
