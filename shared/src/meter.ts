import { createHash, timingSafeEqual } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Express, Request } from 'express';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { AppError } from './errors.js';
import { notesOf, type Answered } from './express.js';
import {
  metricTable,
  type CounterName,
  type GaugeName,
  type HistogramName,
  type MetricLabels,
  type MetricName,
  type MetricRow,
} from './metrics.js';

/** Counts what a process does, and renders it in the text format of Prometheus. Counters begin at zero with the process. */
export interface Meter {
  count<N extends CounterName>(name: N, labels: MetricLabels<N>, by?: number): void;
  /** Records a duration in seconds. */
  observe<N extends HistogramName>(name: N, labels: MetricLabels<N>, seconds: number): void;
  /**
   * Registers a group of gauges that `read` measures at a scrape. Values that `read` does not set are absent afterwards, such as those of a session
   * that was deleted. If it rejects, or takes longer than `collectMs`, all gauges of the group are absent and `chasqui_collector_up` is 0.
   */
  collect(group: string, names: readonly GaugeName[], read: (set: SetGauge) => void | Promise<void>): void;
  /** All metrics. Concurrent callers share one read, and so do callers within `cacheMs`. Never rejects because of a collector. */
  text(): Promise<string>;
  /** Ends the measurement of the event loop. */
  stop(): void;
}

export type SetGauge = <N extends GaugeName>(name: N, labels: MetricLabels<N>, value: number) => void;

export interface MeterOptions {
  process: 'backend' | 'worker';
  version: string;
  /** How long a rendered text is reused, so that frequent scrapes do not keep the database busy. Milliseconds. */
  cacheMs?: number;
  /** The time limit of a collector. Milliseconds. */
  collectMs?: number;
}

interface Group {
  name: string;
  gauges: readonly GaugeName[];
  read: (set: SetGauge) => void | Promise<void>;
  /** The read that is under way. A read that hangs is not started again. */
  running: Promise<Sample[]> | null;
}

interface Sample {
  name: GaugeName;
  labels: Readonly<Record<string, string>>;
  value: number;
}

interface Context {
  registry: Registry;
  metrics: ReadonlyMap<MetricName, Counter | Gauge | Histogram>;
  groups: Group[];
  collectMs: number;
}

export function createMeter({ process: owner, version, cacheMs = 1_000, collectMs = 2_500 }: MeterOptions): Meter {
  const registry = new Registry();
  const context: Context = { registry, metrics: metricsOf(owner, registry), groups: [], collectMs };
  const loop = monitorEventLoopDelay({ resolution: 20 });
  loop.enable();
  const collect: Meter['collect'] = (name, gauges, read) => void context.groups.push({ name, gauges, read, running: null });
  collect('process', processGauges, (set) =>
    measureProcess(set, loop, context.metrics.get('process_cpu_seconds_total') as Counter),
  );
  gaugeOf(context, 'chasqui_build_info').set({ process: owner, version }, 1);
  let cached: { text: Promise<string>; until: number } | null = null;
  return {
    count: (name, labels, by = 1) => (context.metrics.get(name) as Counter).inc(labels, by),
    observe: (name, labels, seconds) => (context.metrics.get(name) as Histogram).observe(labels, seconds),
    collect,
    text() {
      if (!cached || performance.now() > cached.until) {
        const text = render(context);
        // Until it is rendered, every caller shares it.
        const own = (cached = { text, until: Infinity });
        const expire = (ms: number) => (): void => void (own.until = performance.now() + ms);
        text.then(expire(cacheMs), expire(0));
      }
      return cached.text;
    },
    stop: () => void loop.disable(),
  };
}

/** Only the metrics of the process: the others would be published without ever having a value. */
function metricsOf(owner: MeterOptions['process'], registry: Registry): Context['metrics'] {
  const rows = Object.entries<MetricRow>(metricTable).filter(([, { process }]) => process === owner || process === 'both');
  return new Map(
    rows.map(([name, { kind, labels, doc, buckets }]): [MetricName, Counter | Gauge | Histogram] => {
      const shared = { name, help: doc, labelNames: [...labels], registers: [registry] };
      if (kind === 'counter') return [name as MetricName, new Counter(shared)];
      if (kind === 'histogram') return [name as MetricName, new Histogram({ ...shared, buckets: [...(buckets ?? [])] })];
      const gauge = new Gauge(shared);
      clear(gauge);
      return [name as MetricName, gauge];
    }),
  );
}

/** A gauge without a measurement is absent, not zero. */
function clear(gauge: Gauge): void {
  gauge.reset();
  gauge.remove({});
}

const gaugeOf = ({ metrics }: Context, name: GaugeName): Gauge => metrics.get(name) as Gauge;

