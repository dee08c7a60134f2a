import type { Database } from '../../db/database.js';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { createCircuit, type Circuit } from './circuit.js';
import type { Deliveries } from '../deliveries.js';
import type { EndpointSecrets } from '../endpoint-secrets.js';
import { createPauses, type Pauses } from './pauses.js';
import type { OutgoingEvent } from '../payload.js';
import type { Post, Posted } from './post.js';
import type { RequestSlots } from './request-slots.js';
import type { Opened } from './request.js';
import type { Schedule } from './schedule.js';
import type { Settling } from './settling.js';
import type { Webhook, WebhookAttempt, WebhookDelivery } from '../webhook.entity.js';
import type { Webhooks } from '../webhooks.js';

/** The state that the lane of an endpoint (lane.ts) and its attempts (attempt.ts) share. */

export interface WebhookOptions {
  timeoutMs: number;
  concurrency: number;
  schedule: Schedule;
  /** An endpoint is switched off after this time with only failures. */
  disableAfterMs: number;
  /** The most concurrent requests over all endpoints of this process, in units of 64 KiB of body (request-slots.ts). */
  maxRequests: number;
}

/** The parts that lanes may use. */
export interface LaneContext {
  database: Database;
  clock: Clock;
  log: Log;
  deliveries: Deliveries;
  webhooks: Pick<Webhooks, 'disable'>;
  secrets: Pick<EndpointSecrets, 'open'>;
  post: Post;
  /** Null: no traces are written. */
  traces: DeliveryTraces | null;
  options: WebhookOptions;
  /** Room for requests, over all endpoints. */
  slots: RequestSlots;
  isStopped: () => boolean;
  /** Aborted when the process cannot wait any longer for answers. */
  signal: AbortSignal;
  wakeLater: (webhookId: string, ms: number) => void;
  /** The most deliveries that a lane claims at once: the more lanes run, the fewer. */
  batchSize: () => number;
}

/** Writes attempts of deliveries to traces. */
export interface DeliveryTraces {
  /** Begins the span of an attempt. The caller must end it with the result. */
  begin(attempt: { delivery: WebhookDelivery; type: string; messageId: string | null }): AttemptTrace;
}

export interface AttemptTrace {
  /** Headers for the receiver, which can continue the trace. */
  headers: Record<string, string>;
  end(result: Pick<Posted, 'statusCode' | 'error'>): void;
}

/** The state of an endpoint between two runs of its lane. */
export interface EndpointMemory {
  pauses: Pauses;
  circuit: Circuit;
  /** Probes since the circuit opened. */
  probes: number;
  /** `updatedAt` of the row that this belongs to: a change by a person ends all waiting. */
  updatedAt: number | null;
  /** When an attempt failed last, on the monotonic clock; null while the last one succeeded, or none is known. */
  failedAt: number | null;
  /** After a search past sessions that wait (`without`): no other one before this time of the monotonic clock. */
  search: { notBefore: number; without: string } | null;
}

export const createMemory = (monotonic: () => number): EndpointMemory => ({
  pauses: createPauses(monotonic),
  circuit: createCircuit(monotonic),
  probes: 0,
  updatedAt: null,
  failedAt: null,
  search: null,
});

export interface Item {
  delivery: WebhookDelivery;
  /** The event; null: retention removed it; an error: it cannot be read; undefined: it is read when its attempt begins. */
  outgoing: OutgoingEvent | null | undefined | Error;
}

export interface Lane {
  readonly webhookId: string;
  readonly memory: EndpointMemory;
  readonly settling: Settling;
  /** Claimed deliveries that are not under way, by session, the oldest first. '' is the key of events of the account. */
  readonly queues: Map<string, Item[]>;
  /** Sessions whose first delivery is retried at this time of the monotonic clock. */
  readonly retryAt: Map<string, number>;
  readonly running: Map<string, Promise<void>>;
  /** Ids of all claims that this lane owns. */
  readonly claims: Set<string>;
  webhook: Webhook | null;
  opened: Opened | Error;
  /** The endpoint is switched off or deleted. */
  isOff: boolean;
  isProbe: boolean;
  /** The circuit has closed: the next claim waits until all pending deliveries were made due. */
  hasClosed: boolean;
  isClaiming: boolean;
  isWoken: boolean;
  mayHaveMore: boolean;
  /** No attempt begins after this time of the monotonic clock: the claims may be another backend's. */
  validUntil: number;
  /** When the row was read last, on the monotonic clock. */
  loadedAt: number;
  /** Sessions that the last claim left out because enough of theirs is claimed already. */
  leftOut: ReadonlySet<string>;
  /** Ends the current wait of the lane. */
  notify: () => void;
}

/** Puts a claimed delivery into the queue of its session, in the order of the log. */
export function insert(lane: Lane, item: Item): void {
  const key = item.delivery.sessionId ?? '';
  const queue = lane.queues.get(key) ?? [];
  const after = queue.findIndex(({ delivery }) => delivery.eventCursor > item.delivery.eventCursor);
  queue.splice(after === -1 ? queue.length : after, 0, item);
  lane.queues.set(key, queue);
}

/** Leaves a claimed delivery as it was; with `waitMs`, for a later attempt. */
export function putBack(context: LaneContext, lane: Lane, delivery: WebhookDelivery, waitMs = 0): void {
  const now = context.clock.now();
  const at = waitMs > 0 ? new Date(now.getTime() + waitMs) : (delivery.nextAttemptAt ?? now);
  note(lane, delivery, null, 'pending', at, waitMs > 0 ? waitMs : (delivery.waitMs ?? 0));
}

/** Records the outcome of a delivery; settling.ts writes it. */
export function note(
  lane: Lane,
  delivery: WebhookDelivery,
  made: WebhookAttempt | null,
  to: 'pending' | 'sending' | 'delivered' | 'failed',
  nextAttemptAt: Date | null,
  waitMs: number,
): void {
  const outcome = { delivery, attemptsBefore: delivery.attempts, attempt: made, to, nextAttemptAt };
  // A column of whole numbers: PostgreSQL refuses others.
  lane.settling.note({ ...outcome, waitMs: Math.ceil(waitMs) });
}
