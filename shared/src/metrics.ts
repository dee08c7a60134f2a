/**
 * Every metric that `GET /metrics` of a process publishes, one row each. The registry (meter.ts), the types of
 * labels and `docs/reference/metrics.md` come from it. Names follow the conventions of Prometheus: base units, `_total` for counters.
 *
 * Labels have few values: names from tables of the contract, route patterns, and ids of sessions and workers that exist. Never a phone number, a
 * path, a name that a caller chose, or anything of a message.
 */
export interface MetricRow {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  /** Which process publishes it. */
  readonly process: 'backend' | 'worker' | 'both';
  readonly labels: readonly string[];
  readonly doc: string;
  /** Upper bounds of a histogram, in seconds. */
  readonly buckets?: readonly number[];
}

const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const sendBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200] as const;
const transactionBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5] as const;

function row<const L extends readonly string[], const K extends MetricRow['kind']>(
  kind: K,
  process: MetricRow['process'],
  labels: L,
  doc: string,
  buckets?: readonly number[],
): MetricRow & { readonly kind: K; readonly labels: L } {
  return { kind, process, labels, doc, ...(buckets ? { buckets } : {}) };
}

export const metricTable = {
  chasqui_build_info: row('gauge', 'both', ['process', 'version'], 'Always 1. The labels name the process and its version.'),
  chasqui_collector_up: row(
    'gauge',
    'both',
    ['collector'],
    'Whether the last read of this group of gauges succeeded. While it is 0, the gauges of the group are absent: no old value is shown.',
  ),

  chasqui_http_requests_total: row(
    'counter',
    'both',
    ['method', 'route', 'status'],
    'Answered requests by route pattern. Status 499: the caller disconnected before the reply began. Paths without a route count as `unmatched`.',
  ),
  chasqui_http_request_duration_seconds: row(
    'histogram',
    'both',
    ['method', 'route'],
    'Time from the arrival of the headers to the end of the reply. Event streams, which have no end, are not measured.',
    requestBuckets,
  ),
  chasqui_errors_total: row('counter', 'both', ['code'], 'Replies with an error, by its code.'),

  chasqui_events_total: row(
    'counter',
    'backend',
    ['type'],
    'Events that this backend committed, by type. `message.queued` counts a message again when it is queued again.',
  ),
  chasqui_message_outcomes_total: row(
    'counter',
    'backend',
    ['outcome', 'reason'],
    'Outgoing messages that reached `sent`, `failed`, `uncertain` or `cancelled`, with the reason. A message that is settled or retried later counts again.',
  ),
  chasqui_message_send_duration_seconds: row(
    'histogram',
    'backend',
    [],
    'Time from the moment a message was queued until WhatsApp had it. Includes pace, quiet hours and the time without a connection.',
    sendBuckets,
  ),
  chasqui_queue_messages: row(
    'gauge',
    'backend',
    ['session_id'],
    'Queued messages of a session. Read from the database: every backend reports the same, so aggregate with max.',
  ),
  chasqui_queue_due_messages: row(
    'gauge',
    'backend',
    ['session_id'],
    'Queued messages of a session that may be sent now. The others wait for a retry, for quiet hours or for a decision.',
  ),
  chasqui_queue_oldest_age_seconds: row(
    'gauge',
    'backend',
    ['session_id'],
    'How long the oldest due message of a session has been due. Zero when none is due.',
  ),
  chasqui_messages_open: row(
    'gauge',
    'backend',
    ['status'],
    'Messages whose status is not final, in all sessions: `scheduled`, `queued`, `sending`, `uncertain`.',
  ),
  chasqui_sessions: row('gauge', 'backend', ['status'], 'Sessions by status, as the backend knows it.'),
  chasqui_workers: row(
    'gauge',
    'backend',
    ['state'],
    'Workers that have reported: `ok`, `degraded` (it reports a problem), `lost` (no heartbeat within the lease).',
  ),
  chasqui_worker_heartbeat_age_seconds: row('gauge', 'backend', ['worker_id'], 'Time since the last heartbeat of a worker.'),
  chasqui_failures_recent: row(
    'gauge',
    'backend',
    [],
    'Items that failed by themselves and were isolated within the last quarter of an hour. Staff list them at GET /admin/failures.',
  ),

  chasqui_webhook_attempts_total: row(
    'counter',
    'backend',
    ['outcome'],
    'Requests to webhook endpoints: `delivered`, `refused` (another status than 2xx), `unreachable` (no answer), `aborted` (stopped by a shutdown).',
  ),
  chasqui_webhook_attempt_duration_seconds: row(
    'histogram',
    'backend',
    [],
    'Duration of a request to a webhook endpoint, to the end of its answer.',
    requestBuckets,
  ),
  chasqui_webhook_deliveries_open: row(
    'gauge',
    'backend',
    ['status'],
    'Webhook deliveries that are not finished: `pending` (waits for its first or next attempt), `sending`, `held`.',
  ),
  chasqui_webhook_oldest_age_seconds: row(
    'gauge',
    'backend',
    [],
    'Age of the oldest pending webhook delivery. Zero when none is pending.',
  ),
  chasqui_webhook_circuits_open: row('gauge', 'backend', [], 'Webhook endpoints that fail so often that only a probe is sent.'),

  chasqui_database_transactions_total: row(
    'counter',
    'backend',
    ['outcome'],
    'Write transactions of this backend: `committed`, `rolled_back`.',
  ),
  chasqui_database_transaction_duration_seconds: row(
    'histogram',
    'backend',
    [],
    'Time from the request of a write transaction to its end, with the wait for the writer (SQLite) or a connection (PostgreSQL).',
    transactionBuckets,
  ),
  chasqui_database_read_seconds: row('gauge', 'backend', [], 'Duration of one trivial read, made for this scrape.'),
  chasqui_database_size_bytes: row('gauge', 'backend', [], 'Size of the database, on SQLite with its journal.'),
  chasqui_database_connections: row(
    'gauge',
    'backend',
    ['state'],
    'PostgreSQL only: connections of this backend, `busy`, `idle`, and callers that wait, `waiting`.',
  ),

  chasqui_worker_sessions: row('gauge', 'worker', ['status'], 'Sessions of this worker by status.'),
  chasqui_worker_capacity: row('gauge', 'worker', [], 'The number of sessions that this worker may run.'),
  chasqui_worker_degraded: row(
    'gauge',
    'worker',
    [],
    '1 while the worker reports itself degraded: a recent problem, a full disk, or an outlet that cannot write.',
  ),
  chasqui_worker_draining: row(
    'gauge',
    'worker',
    [],
    '1 while the worker starts no session and sends nothing, because it stops.',
  ),
  chasqui_browser_memory_bytes: row(
    'gauge',
    'worker',
    ['session_id'],
    'Memory of the browser of a running session, shared pages counted in part (PSS).',
  ),
  chasqui_browser_cpu_ratio: row(
    'gauge',
    'worker',
    ['session_id'],
    'Processor time of the browser of a running session; 1 is one processor.',
  ),
  chasqui_browser_processes: row('gauge', 'worker', ['session_id'], 'Processes of the browser of a running session.'),
  chasqui_session_round_trip_seconds: row(
    'gauge',
    'worker',
    ['session_id'],
    'Duration of the last successful round trip through the page of a session.',
  ),
  chasqui_sends_total: row(
    'counter',
    'worker',
    ['outcome'],
    'Sends that were handed to a page: `sent`, `failed`, `uncertain`. Answers from the send record are not counted.',
  ),
  chasqui_phone_requests_total: row(
    'counter',
    'worker',
    [],
    'Requests to phones for received messages that could not be decrypted. See `ASK_PHONE_FOR_UNDECRYPTED`.',
  ),
  chasqui_send_duration_seconds: row(
    'histogram',
    'worker',
    [],
    'Time from the command to the outcome of a send, with the wait for the session’s lane.',
    requestBuckets,
  ),
  chasqui_outlet_events: row('gauge', 'worker', [], 'Events that wait in the outlet for the backend.'),
  chasqui_worker_problems_total: row('counter', 'worker', ['code'], 'Problems that the worker isolated, by code.'),

  chasqui_disk_free_bytes: row('gauge', 'both', [], 'Free space on the disk of the data folder.'),
  process_cpu_seconds_total: row('counter', 'both', [], 'Processor time of this process.'),
  process_resident_memory_bytes: row('gauge', 'both', [], 'Resident memory of this process, without browsers.'),
  process_start_time_seconds: row('gauge', 'both', [], 'When this process started, in seconds since 1970.'),
  nodejs_heap_size_used_bytes: row('gauge', 'both', [], 'Used memory of the JavaScript heap.'),
  nodejs_eventloop_lag_mean_seconds: row('gauge', 'both', [], 'Mean delay of the event loop since the last scrape.'),
  nodejs_eventloop_lag_p99_seconds: row(
    'gauge',
    'both',
    [],
    '99th percentile of the delay of the event loop since the last scrape.',
  ),
  nodejs_eventloop_lag_max_seconds: row('gauge', 'both', [], 'Longest delay of the event loop since the last scrape.'),
} as const satisfies Record<string, MetricRow>;

export type MetricName = keyof typeof metricTable;
type NameOf<K extends MetricRow['kind']> = {
  [N in MetricName]: (typeof metricTable)[N]['kind'] extends K ? N : never;
}[MetricName];
export type CounterName = NameOf<'counter'>;
export type GaugeName = NameOf<'gauge'>;
export type HistogramName = NameOf<'histogram'>;
export type MetricLabels<N extends MetricName> = Readonly<Record<(typeof metricTable)[N]['labels'][number], string>>;
