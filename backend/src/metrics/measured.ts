import type { Meter } from '@chasqui/shared/metrics';
import type { Database } from '../db/database.js';
import type { Events, PublishedEvent } from '../events/events.js';
import { isSuccess, type Post, type Posted } from '../webhooks/send/post.js';

/**
 * Counts at the borders of modules that do not know of metrics: what is wrapped here behaves as before. Counters hold what this process did since it
 * started; what must be true across restarts is read from the database (collectors.ts).
 */

/** Returns the database with measured write transactions. */
export function measureWrites(database: Database, meter: Meter): Database {
  for (const outcome of ['committed', 'rolled_back']) meter.count('chasqui_database_transactions_total', { outcome }, 0);
  const { run, idle } = database.write;
  const end = (outcome: string, began: number): void => {
    meter.count('chasqui_database_transactions_total', { outcome });
    meter.observe('chasqui_database_transaction_duration_seconds', {}, (performance.now() - began) / 1000);
  };
  const measured: Database['write'] = {
    idle,
    run(work) {
      const began = performance.now();
      const result = run(work);
      result.then(
        () => end('committed', began),
        () => end('rolled_back', began),
      );
      return result;
    },
  };
  return { ...database, write: measured };
}

/** Returns the function that posts to webhook endpoints, with measured requests. */
export function measurePosts(post: Post, meter: Meter): Post {
  for (const outcome of ['delivered', 'refused', 'unreachable']) meter.count('chasqui_webhook_attempts_total', { outcome }, 0);
  return async (url, request) => {
    const posted = await post(url, request);
    meter.count('chasqui_webhook_attempts_total', { outcome: outcomeOf(posted) });
    meter.observe('chasqui_webhook_attempt_duration_seconds', {}, posted.durationMs / 1000);
    return posted;
  };
}

function outcomeOf(posted: Posted): string {
  if (posted.error === 'ABORTED') return 'aborted';
  if (posted.statusCode === null) return 'unreachable';
  return isSuccess(posted) ? 'delivered' : 'refused';
}

const outcomes: Partial<Record<string, string>> = {
  'message.sent': 'sent',
  'message.failed': 'failed',
  'message.uncertain': 'uncertain',
  'message.cancelled': 'cancelled',
};

/** Counts the events that this process commits, and the outcomes of outgoing messages among them. Returns the function that ends this. */
export function countEvents(events: Pick<Events, 'subscribe'>, meter: Meter): () => void {
  for (const outcome of Object.values(outcomes))
    meter.count('chasqui_message_outcomes_total', { outcome: outcome!, reason: '' }, 0);
  return events.subscribe((event) => {
    // Another backend committed it, and counts it.
    if (event.data === null) return;
    meter.count('chasqui_events_total', { type: event.type });
    const outcome = outcomes[event.type];
    if (outcome !== undefined) countOutcome(meter, outcome, event.data);
  });
}

function countOutcome(meter: Meter, outcome: string, data: NonNullable<PublishedEvent['data']>): void {
  const { direction, origin, reason, queuedAt, sentAt } = data;
  // What a person sends with the phone is an event, but no send of this gateway.
  if (direction !== 'outbound' || origin === 'device') return;
  meter.count('chasqui_message_outcomes_total', { outcome, reason: codeOf(reason) });
  if (outcome === 'sent' && typeof queuedAt === 'string' && typeof sentAt === 'string')
    meter.observe('chasqui_message_send_duration_seconds', {}, Math.max(0, Date.parse(sentAt) - Date.parse(queuedAt)) / 1000);
}

/** The code of a reason: the codes are a table of the contract. */
const codeOf = (reason: unknown): string => {
  const code: unknown = typeof reason === 'object' && reason !== null && 'code' in reason ? reason.code : '';
  return typeof code === 'string' ? code : '';
};
