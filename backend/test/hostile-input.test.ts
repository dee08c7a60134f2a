import { Agent, request as send } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AppError, operationIds, type AnyRoute } from '@chasqui/shared';
import { z } from 'zod';
import { percentile } from '../../bench/src/load.js';
import { loginOf, makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { sampleOf } from './support/sample.js';

/**
 * Hostile input on every route: each field of its body, its query and its path gets wrong values, and its whole body is replaced. The cases are built
 * from the contract, so a new route or field is covered without a change here. Every answer is a 2xx, 3xx or 4xx in the envelope, comes soon, and
 * another caller is answered meanwhile.
 *
 * Each field gets a part of the values, and the next field another part, so that each value comes to some hundred fields.
 *
 * fuzz.test.ts sends random requests that are mostly valid; this test sends one wrong thing at a time and leaves no field out.
 */

/** Text as JSON, because some of these values cannot be built as objects or are changed by building them. */
type Json = string;

/** Wrong values of one field. */
const wrongValues: readonly Json[] = [
  'null',
  'true',
  '-1',
  '0',
  '1e308',
  '1e400',
  '-9223372036854775809',
  '0.1',
  '[]',
  '[[[]]]',
  '[null]',
  '{}',
  '""',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udfff\\ud800"',
  '"\\ufeff\\u202e"',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"valueOf":null,"length":-1}',
  '"\\u0027; DROP TABLE messages; --"',
  '"0000-01-01T00:00:00Z"',
  '"+275760-09-13T00:00:00.001Z"',
];

const nested = (open: string, close: string, depth: number): Json => `${open.repeat(depth)}1${close.repeat(depth)}`;
const longText: Json = JSON.stringify('x'.repeat(1_000_000));

/** Wrong values that cost much: on each route one field and the whole body get one of them each. */
const largeValues: readonly Json[] = [
  longText,
  JSON.stringify('\u{1f600}'.repeat(200_000)),
  nested('[', ']', 10_000),
  nested('{"a":', '}', 10_000),
  `[${'1,'.repeat(100_000)}1]`,
];

/** Whole bodies. */
const wrongBodies: readonly (Json | Buffer)[] = [
  ...wrongValues,
  '',
  ' ',
  '{',
  '{"a":1',
  '{"a":1}}',
  '{"__proto__":{"polluted":true},"__proto__":1}',
  '"\\ud800',
  '\0',
  '\ufeff{}',
  Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
];

const wrongQueries: readonly string[] = [
  'limit=1&limit=2',
  'limit[]=1&limit[]=2',
  'a[b][c]=1',
  '__proto__=1',
  '__proto__[polluted]=1',
  'constructor[prototype][polluted]=true',
  '%00=%00',
  '%',
  '%ff%fe=%c0%80',
  `x=${'y'.repeat(7_000)}`,
  Array.from({ length: 1_000 }, (_, index) => `k${index}=1`).join('&'),
];

/** Wrong values of one query parameter or of one part of the path. */
const wrongTexts: readonly string[] = [
  '',
  '%20',
  '%00',
  '%ff',
  '%ed%a0%80',
  '-1',
  '0',
  '1e308',
  '9'.repeat(40),
  '0x10',
  'NaN',
  '__proto__',
  'constructor',
  '..%2f..%2f..%2fetc%2fpasswd',
  '%27%20OR%201%3D1--',
  'true,false',
  ','.repeat(150),
  '+275760-09-13T00:00:00.001Z',
  'x'.repeat(5_000),
];

interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  items?: Schema;
}

const jsonSchemaOf = (schema: z.ZodType): Schema => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema;
const maxFieldDepth = 3;

