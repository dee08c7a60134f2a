import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Span as SdkSpan, type Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  RandomIdGenerator,
  TracerProvider,
  type IdGenerator,
  type SpanExporter,
} from '@opentelemetry/sdk-trace';
import { traceparentOf, type Span, type SpanIds, type SpanInput, type Tracing, type TracingOptions } from './spans.js';

/** Writes spans with the libraries of OpenTelemetry, which only this file imports. `openTracing` loads it. */

/** The maximum number of spans that wait for the collector. Further ones are dropped, which limits the memory while the collector is unreachable. */
const maxQueued = 2_048;
/** The maximum number of spans in one request to the collector. */
const maxPerRequest = 512;
const sendEveryMs = 1_000;
/** The timeout of one request to the collector, including its retries. */
const exportTimeoutMs = 5_000;
/** The maximum delay of a stop by spans that are still being sent. */
const stopWithinMs = 2_000;
/** The interval of the log line about a collector that does not accept spans. */
const failureLogMs = 600_000;

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
} as const;

type SdkOptions = TracingOptions & { endpoint: string };

/**
 * Creates the writer of traces, which sends spans to the collector in the background. No failure of the collector reaches the callers:
 *
 * | the collector | then |
 * | --- | --- |
 * | is unreachable or slow, or replies with an error or garbage | its spans are dropped after five seconds; one log line in ten minutes has their number |
 * | stays unreachable | at most `maxQueued` spans wait; further ones are dropped |
 * | does not answer at a stop | the stop continues after two seconds |
 */
export function createTracing(options: SdkOptions): Tracing {
  const nextIds: NextIds = { value: null };
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': `${options.serviceName}-${options.process}`,
      'service.namespace': options.serviceName,
      'service.version': options.version,
      'service.instance.id': randomUUID(),
    }),
    sampler: new AlwaysOnSampler(),
    idGenerator: createIds(nextIds),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: createExporter(options),
        maxQueueSize: maxQueued,
        maxExportBatchSize: maxPerRequest,
        scheduledDelayMillis: sendEveryMs,
        // Longer than the timeout of the exporter, so that the exporter ends first.
        exportTimeoutMillis: exportTimeoutMs + 2_000,
      }),
    ],
  });
  const tracer = provider.getTracer('chasqui', options.version);
  const storage = new AsyncLocalStorage<Span | null>();
  /** The spans that have not ended. */
  const running = new WeakSet<Span>();
  return {
    begin: (input) => beginSpan(tracer, nextIds, running, input),
    run: (span, work) => storage.run(span, work),
    outside: (work) => storage.run(null, work),
    current() {
      const span = storage.getStore() ?? null;
      return span && running.has(span) ? span : null;
    },
    stop: () => withinLimit(provider.shutdown()),
  };
}

/** The ids of the span that is being started. The library reads them in the same call; null: random ids. */
interface NextIds {
  value: SpanIds | null;
}

function createIds(nextIds: NextIds): IdGenerator {
  const random = new RandomIdGenerator();
  return {
    generateTraceId: () => nextIds.value?.traceId ?? random.generateTraceId(),
    generateSpanId: () => nextIds.value?.spanId ?? random.generateSpanId(),
  };
}

function beginSpan(tracer: Tracer, nextIds: NextIds, running: WeakSet<Span>, input: SpanInput): Span {
  const { name, kind, parent = null, ids = null, links = [], startedAt, attributes = {} } = input;
  const context = parent ? trace.setSpanContext(ROOT_CONTEXT, { ...contextOf(parent), isRemote: true }) : ROOT_CONTEXT;
  nextIds.value = ids;
  const span = tracer.startSpan(
    name,
    {
      kind: kinds[kind],
      attributes,
      links: links.map((to) => ({ context: contextOf(to) })),
      ...(startedAt === undefined ? {} : { startTime: startedAt }),
    },
    context,
  );
  nextIds.value = null;
  const wrapped = wrap(span, running);
  running.add(wrapped);
  return wrapped;
}

const contextOf = ({ traceId, spanId }: SpanIds) => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED });

function wrap(span: SdkSpan, running: WeakSet<Span>): Span {
  const { traceId, spanId } = span.spanContext();
  const wrapped: Span = {
    ids: { traceId, spanId },
    traceparent: traceparentOf({ traceId, spanId }),
    link: (to) => void span.addLink({ context: contextOf(to) }),
    rename: (name) => void span.updateName(name),
    end({ attributes = {}, isError = false } = {}) {
      if (!running.delete(wrapped)) return;
      span.setAttributes(attributes);
      if (isError) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    },
  };
  return wrapped;
}

/** Returns the exporter to the collector. It logs failures itself, and reports success to the library, which would log each failure. */
function createExporter(options: SdkOptions): SpanExporter {
  const exporter = new OTLPTraceExporter({
    url: `${options.endpoint}/v1/traces`,
    headers: { ...options.headers },
    timeoutMillis: exportTimeoutMs,
  });
  const noteFailure = createFailureLog(options.log);
  return {
    export(spans, done) {
      exporter.export(spans, ({ code, error }) => {
        if (code !== 0) noteFailure(spans.length, error);
        done({ code: 0 });
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}

/** Returns a function that logs dropped spans. It logs only the code of an error, because the text may contain the reply of the collector. */
function createFailureLog(log: TracingOptions['log']): (spans: number, error: Error | undefined) => void {
  let nextLogAt = 0;
  let dropped = 0;
  return (spans, error) => {
    dropped += spans;
    if (performance.now() < nextLogAt) return;
    nextLogAt = performance.now() + failureLogMs;
    const cause = String((error as { code?: unknown } | undefined)?.code ?? error?.name ?? 'unknown');
    log.warn('The collector of traces did not accept spans; they were dropped.', { dropped, cause });
    dropped = 0;
  };
}

/** Resolves when `work` is settled, and at the latest after `stopWithinMs`. */
async function withinLimit(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, stopWithinMs);
  });
  await Promise.race([work.catch(() => undefined), limit]);
  clearTimeout(timer);
}
