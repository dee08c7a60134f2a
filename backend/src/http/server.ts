import { AppError, replyHeaders, requestHeaders, type AnyRoute, type ErrorCode } from '@chasqui/shared';
import {
  createBodyBudget,
  createMount,
  identify,
  notesOf,
  type Answered,
  type BodyBudgetLimits,
  type CountBytes,
  type MountOptions,
} from '@chasqui/shared/express';
import compression from 'compression';
import express, {
  Router,
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express';
import helmet, { type HelmetOptions } from 'helmet';
import type { Authenticate, Caller, Mount } from '../accounts/caller.js';
import { damageRefusal, databaseRefusal, isSchemaMissing } from '../db/database-errors.js';
import { errorFields, type Log } from '../lib/log.js';
import { createMistakenRoutes, methodNotAllowed, type MistakenRoutes } from './mistaken-routes.js';
import { trustProxies } from './proxy-trust.js';

/** The HTTP server of the API: parsing, limits on bodies, CORS, compression and errors. Routes are mounted by the domains. */
export interface HttpServer {
  app: Express;
  /** Below /api/v1. */
  mount: Mount;
  /** At the server's root, for the routes between our processes. */
  mountInternal: Mount;
  publicRoutes: readonly AnyRoute[];
  /** Answers 503 to every new request, and to those whose body has not arrived. */
  shutDown(): void;
  /** Called last: handles unknown routes and thrown errors. */
  finish(): void;
}

export interface ServerOptions {
  authenticate: Authenticate;
  /** Authenticates without counting the request against a limit. Called again after a body that arrived slowly. */
  identify: Authenticate;
  readUpload: (route: AnyRoute, req: Request, res: Response, countBytes: CountBytes) => Promise<unknown>;
  maxFileSize: number;
  /** Runs around the handlers of the public routes: replays repeats (idempotent-calls.ts). */
  around: NonNullable<MountOptions<Caller>['around']>;
  /** See proxy-trust.ts. */
  trustProxy: number | readonly string[];
  corsOrigins: readonly string[];
  log: Log;
  /** Called when a request has ended: logs, counts. It must be quick, and must not throw. */
  onAnswered: (answered: Answered) => void;
  /** Gives requests a span; null: no traces are written. */
  traced: RequestHandler | null;
}

/**
 * Replies are data and files, not pages: these are helmet's headers for clients that might treat a reply as a page. Pages set their
 * own policy: the panel (admin/guard.ts) and the API's documents. A TLS proxy in front sends HSTS.
 */
const headersOfData: Readonly<HelmetOptions> = {
  contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  hsts: false,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
};

/**
 * The total bytes of bodies in memory. Decoding a file from base64 needs about four times as much. One account may use half of the total,
 * and always one body of the largest size.
 */
export function bodyLimits(maxFileSize: number): BodyBudgetLimits {
  const largest = Math.ceil(maxFileSize * 1.7) + 1_048_576;
  return { totalBytes: Math.max(268_435_456, 2 * largest), ownerBytes: Math.max(134_217_728, largest) };
}

/** The longest text message that is allowed has 65,536 characters, each of at most four bytes. */
const longestText = 262_144;

/** The maximum of concurrent compressions. Each uses half a megabyte and a thread of the pool that files, passwords and name lookups need. */
const maxCompressions = 4;

/** Decides which replies are compressed: those that shrink, while few compressions run. The others are sent uncompressed. */
function createCompressionFilter(): (req: Request, res: Response) => boolean {
  let running = 0;
  return (req, res) => {
    if (String(res.getHeader('content-type')).includes('event-stream') || !compression.filter(req, res)) return false;
    if (running >= maxCompressions) return false;
    running += 1;
    // A download has ten listeners already.
    res.setMaxListeners(20).once('close', () => (running -= 1));
    return true;
  };
}

export function createServer(options: ServerOptions): HttpServer {
  let isStopping = false;
  const app = createApp(options, () => isStopping);
  const router = Router();
  let mistaken: MistakenRoutes | null = null;
  // The routes are known when the server starts.
  const mistakenRoutes = (): MistakenRoutes => (mistaken ??= createMistakenRoutes(publicRoutes.mounted));
  app.use('/api/v1', (req, _res, next) => {
    mistakenRoutes().requireMethod(req.method, pathOf(req));
    next();
  });
  app.use('/api/v1', router);
  const internalRouter = Router();
  const shared = {
    authenticate: options.authenticate,
    confirm: async (route: AnyRoute, caller: Caller, { req, res }: { req: Request; res: Response }): Promise<void> => {
      const { role, permissions } = await options.identify(route, req, res);
      Object.assign(caller, { role, permissions });
    },
    readUpload: options.readUpload,
    // A file may come as base64 in JSON, which is a third longer than the file.
    jsonLimit: (route: AnyRoute) =>
      route.consumes === 'upload' ? Math.ceil(options.maxFileSize * 1.4) + 65_536 : longestText + 65_536,
  };
  const budget = createBodyBudget(bodyLimits(options.maxFileSize));
  const bodies = { budget, ownerOf: ({ accountId, ip }: Caller): string => accountId || `ip:${ip ?? ''}` };
  const publicRoutes = createMount<Caller>({ ...shared, router, refusesUnfit: true, bodies, around: options.around });
  const internalRoutes = createMount<Caller>({ ...shared, router: internalRouter, jsonLimit: 16 * 1024 * 1024 });

  return {
    app,
    mount: publicRoutes.mount,
    mountInternal: internalRoutes.mount,
    publicRoutes: publicRoutes.mounted,
    shutDown() {
      isStopping = true;
      for (const { refuseUnread } of [publicRoutes, internalRoutes]) refuseUnread(new AppError('SHUTTING_DOWN'));
    },
    finish() {
      app.use(internalRouter);
      app.use((req) => refuseUnknown(publicRoutes.mounted, req));
      app.use(answerErrors(options.log, (req) => mistakenRoutes().nearest(req.method, pathOf(req))));
    },
  };
}

/** Creates the Express app with what runs before all routes, also before those of the panel. */
function createApp({ trustProxy, corsOrigins, onAnswered, traced }: ServerOptions, isStopping: () => boolean): Express {
  const app = express();
  app.disable('x-powered-by');
  // A hash of every reply costs more than it saves: clients of an API request only changes.
  app.disable('etag');
  app.use(trustProxies(app, trustProxy));
  app.use(identify(onAnswered));
  if (traced) app.use(traced);
  app.use((_req, _res, next) => next(isStopping() ? new AppError('SHUTTING_DOWN') : undefined));
  app.use(helmet(headersOfData));
  const compress = compression({ filter: createCompressionFilter() });
  // Replies to sends are short and many; long replies are read with GET.
  app.use((req, res, next) => (req.method === 'GET' ? compress(req, res, next) : next()));
  app.use(cors(corsOrigins));
  return app;
}

/** The path of a request without the prefix of the API and without a slash at its end. */
const pathOf = ({ originalUrl }: Request): string => {
  const [path = ''] = originalUrl.split('?');
  return path.replace(/^\/api\/v1(?=\/|$)/, '').replace(/\/$/, '');
};

/** Throws `METHOD_NOT_ALLOWED` if the path has routes for other methods, and otherwise `ROUTE_NOT_FOUND`. */
function refuseUnknown(routes: readonly AnyRoute[], req: Request): never {
  const path = pathOf(req);
  const found = req.path.startsWith('/api/v1') ? routes.filter((route) => matches(route.path, path)) : [];
  const allowed = [...new Set(found.map((route) => route.method.toUpperCase()))];
  throw allowed.length === 0 ? new AppError('ROUTE_NOT_FOUND') : methodNotAllowed(allowed, path);
}

const matches = (pattern: string, path: string): boolean => new RegExp(`^${pattern.replace(/:\w+/g, '[^/]+')}/?$`).test(path);

const allowedHeaders = ['Authorization', 'X-API-Key', 'Content-Type', 'X-Request-Id', ...Object.keys(requestHeaders)].join(', ');

const exposedHeaders = Object.keys(replyHeaders).join(', ');

/**
 * Lets pages of the listed origins read replies; `*` lets every page. Credentials are never allowed, so a page can only use a key that it already
 * has. Cookies of a sign-in (accounts/browser-sessions.ts) and of the panel (admin/guard.ts) are refused from other origins.
 */
function cors(origins: readonly string[]) {
  const allowed = new Set(origins);
  const allowsAll = allowed.has('*');
  return (req: Request, res: Response, next: () => void): void => {
    const origin = req.get('origin');
    // A cache must not serve the reply for one origin to another.
    if (allowed.size > 0 && !allowsAll) res.vary('Origin');
    if (!origin || !(allowsAll || allowed.has(origin))) return next();
    res.set({
      'Access-Control-Allow-Origin': allowsAll ? '*' : origin,
      'Access-Control-Expose-Headers': exposedHeaders,
    });
    if (req.method !== 'OPTIONS') return next();
    res.set({
      'Access-Control-Allow-Methods': 'GET, POST, PUT, PATCH, DELETE',
      'Access-Control-Allow-Headers': allowedHeaders,
      'Access-Control-Max-Age': '600',
    });
    res.status(204).end();
  };
}

/** Converts any thrown value to an `AppError`. Another error is a bug, unless it comes from the disk, the database or a malformed request. */
export function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof URIError) return new AppError('MALFORMED_REQUEST');
  const refusal = databaseRefusal(error) ?? damageRefusal(error);
  if (refusal) return refusal;
  const { status, type } = Object(error) as { status?: number; type?: string };
  if (type?.startsWith('entity.') || type?.startsWith('request.') || (status !== undefined && status >= 400 && status < 500))
    return new AppError(status === 413 ? 'BODY_TOO_LARGE' : 'MALFORMED_REQUEST');
  return new AppError('INTERNAL_ERROR');
}

