/**
 * Traces for OpenTelemetry, as both processes write them. The libraries are loaded only when a collector is set (tracing.ts); without one there is
 * no `Tracing`, and what would write a span is not built (docs/decisions/108-traces.md).
 */
export interface Tracing {
  /** Begins a span. The caller must end it. Never throws. */
  begin(input: SpanInput): Span;
  /** Runs `work` with `span` as the current span, also what it does asynchronously. */
  run<T>(span: Span, work: () => T): T;
  /** Runs `work` without a current span: for loops that a request wakes and that do not belong to it. */
  outside<T>(work: () => T): T;
  /** Returns the span in which this code runs; null if there is none, or if it has ended. */
  current(): Span | null;
  /** Sends what is waiting, for at most two seconds. */
  stop(): Promise<void>;
}

/** The ids of a span: 32 and 16 hexadecimal digits. */
export interface SpanIds {
  traceId: string;
  spanId: string;
}

/** Values that describe a span. Never content, numbers, names, addresses or keys: ids, codes, counts and patterns of routes. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanInput {
  name: string;
  kind: 'server' | 'client' | 'producer' | 'consumer' | 'internal';
  /** The span below which it is shown. Absent or null: it begins a trace. */
  parent?: SpanIds | null;
  /** The ids of the span itself, for a span that others name as their parent by the same rule. Absent: random ids. */
  ids?: SpanIds | null;
  links?: readonly SpanIds[];
  /** Milliseconds since 1970. Absent: now. */
  startedAt?: number;
  attributes?: SpanAttributes;
}

export interface Span {
  readonly ids: SpanIds;
  /** The value of the header `traceparent` for a call that belongs to this span. */
  readonly traceparent: string;
  link(to: SpanIds): void;
  rename(name: string): void;
  /** Ends the span. Only the first call has an effect. */
  end(result?: { attributes?: SpanAttributes; isError?: boolean }): void;
}

export interface TracingOptions {
  /** The address of the collector, to which `/v1/traces` is appended. Undefined: no traces. */
  endpoint: string | undefined;
  /** Further headers of each request to the collector. */
  headers: Readonly<Record<string, string>>;
  /** `service.name`, to which the name of the process is appended. */
  serviceName: string;
  process: 'backend' | 'worker';
  version: string;
  log: { warn(sentence: string, fields?: Record<string, unknown>): void };
}

/**
 * The ids of the first span of a message's trace. They follow from the message's id, so that every process finds the trace at any later time, also
 * after a restart. Null for an id of another form.
 */
export function messageSpan(messageId: string): SpanIds | null {
  const hex = messageId.replaceAll('-', '').toLowerCase();
  // The second half of a UUID is never all zeros, which would not be the id of a span.
  return /^[0-9a-f]{16}[89ab][0-9a-f]{15}$/.test(hex) ? { traceId: hex, spanId: hex.slice(16) } : null;
}

/** Reads the header `traceparent` (W3C Trace Context). Null if it is absent or not valid. */
export function parseTraceparent(header: string | undefined): SpanIds | null {
  const [, version, traceId, spanId, rest] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/.exec(header ?? '') ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return null;
  if (/^0+$/.test(traceId!) || /^0+$/.test(spanId!)) return null;
  return { traceId: traceId!, spanId: spanId! };
}

export const traceparentOf = ({ traceId, spanId }: SpanIds): string => `00-${traceId}-${spanId}-01`;
