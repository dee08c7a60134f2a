import type { Core } from '../../src/core.js';
import type { Database } from '../../src/db/database.js';
import { createEvents } from '../../src/events/events.js';
import { systemClock, type Clock } from '../../src/lib/clock.js';
import type { Log } from '../../src/lib/log.js';

const ignore = (): void => undefined;
const silent: Log = { error: ignore, warn: ignore, info: ignore, debug: ignore, isDebug: false };

/** A core for modules that a test constructs itself beside a running backend: no listener of events, no log, no record of failures. */
export const coreOf = (database: Database, clock: Clock = systemClock): Core => ({
  database,
  events: createEvents({ clock }),
  clock,
  log: silent,
  report: ignore,
});