/** The paths of all fields of a schema; an item of a list is `0`. */
function fieldsOf(schema: Schema, definitions = schema.$defs ?? {}, path: readonly string[] = []): string[][] {
  if (path.length > maxFieldDepth) return [];
  const resolved = schema.$ref ? (definitions[schema.$ref.replace('#/$defs/', '')] ?? {}) : schema;
  const branches = [...(resolved.anyOf ?? []), ...(resolved.oneOf ?? []), ...(resolved.allOf ?? [])];
  const named: [string, Schema][] = [
    ...Object.entries(resolved.properties ?? {}),
    ...(resolved.items ? [['0', resolved.items] satisfies [string, Schema]] : []),
  ];
  const found = [
    ...branches.flatMap((branch) => fieldsOf(branch, definitions, path)),
    ...named.flatMap(([name, inner]) => [[...path, name], ...fieldsOf(inner, definitions, [...path, name])]),
  ];
  return [...new Map(found.map((field) => [field.join('\0'), field])).values()];
}

/** The JSON of a value in which one field is replaced. */
function withField(value: unknown, [name, ...rest]: readonly string[], replacement: Json): Json {
  if (name === undefined) return replacement;
  if (name === '0') return `[${withField(Array.isArray(value) ? value[0] : undefined, rest, replacement)}]`;
  const object = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const others = Object.entries(object).filter(([other]) => other !== name);
  const inner = withField(object[name], rest, replacement);
  return `{${[...others.map(([other, one]) => `${JSON.stringify(other)}:${JSON.stringify(one)}`), `${JSON.stringify(name)}:${inner}`].join(',')}}`;
}

/** A small valid body, or an empty one where no sample of the schema exists. */
function sampleBody(route: AnyRoute): unknown {
  try {
    return sampleOf(route.body);
  } catch {
    return {};
  }
}

interface Attack {
  path: string;
  body: Json | Buffer | null;
}

/** Every `step`th of the values, beginning with another one for each place. */
const someOf = <T>(values: readonly T[], place: number, step: number): T[] =>
  values.filter((_, index) => (index + place) % step === 0);

/** All attacks on one route. `place`: of the route in the list. A field gets every `step`th value. */
function attacksOn(route: AnyRoute, place: number, step: number): Attack[] {
  const plain = route.path.replace(/:\w+/g, 'current');
  const attacks: Attack[] = someOf(wrongQueries, place, step / 2).map((query) => ({ path: `${plain}?${query}`, body: null }));
  for (const [index, [name]] of [...route.path.matchAll(/:\w+/g)].entries())
    for (const text of someOf(wrongTexts, place + index, step))
      attacks.push({ path: route.path.replace(name, text).replace(/:\w+/g, 'current'), body: null });
  for (const [index, [name]] of fieldsOf(jsonSchemaOf(route.query)).entries())
    for (const text of someOf(wrongTexts, place + index, step)) attacks.push({ path: `${plain}?${name}=${text}`, body: null });
  if (route.consumes === 'none') return attacks;
  const sample = sampleBody(route);
  const fields = fieldsOf(jsonSchemaOf(route.body));
  for (const [index, field] of fields.entries())
    for (const value of someOf(wrongValues, place + index, field.length > 1 ? 2 * step : step))
      attacks.push({ path: plain, body: withField(sample, field, value) });
  const field = fields[place % Math.max(1, fields.length)];
  for (const value of someOf(largeValues, place, largeValues.length)) {
    attacks.push({ path: plain, body: value });
    if (field) attacks.push({ path: plain, body: withField(sample, field, value) });
  }
  for (const body of someOf(wrongBodies, place, step / 2)) attacks.push({ path: plain, body });
  return attacks;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 12 });
const timeLimitMs = 20_000;

function ask(core: Core, method: string, { path, body }: Attack, authorization: string): Promise<Answer> {
  const { hostname, port } = new URL(core.rig.url);
  const headers = { authorization, ...(body === null ? {} : { 'content-type': 'application/json' }) };
  return new Promise((resolve) => {
    const request = send({ agent, hostname, port, method, path: `/api/v1${path}`, headers }, (response) => {
      const type = response.headers['content-type'] ?? '';
      const done = (text: string): void => resolve({ status: response.statusCode!, type, body: text });
      // A stream has no end.
      if (type.startsWith('text/event-stream')) return (request.destroy(), done(''));
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => done(text));
    });
    request.setTimeout(timeLimitMs, () => request.destroy(new Error(`No answer within ${timeLimitMs} ms.`)));
    request.on('error', (error) => {
      // The server may close an idle connection, or one whose large body it refuses while it is still sent.
      if (request.reusedSocket) resolve(ask(core, method, { path, body }, authorization));
      else resolve({ status: 0, type: '', body: String(error) });
    });
    request.end(body ?? undefined);
  });
}

