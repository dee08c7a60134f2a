import { messageSpan, type Span, type SpanAttributes, type Tracing } from '@chasqui/shared/tracing';
import type { Transaction } from '../db/unit-of-work.js';
import type { EventRow } from '../events/event.entity.js';
import type { Events } from '../events/events.js';
import type { AcceptTraces } from '../messages/accept/acceptance.js';
import type { Message } from '../messages/message.entity.js';
import type { MessageTransport, TransportResult } from '../messages/send/transport.js';
import type { DeliveryTraces } from '../webhooks/send/lane-state.js';
import type { Inbox } from '../whatsapp/inbox.js';

/**
 * Writes spans at the borders of modules that do not know of OpenTelemetry. Each message has a trace of its own, whose ids follow from its id. Its first
 * span is the accept or the receipt; attempts to send it and deliveries of its events are below that span. A request that accepts or reports a message
 * is another trace, and the two are linked.
 */

/** Returns what writes a span for each accepted message, linked with the request that sent it. */
export function traceAccepts(tracing: Tracing): AcceptTraces {
  const begun = new WeakMap<Message, { startedAt: number; request: Span | null }>();
  return {
    begin: (message) => void begun.set(message, { startedAt: Date.now(), request: tracing.current() }),
    committed(message) {
      const ids = messageSpan(message.id);
      if (!ids) return;
      const { startedAt = Date.now(), request = null } = begun.get(message) ?? {};
      const links = request ? [request.ids] : [];
      const attributes = { ...attributesOf(message), 'chasqui.message.origin': message.origin };
      const span = tracing.begin({ name: 'message accept', kind: 'producer', ids, startedAt, links, attributes });
      request?.link(ids);
      span.end({ attributes: { 'chasqui.message.status': message.status } });
    },
  };
}

const attributesOf = ({ id, accountId, sessionId, type }: Message): SpanAttributes => ({
  'chasqui.message.id': id,
  'chasqui.account.id': accountId,
  'chasqui.session.id': sessionId,
  'chasqui.message.type': type,
});

/** Returns the transport with a span for each attempt to send a message. The call of the worker belongs to it. */
export function traceSends(transport: MessageTransport, tracing: Tracing): MessageTransport {
  return {
    lookup: (session, message) => transport.lookup(session, message),
    async send(session, message, isFirst) {
      const attributes = { ...attributesOf(message), 'chasqui.attempt': message.attempts };
      const span = tracing.begin({ name: 'message send', kind: 'client', parent: messageSpan(message.id), attributes });
      try {
        const result = await tracing.run(span, () => transport.send(session, message, isFirst));
        span.end({ attributes: resultOf(result), isError: result.outcome === 'failed' });
        return result;
      } finally {
        span.end({ isError: true });
      }
    },
  };
}

const resultOf = (result: TransportResult): SpanAttributes => ({
  'chasqui.outcome': result.outcome,
  ...('reason' in result ? { 'error.type': result.reason } : {}),
});

/** Returns what writes a span for each attempt of a webhook delivery, and the header by which the receiver can continue the trace. */
export function traceDeliveries(tracing: Tracing): DeliveryTraces {
  return {
    begin({ delivery, type, messageId }) {
      const span = tracing.begin({
        name: 'webhook deliver',
        kind: 'client',
        parent: messageId === null ? null : messageSpan(messageId),
        attributes: {
          'http.request.method': 'POST',
          'chasqui.event.type': type,
          'chasqui.webhook.id': delivery.webhookId,
          'chasqui.delivery.id': delivery.id,
          'chasqui.account.id': delivery.accountId,
          'chasqui.attempt': delivery.attempts + 1,
          ...(messageId === null ? {} : { 'chasqui.message.id': messageId }),
        },
      });
      return {
        headers: { traceparent: span.traceparent },
        end({ statusCode, error }) {
          const status = statusCode === null ? {} : { 'http.response.status_code': statusCode };
          const cause = error === null ? {} : { 'error.type': error };
          span.end({ attributes: { ...status, ...cause }, isError: statusCode === null || statusCode >= 400 });
        },
      };
    },
  };
}

/** The spans of batches of workers' events that are running. */
export type Batches = WeakSet<Span>;

/** Returns the inbox with a span for each batch of events of a worker. */
export function traceInbox(inbox: Inbox, tracing: Tracing, batches: Batches): Inbox {
  return {
    prune: () => inbox.prune(),
    async ingest(workerId, events) {
      const parent = tracing.current()?.ids ?? null;
      const attributes = { 'chasqui.worker.id': workerId, 'chasqui.events': events.length };
      const span = tracing.begin({ name: 'events ingest', kind: 'consumer', parent, attributes });
      batches.add(span);
      try {
        const result = await tracing.run(span, () => inbox.ingest(workerId, events));
        span.end({ attributes: { 'chasqui.events.refused': result.refused.length } });
        return result;
      } finally {
        span.end({ isError: true });
      }
    },
  };
}

/**
 * Returns the log, which links the batch of a worker with the messages whose events it commits and writes the first span of each received message.
 * What its listeners start, such as a dispatcher's loop, does not belong to the request that woke it.
 */
export function traceEvents(events: Events, tracing: Tracing, batches: Batches): Events {
  const note = (tx: Transaction, rows: readonly EventRow[]): void => {
    // Read here: callbacks after a commit run in the context of another transaction of the group.
    const batch = tracing.current();
    if (batch && batches.has(batch)) tx.afterCommit(() => rows.forEach((row) => noteEvent(tracing, batch, row)));
  };
  return {
    ...events,
    async append(tx, event) {
      const row = await events.append(tx, event);
      note(tx, [row]);
      return row;
    },
    async appendAll(tx, list) {
      const rows = await events.appendAll(tx, list);
      note(tx, rows);
      return rows;
    },
    subscribe: (listener) => events.subscribe((event) => tracing.outside(() => listener(event))),
  };
}

function noteEvent(tracing: Tracing, batch: Span, { type, messageId, accountId, sessionId, data }: EventRow): void {
  const ids = messageId === null ? null : messageSpan(messageId);
  if (!ids) return;
  batch.link(ids);
  if (type !== 'message.received') return;
  const attributes = {
    'chasqui.message.id': messageId!,
    'chasqui.account.id': accountId,
    'chasqui.session.id': sessionId ?? '',
    'chasqui.message.type': typeof data['type'] === 'string' ? data['type'] : '',
  };
  tracing.begin({ name: 'message receive', kind: 'consumer', ids, links: [batch.ids], attributes }).end();
}
