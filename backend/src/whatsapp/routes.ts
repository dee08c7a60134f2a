import { backendInternalRoutes } from '@chasqui/shared';
import type { Mount } from '../accounts/caller.js';
import type { Heartbeats } from './heartbeats.js';
import type { Inbox } from './inbox.js';

/** Mounts the routes that workers call. */
export function mountInternal(
  mount: Mount,
  { inbox, heartbeats, now }: { inbox: Inbox; heartbeats: Heartbeats; now: () => Date },
): void {
  mount(backendInternalRoutes.events, async ({ body }) => inbox.ingest(body.workerId, body.events));
  mount(backendInternalRoutes.eventsTest, async () => ({ ok: true as const, time: now().toISOString() }));
  mount(backendInternalRoutes.heartbeat, async ({ body }) => heartbeats.receive(body));
}