/** What is wrong with an answer; null if nothing is. */
function faultOf({ status, type, body }: Answer): string | null {
  if (status === 0) return /ECONNRESET|EPIPE/.test(body) ? null : body;
  if (status >= 500) return `status ${status}`;
  if (status < 400) return null;
  if (!type.includes('json')) return `an error of type ${type}`;
  const parsed = JSON.parse(body) as { success?: unknown; error?: { code?: unknown } };
  return parsed.success === false && typeof parsed.error?.code === 'string' ? null : 'no envelope';
}

interface Beside {
  times: number[];
  statuses: Set<number>;
}

/** A caller of another account, which measures how soon it is answered until it is stopped. */
async function besideCaller(core: Core): Promise<() => Promise<Beside>> {
  const { key } = await makeAccount(core.rig);
  const beside: Beside = { times: [], statuses: new Set() };
  let isStopped = false;
  const run = async (): Promise<Beside> => {
    while (!isStopped) {
      const began = performance.now();
      const { status } = await core.rig.call('GET', '/messages?limit=1', { key });
      beside.statuses.add(status);
      beside.times.push(performance.now() - began);
      await sleep(20);
    }
    return beside;
  };
  const running = run();
  return () => {
    isStopped = true;
    return running;
  };
}

/** Sends all attacks, some at once. Returns the answers that are wrong, and the number of attacks. */
async function attack(
  core: Core,
  route: AnyRoute,
  attacks: readonly Attack[],
  authorization: string,
): Promise<{ faults: string[]; count: number }> {
  const waiting = [...attacks];
  const faults: string[] = [];
  const runner = async (): Promise<void> => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const answer = await ask(core, route.method.toUpperCase(), next, authorization);
      const fault = faultOf(answer);
      const sent = `${next.path.slice(0, 200)} ${String(next.body).slice(0, 300)}`;
      if (fault) faults.push(`${route.id}: ${fault} ← ${sent} → ${answer.body.slice(0, 300)}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, runner));
  return { faults, count: attacks.length };
}

/** Fewer on PostgreSQL: what differs there is what the database refuses. */
const steps = { sqlite: 8, postgres: 16 };

describe.each(await databases())('hostile input on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    const settings = { REGISTRATION: 'open', SEND_WAIT_MS: '20', INIT_WAIT_MS: '20', MAX_SESSIONS: '50' };
    core = await startCore({ database, settings });
    for (const id of operationIds) core.worker.answer.set(id, new AppError('SESSION_NOT_CONNECTED'));
  }, 60_000);
  afterAll(async () => {
    agent.destroy();
    await core?.close();
  });

  test('is refused on every route of the contract, never with a 5xx, while another caller is answered', async () => {
    let { authorization } = (await loginOf(core.rig)).headers;
    const stop = await besideCaller(core);
    const faults: string[] = [];
    const counts = new Map<string, number>();
    for (const [place, route] of core.rig.routes.entries()) {
      const attacks = attacksOn(route, place, steps[database]);
      const result = await attack(core, route, attacks, authorization);
      faults.push(...result.faults);
      counts.set(route.id, result.count);
      // A route may end the sign-in that it is called with.
      const me = await core.rig.call('GET', '/auth/me', { key: null, headers: { authorization } });
      if (me.status !== 200) ({ authorization } = (await loginOf(core.rig)).headers);
    }
    const { times, statuses } = await stop();
    expect(faults).toEqual([]);
    expect(core.rig.routes.filter(({ id }) => !counts.get(id))).toEqual([]);
    expect(core.rig.routes.length).toBeGreaterThan(100);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect([...statuses]).toEqual([200]);
    // The attacks are sent by this process too, so the usual answer tells, not the slowest.
    expect(percentile(times, 0.5)).toBeLessThan(250);
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    process.stdout.write(`hostile input on ${database}: ${total} requests on ${counts.size} routes\n`);
  }, 300_000);
});
