import { operations, parseRecipient, phoneOf } from '@chasqui/shared';
import { createBulk } from '../bulk/bulk.js';
import type { CheckNumbers } from '../bulk/feed/context.js';
import { createBulkUpkeep } from '../bulk/upkeep.js';
import { createFeeder } from '../bulk/feed/feeder.js';
import { phoneIdOf } from '../contacts/people.js';
import { quietUntil, timezoneOf } from '../sessions/quiet-hours.js';
import type { Session } from '../sessions/session.entity.js';
import type { Locale } from '../templates/render.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import type { SessionParts } from './sessions.js';
import { workStopMs } from './times.js';

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type BulkModules = ReturnType<typeof createBulkModules>;

const checkDeadlineMs = 30_000;

/** Bulk jobs, and the feeder that hands their messages over. */
export function createBulkModules(core: Foundation, access: Access, parts: SessionParts, messaging: Messaging) {
  const { lifecycle } = core;
  const { contacts, optOuts, plans, storageOf } = access;
  const { media, sessions, gateway } = parts;
  const { messages, messageState, quotas, idempotency, bulkState: state, jobContents: contents } = messaging;
  const localeOf = async (accountId: string): Promise<Locale> => {
    const { language, timezone } = await plans.limitsOf(accountId);
    return { language, timezone };
  };
  const quiet = ({ settings }: Session, timezone: string, at: Date): Date | null =>
    quietUntil({ quietHours: settings.quietHours, timezone: timezoneOf(settings, timezone) }, at);
  const checkNumbers: CheckNumbers = async (session, addresses) => {
    const numbers = addresses.map((address) => phoneOf(address) ?? address);
    const output = operations['contacts.check'].output.parse(
      await gateway.run(session, 'contacts.check', { numbers }, checkDeadlineMs),
    );
    return output.flatMap(({ input, registered, contact }) => {
      const parsed = parseRecipient(input);
      const ids = [contact?.id, phoneIdOf(contact?.phone), contact?.lid].filter((id): id is string => Boolean(id));
      return parsed.ok ? [{ address: parsed.address.id, isRegistered: registered, ids }] : [];
    });
  };
  const shared = { state, contents, messages, messageState, quotas, optOuts, localeOf };
  const bulk = createBulk(core, { ...shared, sessions, media, contacts, idempotency, storageOf });
  const feeder = createFeeder(core, { ...shared, checkNumbers, quietUntil: quiet });
  lifecycle.add('bulk jobs', { phase: 'work', start: () => feeder.start(), stop: () => feeder.stop(), withinMs: workStopMs });
  const bulkUpkeep = createBulkUpkeep(core, { state, contents, media });
  return { bulk, bulkUpkeep, feeder };
}
