import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createMeter, type Meter } from '@chasqui/shared/metrics';
import type { Lifecycle } from '@chasqui/shared/process';
import { openTracing, type Tracing } from '@chasqui/shared/tracing';
import type { Config } from '../config.js';
import type { Core } from '../core.js';
import { openDatabase, type Database, type DatabaseLocation } from '../db/database.js';
import { openPresence, type Presence } from '../db/presence.js';
import { createSharedClock } from '../db/shared-clock.js';
import { guardFor } from '../db/transaction-guard.js';
import { createEvents } from '../events/events.js';
import { createErrorCounts, type ErrorCounts } from '../failures/error-counts.js';
import { createFailures, describeError, type Failures } from '../failures/failures.js';
import { systemClock, type Clock } from '../lib/clock.js';
import { acquireExclusive } from '../lib/exclusive.js';
import { createEgress, type Egress } from '@chasqui/shared/egress';
import { errorFields, type Log } from '../lib/log.js';
import { restrictDataFolder } from '../lib/private-files.js';
import { createSealer, type Sealer } from '../lib/sealer.js';
import { countEvents, measureWrites } from '../metrics/measured.js';
import { traceEvents, type Batches } from '../tracing/traced.js';
import { version } from '../version.js';
import { createDeliveries, type Deliveries } from '../webhooks/deliveries.js';
import { createSubscriptions, type Subscriptions } from '../webhooks/subscriptions.js';
import type { Overrides } from './overrides.js';

/** The parts that every other file of this folder uses: the core, and what only some modules need. */
export interface Foundation extends Core {
  config: Config;
  lifecycle: Lifecycle;
  failures: Failures;
  errorCounts: ErrorCounts;
  presence: Presence;
  sealer: Sealer;
  egress: Egress;
  deliveries: Deliveries;
  subscriptions: Subscriptions;
  meter: Meter;
  /** Null: no collector is set. */
  tracing: Tracing | null;
  batches: Batches;
}

/** Locks the data folder, opens the database and the event log. */
export async function openFoundation(config: Config, over: Overrides, log: Log, lifecycle: Lifecycle): Promise<Foundation> {
  const releaseLock = 'file' in config.database ? acquireExclusive(join(config.dataDir, 'backend.lock')) : undefined;
  if (releaseLock) lifecycle.add('backend lock', { phase: 'locks', stop: releaseLock });
  restrictDataFolder(config.dataDir);
  const opened = await openDatabase(config.database, { log, guard: over.guard ?? guardFor(config.NODE_ENV, log) });
  lifecycle.add('database', { phase: 'data', stop: () => opened.close() });
  const meter = createMeter({ process: 'backend', version });
  lifecycle.add('metrics', { phase: 'connections', stop: () => meter.stop() });
  const database = measureWrites(opened, meter);
  const clock = over.clock ?? (await openClock(database, over.machineClock ?? systemClock, log, lifecycle));
  const presence = await openPresence({ location: config.database, database, owner: randomUUID(), log });
  lifecycle.add('presence', { phase: 'data', stop: () => presence.close() });
  const failures = createFailures({ database, clock, log });
  lifecycle.add('failure records', { phase: 'connections', stop: () => failures.stop() });
  const errorCounts = createErrorCounts({ database, clock });
  lifecycle.add('error counts', { phase: 'connections', stop: () => errorCounts.flush().catch(() => undefined) });
  const { report } = failures;
  const tracing = await openTraces(config, log, lifecycle);
  const batches: Batches = new WeakSet();

  const sealer = createSealer(config.encryptionKeys);
  const egress = createEgress({ allow: config.EGRESS_ALLOW });
  const deliveries = createDeliveries({ database, owner: presence.owner, clock });
  const subscriptions = createSubscriptions({ database, clock, report });
  const events = createEvents({
    clock,
    deliver: subscriptions.deliver,
    listenerFailed: (error, { type, accountId, sessionId }) => {
      log.error('A listener of events failed; the others got the event.', { type, sessionId, ...errorFields(error) });
      report({ kind: 'listener', subject: type, accountId, sessionId, ...describeError(error) });
    },
  });
  countEvents(events, meter);
  return {
    ...{ database, events: tracing ? traceEvents(events, tracing, batches) : events, clock, log, report },
    ...{ config, lifecycle, failures, errorCounts, presence, sealer, egress, deliveries, subscriptions, meter, tracing, batches },
  };
}

/** Loads the libraries of OpenTelemetry if a collector is set. */
async function openTraces(config: Config, log: Log, lifecycle: Lifecycle): Promise<Tracing | null> {
  const tracing = await openTracing({
    endpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT,
    headers: config.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    serviceName: config.OTEL_SERVICE_NAME,
    process: 'backend',
    version,
    log,
  });
  // Behind the phase in which the last outcomes and deliveries end.
  if (tracing) lifecycle.add('traces', { phase: 'data', stop: () => tracing.stop() });
  return tracing;
}

/** Backends that share a database share its clock. On SQLite there is one backend, and its machine's clock is as good. */
async function openClock(database: Database, base: Clock, log: Log, lifecycle: Lifecycle): Promise<Clock> {
  if (database.dialect === 'sqlite') return base;
  const shared = createSharedClock({ base, database, log });
  lifecycle.add('shared clock', { phase: 'connections', stop: () => shared.stop() });
  await shared.read();
  return shared;
}

/** Returns the address at which other backends of this database are notified. SQLite has no other backend. */
export const notifyLocation = (location: DatabaseLocation): { url: string | null; schema?: string | undefined } =>
  'url' in location ? { url: location.url, schema: location.schema } : { url: null };
