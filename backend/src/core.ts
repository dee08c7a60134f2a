import type { Database } from './db/database.js';
import type { Events } from './events/events.js';
import type { ReportFailure } from './failures/failures.js';
import type { Clock } from './lib/clock.js';
import type { Log } from './lib/log.js';

/**
 * What every module above the event log may use. `app/` builds it once; a module receives it as its first argument and its few other
 * collaborators as the second: `createMessages(core, { contacts, media })`. Modules below the event log (`db`, `lib`, `failures`, the
 * subscriptions of `webhooks`) name what they need one by one.
 */
export interface Core {
  database: Database;
  events: Events;
  clock: Clock;
  log: Log;
  /** Records an item that failed by itself, where staff see it. Returns at once and never throws. */
  report: ReportFailure;
}
