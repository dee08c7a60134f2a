import { createHash, timingSafeEqual } from 'node:crypto';
import { AppError, workerRoutes, type AnyRoute } from '@chasqui/shared';
import { createMount, identify, notesOf, type Answered } from '@chasqui/shared/express';
import { serveMetrics, type Meter } from '@chasqui/shared/metrics';
import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler } from 'express';
import { errorFields, type Log } from '../log.js';
import { isStoreUnavailable } from '../store.js';
import { mountRoutes, type RouteDeps } from './routes.js';
import { createUploads } from './uploads.js';

/** The JSON of the simple send route may contain a file as base64, which is a third longer than the file. */
const jsonLimit = (maxFileSize: number) => (route: AnyRoute) =>
  route.id === workerRoutes.sendMedia.id ? Math.ceil(maxFileSize * 1.4) + 65_536 : 1_048_576;

/** The worker's HTTP server: the routes of the contract, protected by the service key, with one envelope for every reply. */
export function createServer(options: {
  serviceKey: string;
  maxFileSize: number;
  uploadDir: string;
  log: Log;
  /** Called when a request has ended. */
  onAnswered: (answered: Answered) => void;
  /** Gives requests a span; null: no traces are written. */
  traced: RequestHandler | null;
  meter: Meter;
  /** Reads metrics, and nothing else. */
  metricsToken: string | undefined;
  routes: Omit<RouteDeps, 'mount' | 'uploads'>;
}): Express {
  const { log } = options;
  const app = express();
  app.disable('x-powered-by');
  app.use(identify(options.onAnswered));
  if (options.traced) app.use(options.traced);
  const uploads = createUploads({ dir: options.uploadDir, maxFileSize: options.maxFileSize });
  const isKey = keyCheck(options.serviceKey);
  const { mount, mounted } = createMount<null>({
    router: app,
    jsonLimit: jsonLimit(options.maxFileSize),
    around: async (_route, _context, { res }, run) => {
      try {
        return await run();
      } finally {
        await uploads.drop(res);
      }
    },
    readUpload: (_route, req, res) => uploads.read(req, res),
    authenticate: async (route, req) => {
      if (route.auth !== 'pub' && !isKey(keyOf(req)))
        throw new AppError('UNAUTHENTICATED', {}, 'Send the service key in X-API-Key.');
      return null;
    },
  });
  mountRoutes({ ...options.routes, mount, uploads });
  serveMetrics(app, { meter: options.meter, secrets: [options.serviceKey, options.metricsToken] });
  app.use((req) => {
    const allowed = mounted.filter((route) => matches(route.path, req.path)).map((route) => route.method.toUpperCase());
    throw allowed.length > 0 ? new AppError('METHOD_NOT_ALLOWED', { allow: allowed }) : new AppError('ROUTE_NOT_FOUND');
  });
  app.use(answerErrors(log));
  return app;
}

const matches = (pattern: string, path: string): boolean => new RegExp(`^${pattern.replace(/:\w+/g, '[^/]+')}/?$`).test(path);

function keyOf(req: Request): string {
  const [scheme, value] = (req.get('authorization') ?? '').trim().split(/[ \t]+/);
  return req.get('x-api-key') ?? (scheme?.toLowerCase() === 'apikey' ? (value ?? '') : '');
}

/** Compares digests, so that the time reveals neither the length nor the first wrong character. */
function keyCheck(key: string): (candidate: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = digest(key);
  return (candidate) => timingSafeEqual(digest(candidate), expected);
}

/** The disk of this worker failed, not the call. Null: something else did. */
function storageCodeOf(error: unknown): 'STORAGE_FULL' | 'STORAGE_UNAVAILABLE' | null {
  const code = String((error as NodeJS.ErrnoException | null)?.code);
  if (['ENOSPC', 'EDQUOT', 'SQLITE_FULL', 'SQLITE_IOERR_NOSPC'].includes(code)) return 'STORAGE_FULL';
  const isOfDisk = /^E(ROFS|IO|ACCES|PERM|STALE|MFILE|NFILE)$/.test(code);
  return isOfDisk || isStoreUnavailable(error) ? 'STORAGE_UNAVAILABLE' : null;
}

function answerErrors(log: Log): ErrorRequestHandler {
  return (error: unknown, _req, res, next) => {
    const requestId: unknown = res.locals['requestId'];
    const known =
      error instanceof AppError
        ? error
        : error instanceof URIError
          ? new AppError('MALFORMED_REQUEST')
          : new AppError(storageCodeOf(error) ?? 'INTERNAL_ERROR');
    notesOf(res).code = known.code;
    if (res.headersSent) return next(error);
    if (known.code === 'INTERNAL_ERROR') log.error('A request failed.', { requestId, ...errorFields(error) });
    if (known.code === 'METHOD_NOT_ALLOWED') res.set('Allow', (known.details['allow'] as string[]).join(', '));
    res
      .status(known.status)
      .json({ success: false, error: { code: known.code, message: known.message, details: known.details }, requestId });
  };
}
