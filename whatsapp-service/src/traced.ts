import type { Span, SpanAttributes, Tracing } from '@chasqui/shared/tracing';
import type { SendOutcome } from '@chasqui/shared';
import type { BackendCall } from './backend.js';
import type { Sender } from './sends/sender.js';

/** Writes spans at the borders of modules that do not know of OpenTelemetry. See docs/decisions/108-traces.md. */

/** Returns the sender with a span for each send, below the request that asked for it. */
export function traceSender(sender: Sender, tracing: Tracing): Sender {
  return {
    async send(sessionId, messageId, command, file) {
      const span = tracing.begin({
        name: 'whatsapp send',
        kind: 'client',
        parent: tracing.current()?.ids ?? null,
        attributes: {
          'chasqui.message.id': messageId,
          'chasqui.session.id': sessionId,
          'chasqui.message.type': command.content.type,
          'chasqui.attempt': command.attempt,
        },
      });
      return ended(
        span,
        tracing.run(span, () => sender.send(sessionId, messageId, command, file)),
        (outcome) => ({
          attributes: outcomeOf(outcome),
          isError: outcome.outcome === 'failed',
        }),
      );
    },
  };
}

const outcomeOf = (outcome: SendOutcome): SpanAttributes => ({
  'chasqui.outcome': outcome.outcome,
  ...('reason' in outcome ? { 'error.type': outcome.reason } : {}),
});

/** Returns the function that delivers events to the backend, with a span for each batch. */
export function traceCalls(call: BackendCall, tracing: Tracing): BackendCall {
  return (route, sent, options) => {
    const span = tracing.begin({
      name: 'events deliver',
      kind: 'client',
      attributes: { 'http.request.method': route.method.toUpperCase(), 'http.route': route.path },
    });
    return ended(
      span,
      tracing.run(span, () => call(route, sent, options)),
      ({ status }) => ({
        attributes: { 'http.response.status_code': status },
      }),
    );
  };
}

/** Ends a span with what `work` resolves to, or as an error. */
async function ended<T>(span: Span, work: Promise<T>, resultOf: (value: T) => Parameters<Span['end']>[0]): Promise<T> {
  try {
    const value = await work;
    span.end(resultOf(value));
    return value;
  } finally {
    span.end({ isError: true });
  }
}