/** The reply of an error. */
export function presentError({ status, code, message, details }: AppError, requestId: unknown): { status: number; body: object } {
  return { status, body: { success: false, error: { code, message, details }, requestId } };
}

/** While the database is unavailable every request fails in the same way; this is the interval of the log line about it. */
const outageLogMs = 10_000;
const outageCodes: readonly ErrorCode[] = ['DATABASE_UNAVAILABLE', 'STORAGE_FULL', 'STORAGE_UNAVAILABLE'];

/** `nearest` returns the route that the path of a request looks like, or null. */
function answerErrors(log: Log, nearest: (req: Request) => string | null): ErrorRequestHandler {
  const logOutage = createOutageLog(log);
  return (error: unknown, req, res, next) => {
    const requestId: unknown = res.locals['requestId'];
    const known = withSuggestion(asAppError(error), () => nearest(req));
    notesOf(res).code = known.code;
    if (known.code === 'INTERNAL_ERROR') log.error('A request failed.', { requestId, ...errorFields(error) });
    if (known.code === 'STORED_DATA_UNREADABLE')
      log.error('A request needs a stored value that cannot be read.', { requestId, ...errorFields(error) });
    if (outageCodes.includes(known.code)) logOutage(known, requestId, error);
    if (res.headersSent) return next(error);
    const retryAfter = known.details['retryAfterSeconds'] ?? (known.status === 503 ? 5 : undefined);
    if (retryAfter !== undefined) res.set('Retry-After', String(retryAfter));
    const { allow } = known.details;
    if (known.code === 'METHOD_NOT_ALLOWED' && Array.isArray(allow)) res.set('Allow', allow.join(', '));
    const { status, body } = presentError(known, requestId);
    res.status(status).json(body);
  };
}

