import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import express, { type ErrorRequestHandler } from 'express';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { z } from 'zod';
import {
  AppError,
  createClient,
  defineRoute,
  openapi,
  operationRoute,
  operations,
  withAliases,
  type Transport,
} from '../src/index.js';
import { createMount, listen, Reply } from '../src/express.js';

const echo = defineRoute({
  id: 'test.echo',
  method: 'post',
  path: '/echo/:name',
  summary: 'Echo',
  auth: 'key',
  params: z.object({ name: z.string().max(5) }),
  query: z.object({ times: z.coerce.number().int().default(1) }),
  body: withAliases(z.strictObject({ text: z.string().min(1) }), { body: 'text' }),
  status: [200, 202],
  reply: z.object({ said: z.string() }),
  errors: ['MESSAGE_NOT_FOUND'],
});
const refuse = defineRoute({
  id: 'test.refuse',
  method: 'get',
  path: '/refuse',
  summary: 'Refuse',
  auth: 'pub',
  errors: ['MESSAGE_NOT_FOUND'],
});

let server: Server;
let base: string;
let authenticated = 0;
let bodiesRead = 0;

beforeAll(async () => {
  const app = express();
  const { mount } = createMount<{ who: string }>({
    router: app,
    jsonLimit: 200,
    authenticate: async (_route, req) => {
      authenticated += 1;
      if (!req.headers.authorization && req.path !== '/refuse') throw new AppError('UNAUTHENTICATED');
      return { who: 'me' };
    },
  });
  mount(echo, async ({ params, query, body }, { who }) => {
    bodiesRead += 1;
    const reply = { said: `${who} ${params.name} ${body.text.repeat(query.times)}`, secret: 'never' };
    if (body.text === 'parsed') return new Reply(echo.reply.parse(reply), { parsedBy: echo.reply });
    if (body.text === 'other') return new Reply(reply, { parsedBy: z.object({}) });
    return query.times > 1 ? new Reply(reply, { status: 202, meta: { times: query.times } }) : reply;
  });
  mount(refuse, async () => {
    throw new AppError('MESSAGE_NOT_FOUND', { id: 'x' });
  });
  const onError: ErrorRequestHandler = (error, _req, res, _next) => {
    const known = error instanceof AppError ? error : new AppError('INTERNAL_ERROR');
    res
      .status(known.status)
      .json({ success: false, error: { code: known.code, message: known.message, details: known.details }, requestId: 'r' });
  };
  app.use(onError);
  server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const post = async (path: string, body: string, headers: Record<string, string> = {}) => {
  const answer = await fetch(base + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', authorization: 'x', ...headers },
  });
  return {
    status: answer.status,
    body: (await answer.json()) as {
      data?: unknown;
      meta?: unknown;
      error?: { code: string; details: { fields?: { path: string; code: string }[] } };
    },
  };
};

const transport: Transport = async ({ method, path, query, body }) => {
  const answer = await fetch(`${base}${path}?${new URLSearchParams(query).toString()}`, {
    method: method.toUpperCase(),
    headers: { 'content-type': 'application/json', authorization: 'x' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: await answer.json() };
};

describe('a mounted route', () => {
  test('a reply that the schema of its route has parsed is sent as it is, and one that another schema has parsed is parsed', async () => {
    const parse = jest.spyOn(echo.reply, 'parse');
    try {
      for (const text of ['parsed', 'other', 'text']) {
        parse.mockClear();
        expect((await post('/echo/ana', JSON.stringify({ text }))).body.data).toEqual({ said: `me ana ${text}` });
        expect([text, parse.mock.calls.length]).toEqual([text, 1]);
      }
    } finally {
      parse.mockRestore();
    }
  });

  test('answers with what its schema names and nothing wider', async () => {
    expect(await post('/echo/ana', '{"text":"hi"}')).toMatchObject({
      status: 200,
      body: { success: true, data: { said: 'me ana hi' } },
    });
    expect(JSON.stringify((await post('/echo/ana', '{"text":"hi"}')).body)).not.toContain('never');
  });

  test('takes an alias, and refuses two that differ', async () => {
    expect((await post('/echo/ana', '{"body":"yo"}')).body.data).toEqual({ said: 'me ana yo' });
    expect((await post('/echo/ana', '{"body":"yo","text":"hi"}')).status).toBe(422);
  });

  test('names the field that is wrong, wherever it stands', async () => {
    const fieldsOf = async (path: string, body: string) =>
      (await post(path, body)).body.error?.details.fields?.map((field) => [field.path, field.code]);
    expect(await fieldsOf('/echo/ana', '{"text":"hi","mesage":"x"}')).toEqual([['mesage', 'UNKNOWN_FIELD']]);
    expect(await fieldsOf('/echo/toolong', '{"text":""}')).toEqual([
      ['name', 'TOO_BIG'],
      ['text', 'TOO_SMALL'],
    ]);
    expect(await fieldsOf('/echo/ana?times=x', '{"text":"hi"}')).toEqual([['times', 'INVALID_TYPE']]);
    expect(await fieldsOf('/echo/ana', '{"text":"hi","__proto__":{"a":1}}')).toBeDefined();
  });

  test('reads no body before it knows who calls', async () => {
    const before = { authenticated, bodiesRead };
    const answer = await fetch(`${base}/echo/ana`, {
      method: 'POST',
      body: '{broken',
      headers: { 'content-type': 'application/json' },
    });
    expect(answer.status).toBe(401);
    expect({ authenticated, bodiesRead }).toEqual({ authenticated: before.authenticated + 1, bodiesRead: before.bodiesRead });
  });

  test.each([
    ['{broken', {}, 400],
    [JSON.stringify({ text: 'x'.repeat(300) }), {}, 413],
    ['text=hi', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['[1]', {}, 422],
  ])('answers %s with the right refusal', async (body, headers, status) => {
    expect((await post('/echo/ana', body, headers as Record<string, string>)).status).toBe(status);
  });

  test('is called through the typed client, which throws the other side’s error', async () => {
    const call = createClient(transport);
    expect(await call(echo, { params: { name: 'bo' }, query: { times: 2 }, body: { text: 'x' } })).toEqual({
      status: 202,
      data: { said: 'me bo xx' },
    });
    await expect(call(refuse, {})).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND', details: { id: 'x' }, status: 404 });
  });
});

test('the OpenAPI document has every route with its parameters, body, replies and errors', () => {
  const document = openapi([echo, refuse, operationRoute(operations['contacts.check'])], {
    title: 't',
    version: '1',
    description: '',
    base: '/api/v1',
  });
  const operation = (document['paths'] as Record<string, Record<string, Record<string, unknown>>>)['/echo/{name}']!['post']!;
  expect(operation['operationId']).toBe('test.echo');
  const parameters = operation['parameters'] as { name?: string; in?: string; $ref?: string }[];
  expect(parameters.map((parameter) => parameter.$ref ?? [parameter.in, parameter.name])).toEqual([
    ['path', 'name'],
    ['query', 'times'],
    '#/components/parameters/Idempotency-Key',
    '#/components/parameters/X-Request-Id',
  ]);
  expect(Object.keys(operation['responses'] as object).sort()).toEqual([
    '200',
    '202',
    '400',
    '401',
    '403',
    '404',
    '409',
    '413',
    '415',
    '422',
    '429',
    '500',
    '503',
    '504',
  ]);
  expect(JSON.stringify(operation['requestBody'])).toContain('"additionalProperties":false');
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1]!);
  const schemas = Object.keys((document['components'] as { schemas: object }).schemas);
  expect(references.filter((name) => !schemas.includes(name))).toEqual([]);
});

test('requests and responses are made as Express wants them, and keep its methods inside a mounted app too', async () => {
  const app = express();
  const inner = express();
  inner.get('/', (req, res) => void res.json({ host: req.get('host'), ip: req.ip }));
  app.use('/inner', inner);
  app.get('/', (req, res) => void res.status(201).json({ host: req.get('host'), query: req.query }));
  const own = listen(app, 0, '127.0.0.1');
  const made: boolean[] = [];
  own.prependListener('request', (req, res) =>
    made.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response),
  );
  try {
    await new Promise((resolve) => own.once('listening', resolve));
    const host = `127.0.0.1:${(own.address() as AddressInfo).port}`;
    const replies = await Promise.all(['/?a=1', '/inner', '/none'].map((path) => fetch(`http://${host}${path}`)));
    expect(replies.map(({ status }) => status)).toEqual([201, 200, 404]);
    expect(await replies[0]!.json()).toEqual({ host, query: { a: '1' } });
    expect(await replies[1]!.json()).toEqual({ host, ip: '127.0.0.1' });
    expect(made).toEqual([true, true, true, true, true, true]);
  } finally {
    own.closeAllConnections();
    own.close();
  }
});
