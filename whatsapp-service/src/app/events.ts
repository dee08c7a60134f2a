import { newId } from '@chasqui/shared';
import { createBackend, type BackendCall } from '../backend.js';
import { createDelivery } from '../events/delivery.js';
import { createOutlet, type Outlet } from '../events/outlet.js';
import { traceCalls } from '../traced.js';
import type { Foundation } from './foundation.js';

export interface EventParts {
  outlet: Outlet;
  /** The client of the backend. It closes after the last delivery. */
  call: BackendCall;
}

const flushMs = 5_000;

/** The outlet, and its delivery to the backend. */
export function createEventParts({
  config,
  lifecycle,
  log,
  clock,
  problems,
  store,
  marks,
  calls,
  identity,
  tracing,
}: Foundation): EventParts {
  const outlet = createOutlet({ store, clock, log, problems, marks, calls, newId: () => newId(clock.now()), seenDays: 30 });
  lifecycle.add('outlet', {
    phase: 'data',
    start: () => {
      for (const { sessionId, call } of calls.unreported())
        outlet.append(sessionId, marks.epoch(sessionId), { event: 'call.received', payload: call });
    },
    stop: () => outlet.saveMark(),
  });
  const backend = createBackend({
    url: config.backendUrl,
    serviceKey: config.serviceKey,
    defaultTimeoutMs: 10_000,
    ...(tracing ? { traceparent: () => tracing.current()?.traceparent } : {}),
  });
  const { call } = backend;
  const delivery = createDelivery({
    outlet,
    call: tracing ? traceCalls(call, tracing) : call,
    worker: identity,
    epochOf: marks.epoch,
    clock,
    random: Math.random,
    log,
    problems,
  });
  lifecycle.add('event delivery', {
    phase: 'connections',
    start: () => delivery.start(),
    stop: () => delivery.stop(flushMs).finally(() => backend.close()),
    withinMs: flushMs + 1_000,
  });
  return { outlet, call };
}