/**
 * Says which route a misspelled path may mean. It was answered as the path of an object: the object does not exist, its path does not take the method,
 * or the input does not fit it.
 */
function withSuggestion(error: AppError, nearest: () => string | null): AppError {
  if (![404, 405, 422].includes(error.status)) return error;
  const suggestion = nearest();
  if (suggestion === null) return error;
  return new AppError('ROUTE_NOT_FOUND', { suggestion }, `There is no such route. Did you mean ${suggestion}?`);
}

/** Logs refused requests, at most one line in `outageLogMs`. */
function createOutageLog(log: Log): (known: AppError, requestId: unknown, error: unknown) => void {
  let nextLogAt = 0;
  let unlogged = 0;
  return (known, requestId, error) => {
    unlogged += 1;
    if (performance.now() < nextLogAt) return;
    nextLogAt = performance.now() + outageLogMs;
    const { stack: _stack, ...fields } = errorFields(error);
    const sentence = isSchemaMissing(error)
      ? 'Requests are refused because tables or columns of the database are missing. Restart the backend, which migrates it, or restore the right backup.'
      : known.code === 'STORAGE_UNAVAILABLE'
        ? 'Requests are refused because the disk cannot be read or written.'
        : 'Requests are refused because the database is unavailable or the disk is full.';
    log.warn(sentence, { ...fields, answered: known.code, refused: unlogged, requestId });
    unlogged = 0;
  };
}
