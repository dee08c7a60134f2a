import { AppError, isErrorCode } from './errors.js';
import type { AnyRoute, OutputOf, SentOf } from './route.js';

/** Makes one HTTP request. Resolves with any status, and rejects only when no answer came. Bodies are parsed JSON or bytes. */
export type Transport = (request: {
  method: string;
  path: string;
  query: Record<string, string>;
  /** A plain object is sent as JSON; FormData as multipart. */
  body: unknown;
  timeoutMs: number | undefined;
}) => Promise<{ status: number; body: unknown }>;

export interface CallOptions {
  timeoutMs?: number;
  /** Sent in place of `sent.body` and not checked by the route's schema: multipart. */
  form?: FormData;
}

/**
 * Returns a function that calls routes by their definition. It throws the `AppError` in the reply's envelope, and any error that the transport
 * throws when there was no answer. A reply that does not match the route's schema is an error too.
 */
export function createClient(transport: Transport) {
  return async function call<R extends AnyRoute>(
    route: R,
    sent: SentOf<R>,
    options: CallOptions = {},
  ): Promise<{ status: number; data: OutputOf<R> }> {
    const {
      params = {},
      query = {},
      body,
    } = sent as { params?: Record<string, unknown>; query?: Record<string, unknown>; body?: unknown };
    const path = route.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(params[name])));
    const search = Object.fromEntries(
      Object.entries(query)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [name, String(value)]),
    );
    const answer = await transport({
      method: route.method,
      path,
      query: search,
      body: options.form ?? body,
      timeoutMs: options.timeoutMs,
    });
    if (!route.status.includes(answer.status)) throw errorOf(answer.status, answer.body);
    const data = route.envelope ? (answer.body as { data?: unknown } | null)?.data : answer.body;
    return { status: answer.status, data: route.reply.parse(data) as OutputOf<R> };
  };
}

function errorOf(status: number, body: unknown): AppError {
  const error = (body as { error?: { code?: unknown; message?: unknown; details?: unknown } } | null)?.error;
  if (!error || !isErrorCode(error.code))
    return new AppError('INTERNAL_ERROR', { status }, `The other side answered ${status} without an error of ours.`);
  const details = typeof error.details === 'object' && error.details !== null ? (error.details as Record<string, unknown>) : {};
  return new AppError(error.code, details, typeof error.message === 'string' ? error.message : undefined);
}
