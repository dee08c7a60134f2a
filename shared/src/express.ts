import { createServer, ServerResponse, type Server } from 'node:http';
import { Router, type Express, type Request, type RequestHandler, type Response } from 'express';
import type { z } from 'zod';
import { readJson, type BodyBudget, type CountBytes } from './body.js';
import { AppError, validationError, type FieldError } from './errors.js';
import { fieldErrors } from './field-errors.js';
import { createGuardedServer, createRequestClass, type ServerLimits } from './http-server.js';
import type { RequestHeader } from './headers.js';
import { findUnfit } from './input.js';
import type { AnyRoute, InputOf, OutputOf } from './route.js';

export { createBodyBudget, createCollector, type BodyBudget, type BodyBudgetLimits, type CountBytes } from './body.js';
export { checkBoundary, closeWaitingConnections, feed, keepConnection, pathAndQuery } from './http-server.js';

/** A reply that needs more than its data: another of the route's statuses, `meta`, `warnings` or headers. */
export class Reply<T> {
  constructor(
    readonly data: T,
    readonly extra: {
      status?: number;
      meta?: object;
      warnings?: { code: string; message: string }[];
      headers?: Record<string, string>;
      /** The schema that made the data. Data of the route's own schema is not parsed again. */
      parsedBy?: z.ZodType;
    } = {},
  ) {}
}

/** For handlers that write the response themselves: files, streams, redirects. */
export const handled = Symbol('handled');

export type Handle<R extends AnyRoute, Context> = (
  input: InputOf<R>,
  context: Context,
  http: RouteHttp,
) => Promise<OutputOf<R> | Reply<OutputOf<R>> | typeof handled>;

export interface RouteHttp {
  req: Request;
  res: Response;
  /** The value of a header that the route names in its contract. Throws for any other: OpenAPI would not show it. */
  header: (name: RequestHeader) => string | undefined;
}

/** A reply as it is sent, before the headers that belong to every reply. */
export interface Rendered {
  status: number;
  headers: Readonly<Record<string, string>>;
  /** JSON. */
  body: string;
}

export interface MountOptions<Context> {
  router: Router;
  /** Runs before a byte of the body is read. Throws an `AppError` for a caller that may not use the route. */
  authenticate: (route: AnyRoute, req: Request, res: Response) => Promise<Context>;
  /**
   * Runs when a body took longer than `confirmAfterMs` to arrive: the result of authentication may be out of date. May change the context; throws
   * `AppError` if the caller is no longer allowed.
   */
  confirm?: (route: AnyRoute, context: Context, http: { req: Request; res: Response }) => Promise<void>;
  /** Body limit of JSON requests, in bytes. */
  jsonLimit: number | ((route: AnyRoute) => number);
  /** Reads multipart of `upload` routes and returns the text fields; this module reads the JSON of those routes. */
  readUpload?: (route: AnyRoute, req: Request, res: Response, countBytes: CountBytes) => Promise<unknown>;
  /** Bounds the bodies that are in memory at the same time, and those of one owner among them. */
  bodies?: { budget: BodyBudget; ownerOf: (context: Context) => string };
  /** Wraps the handler. `run` returns the reply as it is sent, or `handled` if the handler has written it itself. */
  around?: (
    route: AnyRoute,
    context: Context,
    http: RouteHttp & { body: unknown },
    run: () => Promise<Rendered | typeof handled>,
  ) => Promise<Rendered | typeof handled>;
  /**
   * For routes that callers from outside use. Refuses what the databases cannot store: U+0000, and JSON with too many or too deeply nested
   * values. Refuses what would be ignored: a repeated query parameter, and a body where the route has none.
   */
  refusesUnfit?: boolean;
}

/** A request that has ended: what logs, metrics and the request log of a key may contain. Never a path, a query, a header or a body. */
export interface Answered {
  requestId: string;
  method: string;
  /** The pattern of the route, as the contract has it, such as `/sessions/:sessionId`; `unmatched` if there is none. */
  route: string;
  /** 499: the caller disconnected before the reply began. */
  status: number;
  ms: number;
  /** The code of an error reply. */
  code: string | null;
  accountId: string | null;
  /** The API key that the caller used, or the key behind its token. */
  keyId: string | null;
  /** An event stream, whose duration is that of the connection. */
  isStream: boolean;
}