async function render(context: Context): Promise<string> {
  await Promise.all(context.groups.map((group) => readGroup(context, group)));
  return context.registry.metrics();
}

async function readGroup(context: Context, group: Group): Promise<void> {
  const samples = await withinLimit(context, group).catch(() => null);
  for (const name of group.gauges) clear(gaugeOf(context, name));
  for (const { name, labels, value } of samples ?? []) gaugeOf(context, name).set(labels, value);
  gaugeOf(context, 'chasqui_collector_up').set({ collector: group.name }, samples ? 1 : 0);
}

function withinLimit({ collectMs }: Context, group: Group): Promise<Sample[]> {
  group.running ??= readSamples(group).finally(() => (group.running = null));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The collector did not end in time.')), collectMs);
  });
  return Promise.race([group.running, late]).finally(() => clearTimeout(timer));
}

async function readSamples({ read, gauges }: Group): Promise<Sample[]> {
  const samples: Sample[] = [];
  await read((name, labels, value) => {
    if (!gauges.includes(name)) throw new Error(`The collector sets ${name}, which is not in its group.`);
    samples.push({ name, labels, value });
  });
  return samples;
}

const processGauges = [
  'process_resident_memory_bytes',
  'process_start_time_seconds',
  'nodejs_heap_size_used_bytes',
  'nodejs_eventloop_lag_mean_seconds',
  'nodejs_eventloop_lag_p99_seconds',
  'nodejs_eventloop_lag_max_seconds',
] as const satisfies readonly GaugeName[];

/** The processor time that the counters of this process have counted. There may be several meters in a process of tests. */
const countedCpu = new WeakMap<Counter, number>();

function measureProcess(set: SetGauge, loop: ReturnType<typeof monitorEventLoopDelay>, cpu: Counter): void {
  const { user, system } = process.cpuUsage();
  const used = (user + system) / 1e6;
  cpu.inc(Math.max(0, used - (countedCpu.get(cpu) ?? 0)));
  countedCpu.set(cpu, used);
  set('process_resident_memory_bytes', {}, process.memoryUsage.rss());
  set('process_start_time_seconds', {}, performance.timeOrigin / 1000);
  set('nodejs_heap_size_used_bytes', {}, process.memoryUsage().heapUsed);
  // The timer behind the histogram fires every 20 ms; what exceeds that is delay. Without a sample yet, there is no value.
  if (loop.count > 0) {
    const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - 0.02);
    set('nodejs_eventloop_lag_mean_seconds', {}, seconds(loop.mean));
    set('nodejs_eventloop_lag_p99_seconds', {}, seconds(loop.percentile(99)));
    set('nodejs_eventloop_lag_max_seconds', {}, seconds(loop.max));
  }
  loop.reset();
}

/** The methods that have series of their own. A caller may send any of the three dozen that the parser knows. */
const methods: readonly string[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];

/** Counts an answered request. Its labels come from tables, never from the caller. */
export function countAnswered(meter: Meter, { method: sent, route, status, ms, code, isStream }: Answered): void {
  const method = methods.includes(sent) ? sent : 'OTHER';
  meter.count('chasqui_http_requests_total', { method, route, status: String(status) });
  if (!isStream) meter.observe('chasqui_http_request_duration_seconds', { method, route }, ms / 1000);
  if (code !== null) meter.count('chasqui_errors_total', { code });
}

/**
 * Serves `GET /metrics` to callers that send one of `secrets` in `X-API-Key` or `Authorization` (`Bearer` or `ApiKey`). The address of a caller proves
 * nothing, because a proxy may run on the same machine.
 */
export function serveMetrics(app: Express, { meter, secrets }: { meter: Meter; secrets: readonly (string | undefined)[] }): void {
  const digests = secrets.flatMap((secret) => (secret ? [digestOf(secret)] : []));
  app.get('/metrics', async (req, res) => {
    notesOf(res).route = '/metrics';
    const sent = digestOf(secretOf(req));
    // Compares with each, so that the time does not say which one was right.
    if (digests.filter((digest) => timingSafeEqual(digest, sent)).length === 0)
      throw new AppError(
        'UNAUTHENTICATED',
        {},
        'Send METRICS_TOKEN as Authorization: Bearer <token>, or the service key in X-API-Key.',
      );
    res.set({ 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control': 'no-store' }).send(await meter.text());
  });
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

function secretOf(req: Request): string {
  const [scheme = '', value = ''] = (req.get('authorization') ?? '').trim().split(/[ \t]+/);
  return req.get('x-api-key') ?? (['bearer', 'apikey'].includes(scheme.toLowerCase()) ? value : '');
}
