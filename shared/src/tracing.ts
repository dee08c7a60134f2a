import type { Request, RequestHandler } from 'express';
import { notesOf } from './express.js';
import { parseTraceparent, type SpanIds, type Tracing, type TracingOptions } from './spans.js';

export {
  messageSpan,
  parseTraceparent,
  type Span,
  type SpanAttributes,
  type SpanIds,
  type SpanInput,
  type Tracing,
  type TracingOptions,
} from './spans.js';

/** Loads the libraries and returns the writer of traces; null without a collector. */
export async function openTracing(options: TracingOptions): Promise<Tracing | null> {
  if (options.endpoint === undefined) return null;
  const { createTracing } = await import('./tracing-sdk.js');
  return createTracing({ ...options, endpoint: options.endpoint });
}

/** The paths of the public API. Every request has a span. */
const publicPath = /^\/api\/v1\//;
/** The paths between our processes. A request has a span if it belongs to a trace; probes and heartbeats do not. */
const internalPath = /^\/(api\/(session|message)\/|internal\/events$)/;

/**
 * Returns the handler that begins a span for each traced request and ends it with the reply. It must run after `identify`. Everything that the
 * request does belongs to the span.
 */
export function traceRequests(tracing: Tracing): RequestHandler {
  return (req, res, next) => {
    const parent = parseTraceparent(req.get('traceparent'));
    if (!isTraced(req, parent)) return next();
    const method = req.method;
    const requestId = String(res.locals['requestId']);
    const attributes = { 'http.request.method': method, 'chasqui.request.id': requestId };
    const span = tracing.begin({ name: method, kind: 'server', parent, attributes });
    res.once('close', () => {
      const { route = 'unmatched', code = null } = notesOf(res);
      const status = res.headersSent ? res.statusCode : 499;
      span.rename(`${method} ${route}`);
      const ended = {
        'http.route': route,
        'http.response.status_code': status,
        ...(code === null ? {} : { 'error.type': code }),
      };
      span.end({ attributes: ended, isError: status >= 500 });
    });
    tracing.run(span, next);
  };
}

const isTraced = ({ path }: Request, parent: SpanIds | null): boolean =>
  publicPath.test(path) || (parent !== null && internalPath.test(path));