/** Paths that are served without a route of the contract. */
const sitePaths = /^\/(admin|api\/docs|api\/v1\/openapi\.json|health|internal)(?=[/?]|$)/;
const siteRoute = (url: string): string => (/^\/(\?|$)/.test(url) ? '/' : (sitePaths.exec(url)?.[0] ?? 'unmatched'));

/** What the parts of a server that handle a request note about it, in `res.locals.answered`. */
export type AnsweredNotes = Partial<Pick<Answered, 'route' | 'code' | 'accountId' | 'keyId' | 'isStream'>>;

/** Returns the notes about a request. They are for `onAnswered` of `identify`. */
export const notesOf = (res: Response): AnsweredNotes => (res.locals['answered'] ??= {}) as AnsweredNotes;

/** Routes that programs call every few seconds by themselves: probes, scrapes, heartbeats. */
const isRoutine = (route: string): boolean => /^\/(health|metrics|internal)(\/|$)/.test(route);

export type LoggedRequest = Omit<Answered, 'isStream'>;

/** Logs an answered request: ids, codes and durations. `write` writes a line at the level `info`; routine requests are logged at `debug`. */
export function logAnswered(
  log: { readonly isDebug: boolean; debug: (sentence: string, fields: Record<string, unknown>) => void },
  write: (request: LoggedRequest) => void,
  { isStream: _isStream, ...request }: Answered,
): void {
  if (!isRoutine(request.route)) write(request);
  else if (log.isDebug) log.debug(answeredSentence, { ...request });
}

export const answeredSentence = 'A request was answered.';

/**
 * Creates the function that formats a log line for an answered request, as JSON. It is on the path of every accepted message, so it is put together as
 * text, in a fifth of the time of `JSON.stringify`: no value needs escaping, because ids, codes and routes are ours, and a caller's request id is checked.
 */
export function createAnsweredFormat(processName: string): (request: LoggedRequest) => string {
  let [at, time] = [0, ''];
  const text = (value: string | null): string => (value === null ? 'null' : `"${value}"`);
  return ({ requestId, method, route, status, ms, code, accountId, keyId }) => {
    const now = Date.now();
    if (now !== at) [at, time] = [now, new Date(now).toISOString()];
    return `{"level":"info","message":"${answeredSentence}","process":"${processName}","requestId":"${requestId}","method":"${method}","route":"${route}","status":${status},"ms":${ms},"code":${text(code)},"accountId":${text(accountId)},"keyId":${text(keyId)},"timestamp":"${time}"}`;
  };
}

/**
 * Gives every request an id, the caller's own if it is safe in a header and a log: in `res.locals.requestId` and in the reply. Calls `onAnswered` when
 * the request has ended, also if the caller has disconnected.
 */
export function identify(onAnswered: (answered: Answered) => void): RequestHandler {
  return (req, res, next) => {
    const started = performance.now();
    const sentId = req.get('x-request-id');
    const requestId = sentId && /^[A-Za-z0-9._-]{1,128}$/.test(sentId) ? sentId : crypto.randomUUID();
    res.locals['requestId'] = requestId;
    res.setHeader('X-Request-Id', requestId);
    const notes = notesOf(res);
    res.once('close', () => {
      const { route = siteRoute(req.originalUrl), code = null, accountId = null, keyId = null, isStream = false } = notes;
      const status = res.headersSent ? res.statusCode : 499;
      const ms = Math.round((performance.now() - started) * 10) / 10;
      onAnswered({ requestId, method: req.method, route, status, ms, code, accountId, keyId, isStream });
    });
    next();
  };
}

/**
 * Listens as `app.listen` does, on a server whose limits and error handling are those of `createGuardedServer`. Requests and responses are
 * created with the prototypes that Express would give them: changing the prototype of an object leaves V8 with a hidden class for that
 * object alone, so that property lookups on it are never cached.
 */
export function listen(app: Express, port: number, host: string, limits: Partial<ServerLimits> = {}): Server {
  const AppRequest = createRequestClass();
  class AppResponse extends ServerResponse<InstanceType<typeof AppRequest>> {}
  Object.setPrototypeOf(AppRequest.prototype, app.request);
  Object.setPrototypeOf(AppResponse.prototype, app.response);
  app.request = AppRequest.prototype as unknown as Request;
  app.response = AppResponse.prototype as unknown as Response;
  return createGuardedServer(
    (options, handle) => createServer({ ...options, IncomingMessage: AppRequest, ServerResponse: AppResponse }, handle),
    app,
    limits,
  ).listen(port, host);
}

