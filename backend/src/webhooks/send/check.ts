import type { Core } from '../../core.js';
import type { Presence } from '../../db/presence.js';
import type { Deliveries } from '../deliveries.js';

/** What has been due for longer was missed by the dispatchers, which look every second. Milliseconds. */
const overdueMs = 60_000;

/**
 * Does once what the dispatcher of each backend does every second: releases the claims of backends that are gone and those whose lease has expired, and
 * repairs times after the clock was set back. Returns how many it has released and repaired, and how many endpoints have a delivery that is overdue.
 */
export async function checkDeliveries(
  { clock }: Pick<Core, 'clock'>,
  { deliveries, presence }: { deliveries: Deliveries; presence: Presence },
): Promise<{ released: number; repaired: number; overdue: number }> {
  const released = await deliveries.release(await presence.gone(await deliveries.owners()));
  const repaired = await deliveries.repairTimes(clock.now());
  const overdue = (await deliveries.due(new Date(clock.now().getTime() - overdueMs))).length;
  return { released, repaired, overdue };
}
