import { AppError, fieldErrors, findUnfit, newId, validationError } from '@chasqui/shared';
import { json, type NextFunction, type Request, type Response, type Router } from 'express';
import type { z } from 'zod';
import { damageRefusal, databaseRefusal } from '../db/database-errors.js';
import { requestIdOf, requireVisitor, type Visitor } from './guard.js';

export interface PanelLog {
  error(message: string, fields?: Record<string, unknown>): void;
}

export interface RouteInput<Q, B> {
  visitor: Visitor;
  /** The `:id` of the path. */
  id: string;
  query: Q;
  body: B;
}

/** One route of the panel's own JSON interface. `role` is the role that it requires; every signed-in person is at least staff. */
export interface PanelRoute {
  method: 'get' | 'post';
  path: string;
  role: 'staff' | 'admin';
  /** The largest body; absent: 128 KiB. */
  bodyLimit?: string;
  run(req: Request): Promise<unknown>;
}

/** Defines a read for all staff. `query` is the schema of the query string. */
export function read<Q extends z.ZodType>(
  path: string,
  query: Q,
  run: (input: RouteInput<z.output<Q>, undefined>) => Promise<unknown>,
): PanelRoute {
  return {
    method: 'get',
    path,
    role: 'staff',
    run: (req) => run({ ...inputOf(req), query: parsed(query, req.query), body: undefined }),
  };
}

/** Defines a change. `body` is a strict schema, so that an unknown field is refused and never reaches a verb. */
export function change<B extends z.ZodType>(
  role: PanelRoute['role'],
  path: string,
  body: B,
  run: (input: RouteInput<undefined, z.output<B>>) => Promise<unknown>,
  more: Pick<PanelRoute, 'bodyLimit'> = {},
): PanelRoute {
  return {
    ...more,
    method: 'post',
    path,
    role,
    run: (req) => run({ ...inputOf(req), query: undefined, body: parsed(body, req.body ?? {}) }),
  };
}

const inputOf = (req: Request): { visitor: Visitor; id: string } => ({
  visitor: requireVisitor(req),
  id: String(req.params['id'] ?? ''),
});

function parsed<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const unfit = findUnfit(value);
  if (unfit) throw validationError([unfit]);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw validationError(fieldErrors(result.error.issues));
}

export function mountRoutes(router: Router, routes: readonly PanelRoute[]): void {
  for (const route of routes) {
    const parse = json({ limit: route.bodyLimit ?? '128kb' });
    const answer = (req: Request, res: Response, next: NextFunction): void => {
      route
        .run(req)
        .then((data) => res.json({ data: data ?? null }))
        .catch(next);
    };
    const checkRole = (req: Request, _res: Response, next: NextFunction): void => {
      const { account } = requireVisitor(req);
      next(route.role === 'admin' && account.role !== 'admin' ? new AppError('ADMIN_REQUIRED') : undefined);
    };
    if (route.method === 'get') router.get(route.path, checkRole, answer);
    else router.post(route.path, checkRole, parse, answer);
  }
}

/** The Retry-After of a 503 reply. */
const retryAfterSeconds = 5;

/**
 * Answers failed requests to the panel: JSON for programs, a sentence for people. An unavailable database is 503 with Retry-After, as in the API. A bug is logged and answered without details.
 */
export function answerErrors(log: PanelLog) {
  return (error: unknown, req: Request, res: Response, next: NextFunction): void => {
    if (res.headersSent) return next(error);
    const expected = error instanceof AppError ? error : (databaseRefusal(error) ?? damageRefusal(error) ?? fromParser(error));
    const requestId = requestIdOf(res) || newId();
    if (!expected || expected.code === 'STORED_DATA_UNREADABLE')
      log.error('A request to the panel failed.', {
        requestId,
        path: req.path,
        error: error instanceof Error ? error.stack : 'not an error',
      });
    const { status, code, message, details } = expected ?? new AppError('INTERNAL_ERROR');
    if (status === 503) res.set('Retry-After', String(retryAfterSeconds));
    res.status(status);
    const wantsPage = req.accepts(['json', 'html']) === 'html';
    if (wantsPage) res.type('text').send(`${message} (${code})`);
    else res.json({ error: { code, message, details, requestId } });
  };
}

/** Express's body parsers throw errors that carry a 4xx status. */
function fromParser(error: unknown): AppError | null {
  const status = (error as { status?: unknown } | null)?.status;
  if (status === 413) return new AppError('BODY_TOO_LARGE');
  return typeof status === 'number' && status >= 400 && status < 500 ? new AppError('MALFORMED_REQUEST') : null;
}
