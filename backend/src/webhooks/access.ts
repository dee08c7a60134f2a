import { allows, AppError, eventCatalogue, eventTypes, type Permission } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import { readable } from '../db/unreadable.js';
import type { Webhook } from './webhook.entity.js';

/**
 * Reading or changing an endpoint, its deliveries and its secret gives access to its events: a caller that changes its URL receives them. So it
 * requires the permission of each event that the endpoint receives.
 */

/** Throws `PERMISSION_DENIED` unless the caller may read every event of the endpoint. */
export function requireAccess(caller: Caller, webhook: Webhook): void {
  const permission = missingPermission(caller, webhook);
  if (permission === undefined) return;
  const message = `This webhook gets events that need the permission ${permission}. Use a key that has it.`;
  throw new AppError('PERMISSION_DENIED', { permission }, message);
}

export const mayAccess = (caller: Caller, webhook: Webhook): boolean => missingPermission(caller, webhook) === undefined;

const missingPermission = (caller: Caller, webhook: Webhook): Permission | undefined =>
  permissionsOf(webhook).find((permission) => !allows(caller.permissions, permission));

/** The permissions of the events that an endpoint receives; those of all events for an endpoint whose list cannot be read. */
function permissionsOf({ types }: Webhook): Permission[] {
  const stored = readable(types, null);
  const received = stored === null ? eventTypes : eventTypes.filter((type) => Object.hasOwn(stored, type));
  return [...new Set(received.map((type) => eventCatalogue[type].permission))];
}
