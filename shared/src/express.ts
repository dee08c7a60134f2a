import { createServer, ServerResponse, type Server } from 'node:http';
import { Router, type Express, type Request, type RequestHandler, type Response } from 'express';
import type { z } from 'zod';
import { readJson, type BodyBudget, type CountBytes } from './body.js';
import { AppError, validationError, type FieldError } from './errors.js';
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

/**
 * Gives every request an id, the caller's own if it is safe in a header and a log: in `res.locals.requestId` and in the reply. At the log level
 * `debug`, logs each answered request, without its body and query.
 */
export function identify(log: {
  readonly isDebug: boolean;
  debug: (sentence: string, fields: Record<string, unknown>) => void;
}): RequestHandler {
  return (req, res, next) => {
    const started = performance.now();
    const sentId = req.get('x-request-id');
    const requestId = sentId && /^[A-Za-z0-9._-]{1,128}$/.test(sentId) ? sentId : crypto.randomUUID();
    res.locals['requestId'] = requestId;
    res.setHeader('X-Request-Id', requestId);
    if (log.isDebug)
      res.on('finish', () =>
        log.debug('A request was answered.', {
          requestId,
          method: req.method,
          route: String(res.locals['route'] ?? ''),
          status: res.statusCode,
          ms: Math.round(performance.now() - started),
        }),
      );
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
    const handler: RequestHandler = async (req, res) => {
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
    if (isStream(route)) router.head(rest ?? '/', headOfStream(route));
    router[route.method](rest ?? '/', handler);
  }

  /** A stream has no end, so a HEAD request would wait for one. A HEAD request is authenticated and gets the media type; no stream is opened. */
  function headOfStream(route: AnyRoute): RequestHandler {
    return async (req, res) => {
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
    return readJson(req, { limit, countBytes, verify: refuseManyValues });
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
const maxSeparators = 150_000;
const [comma, bracket, brace] = [0x2c, 0x5b, 0x7b];

/**
 * Runs on the inflated bytes of a JSON body before they are parsed. A large body is a file as base64, which has no separators; millions
 * of small values would stall the process while they are parsed.
 */
function refuseManyValues(bytes: Buffer): void {
  if (bytes.length <= countedFromBytes) return;
  let count = 0;
  // By index: iterating over a Buffer takes several times as long.
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte !== comma && byte !== bracket && byte !== brace) continue;
    count += 1;
    if (count > maxSeparators) throw new AppError('BODY_TOO_LARGE', {}, 'The JSON body contains too many values.');
  }
}

const headerOf =
  (route: AnyRoute, req: Request) =>
  (name: RequestHeader): string | undefined => {
    if (!route.headers.includes(name)) throw new Error(`The route ${route.id} reads the header ${name} without declaring it.`);
    return req.get(name);
  };

function render(route: AnyRoute, res: Response, result: unknown): Rendered {
  const { data, extra } = result instanceof Reply ? result : { data: result, extra: {} as Reply<unknown>['extra'] };
  const { status = route.status[0], meta, warnings, headers = {} } = extra;
  // The reply is stripped to its schema, so that a field outside the schema cannot leak.
  const checked = route.reply.parse(data);
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

/** Converts zod's issues to `details.fields` of the API. For a union, those of the branch with the fewest issues are returned. */
export function fieldErrors(issues: readonly z.core.$ZodIssue[]): FieldError[] {
  return issues.flatMap((issue): FieldError[] => {
    const path = issue.path.map(String).join('.');
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: path ? `${path}.${key}` : key,
        code: 'UNKNOWN_FIELD',
        message: 'Unknown field. Remove it, or check its spelling.',
      }));
    }
    if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      const best = [...issue.errors].sort((a, b) => a.length - b.length)[0]!;
      return fieldErrors(best.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })));
    }
    if (issue.code === 'custom' && typeof issue.params?.['code'] === 'string')
      return [{ path, code: issue.params['code'], message: issue.message }];
    return [{ path, code: issue.code.toUpperCase(), message: issue.message }];
  });
}