/** Mounts routes of the contract on Express: authenticates the caller, parses the request, runs the handler and answers with the envelope. */
export function createMount<Context>(options: MountOptions<Context>) {
  const mounted: AnyRoute[] = [];
  const routers = new Map<string, Router>();
  const receiving = new Set<(error: AppError) => void>();

  function mount<R extends AnyRoute>(route: R, handle: Handle<R, Context>): void {
    mounted.push(route);
    const limit = typeof options.jsonLimit === 'function' ? options.jsonLimit(route) : options.jsonLimit;
    const isEventStream = isStream(route);
    const handler: RequestHandler = async (req, res) => {
      const notes = notesOf(res);
      notes.route = route.path;
      if (isEventStream) notes.isStream = true;
      const context = await options.authenticate(route, req, res);
      const begun = performance.now();
      const body = await whileRunning(req, res, readBody(route, req, res, limit, context));
      if (options.confirm && performance.now() - begun > confirmAfterMs) await options.confirm(route, context, { req, res });
      const parse = (): InputOf<R> => parseInput(route, req, body, options.refusesUnfit ?? false) as InputOf<R>;
      const http = { req, res, header: headerOf(route, req) };
      const run = async (): Promise<Rendered | typeof handled> => {
        const result = await handle(parse(), context, http);
        return result === handled ? handled : render(route, res, result);
      };
      const reply = options.around ? await options.around(route, context, { ...http, body }, run) : await run();
      if (reply !== handled) answerJson(res, reply);
    };
    const [, first, rest] = /^(\/[^/:]+)(\/.*)?$/.exec(route.path)!;
    const router = routerOf(first!);
    if (isEventStream) router.head(rest ?? '/', headOfStream(route));
    router[route.method](rest ?? '/', handler);
  }

  /** A stream has no end, so a HEAD request would wait for one. A HEAD request is authenticated and gets the media type; no stream is opened. */
  function headOfStream(route: AnyRoute): RequestHandler {
    return async (req, res) => {
      notesOf(res).route = route.path;
      await options.authenticate(route, req, res);
      res.status(route.status[0]).type(route.files[0]!).set('Cache-Control', 'no-store').end();
    };
  }

  /**
   * Resolves with the body, or rejects when `refuseUnread` is called before the body has arrived. Nothing was accepted yet, so a stop does
   * not wait for a caller that sends slowly or not at all.
   */
  function whileRunning(req: Request, res: Response, body: Promise<unknown>): Promise<unknown> {
    if (req.complete) return body;
    return new Promise((resolve, reject) => {
      const refuse = (error: AppError): void => {
        if (req.complete) return;
        res.set('Connection', 'close');
        reject(error);
      };
      receiving.add(refuse);
      body.then(resolve, reject).finally(() => receiving.delete(refuse));
    });
  }

  /** Express compares a request with one route after another, so routes whose paths begin with the same part share a router of their own. */
  function routerOf(first: string): Router {
    let router = routers.get(first);
    if (!router) {
      routers.set(first, (router = Router()));
      options.router.use(first, router);
    }
    return router;
  }

  async function readBody(route: AnyRoute, req: Request, res: Response, limit: number, context: Context): Promise<unknown> {
    const { refusesUnfit = false } = options;
    // The body of a GET request has no meaning (RFC 9110, section 9.3.1).
    if (route.consumes === 'none' && (!refusesUnfit || route.method === 'get')) return {};
    const countBytes = options.bodies?.budget.open(options.bodies.ownerOf(context), res) ?? unlimited;
    if (route.consumes === 'upload' && req.is('multipart/form-data')) {
      if (!options.readUpload) throw new AppError('UNSUPPORTED_MEDIA_TYPE');
      return options.readUpload(route, req, res, countBytes);
    }
    const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
    if (!hasBody) return {};
    if (req.headers['content-type'] !== 'application/json' && !req.is(['json', '+json', 'text/json']))
      throw new AppError('UNSUPPORTED_MEDIA_TYPE');
    return readJson(req, { limit, countBytes, verify: refuseManyValues(route) });
  }

  return {
    mount,
    mounted,
    /** Refuses every request whose body has not arrived in full, for shutdown. */
    refuseUnread(error: AppError): void {
      for (const refuse of [...receiving]) refuse(error);
    },
  };
}

/** A replaced credential is refused after this time at the latest, even for a body whose upload began before the replacement. */
const confirmAfterMs = 500;

const unlimited: CountBytes = () => undefined;

const isStream = (route: AnyRoute): boolean => route.method === 'get' && route.files.includes('text/event-stream');

/** From this size on the values in a JSON body are counted before it is parsed. Below it, parsing costs a few milliseconds. */
const countedFromBytes = 262_144;
const usualMaxSeparators = 150_000;
const [comma, bracket, brace, quote, backslash] = [0x2c, 0x5b, 0x7b, 0x22, 0x5c];

/**
 * Returns a check of the inflated bytes of a JSON body before they are parsed: millions of small values would stall the process while they are
 * parsed. A route with `maxValues` allows that many; a large body of another route is a file as base64, which is one value.
 */
const refuseManyValues =
  ({ maxValues }: AnyRoute) =>
  (bytes: Buffer): void => {
    if (bytes.length <= countedFromBytes) return;
    const most = Math.max(usualMaxSeparators, maxValues ?? 0);
    let count = 0;
    // By index: iterating over a Buffer takes several times as long.
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at];
      if (byte === quote) at = endOfString(bytes, at);
      else if (byte === comma || byte === bracket || byte === brace) count += 1;
      if (count > most) throw new AppError('BODY_TOO_LARGE', {}, 'The JSON body contains too many values.');
    }
  };

/** Returns the index of the quote that ends the string which begins at `start`; the end of the bytes if there is none. */
function endOfString(bytes: Buffer, start: number): number {
  for (let at = bytes.indexOf(quote, start + 1); at !== -1; at = bytes.indexOf(quote, at + 1)) {
    let escapes = 0;
    while (bytes[at - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
  return bytes.length;
}

const headerOf =
  (route: AnyRoute, req: Request) =>
  (name: RequestHeader): string | undefined => {
    if (!route.headers.includes(name)) throw new Error(`The route ${route.id} reads the header ${name} without declaring it.`);
    return req.get(name);
  };

function render(route: AnyRoute, res: Response, result: unknown): Rendered {
  const { data, extra } = result instanceof Reply ? result : { data: result, extra: {} as Reply<unknown>['extra'] };
  const { status = route.status[0], meta, warnings, headers = {}, parsedBy } = extra;
  // The reply is stripped to its schema, so that a field outside the schema cannot leak.
  const checked = parsedBy === route.reply ? data : route.reply.parse(data);
  const requestId = res.locals['requestId'] as unknown;
  const envelope = {
    success: true,
    data: checked,
    ...(meta ? { meta } : {}),
    ...(warnings?.length ? { warnings } : {}),
    requestId,
  };
  return { status, headers, body: JSON.stringify(route.envelope ? envelope : checked) };
}

/** Answers as `res.json` does, but passes a string to `res.end`: head and body are then sent in one write, which is faster for small replies. */
function answerJson(res: Response, { status, headers, body }: Rendered): void {
  res.set(headers);
  res.status(status).setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.end(body);
}

/** The maximum number of errors in one reply. A body can contain thousands of wrong values, and each error is several times as long as its value. */
const maxFieldErrors = 50;

function parseInput(route: AnyRoute, req: Request, body: unknown, refusesUnfit: boolean): unknown {
  const fields: FieldError[] = [];
  const parse = (schema: z.ZodType, value: unknown, maxValues?: number): unknown => {
    const unfit = refusesUnfit ? findUnfit(value, maxValues) : null;
    if (unfit) return void fields.push(unfit);
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    fields.push(...fieldErrors(result.error.issues.slice(0, maxFieldErrors)).slice(0, maxFieldErrors));
    return undefined;
  };
  const input = {
    params: parse(route.params, req.params),
    query: parse(route.query, firstOfEach(req.query)),
    body: parse(route.body, body, route.maxValues),
  };
  if (refusesUnfit) fields.push(...repeated(req.query));
  if (fields.length > 0) throw validationError(fields);
  return input;
}

const repeated = (query: Request['query']): FieldError[] =>
  Object.keys(query)
    .filter((name) => Array.isArray(query[name]))
    .map((name) => ({
      path: name,
      code: 'REPEATED',
      message: 'Sent more than once. Send it once; where several values are allowed, separate them by commas.',
    }));

/** A repeated query parameter is not a list: if it is not refused, its first value counts. */
const firstOfEach = (query: Request['query']): Record<string, unknown> =>
  Object.fromEntries(Object.entries(query).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]));
