import type { Mount } from '../accounts/caller.js';
import { root } from './guard.js';
import type { OverviewReader } from './overview.js';
import * as contract from './overview.contract.js';

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

/** Mounts `GET /admin/overview`: the figures of the first page of the panel, from the same source. */
export function mountOverview(mount: Mount, { overview }: { overview: OverviewReader }): void {
  mount(contract.readOverview, async ({ query }) => {
    const [figures, { offline, alerts }] = await Promise.all([overview.overview(query.timezone ?? 'UTC'), overview.status()]);
    const { sessions, queue, workers, leaders, today, deliveries, jobs, timezone } = figures;
    return {
      at: new Date(figures.at).toISOString(),
      timezone,
      alerts: alerts.map(({ since, nextAt, link, ...rest }) => ({
        ...rest,
        since: iso(since),
        nextAt: iso(nextAt),
        panelPath: root + link.to,
      })),
      sessions: {
        total: sessions.total,
        connected: sessions.connected,
        unconfirmed: sessions.unconfirmed,
        offline,
        byStatus: sessions.byStatus,
      },
      today,
      queue: {
        queued: queue.queued,
        sending: queue.sending,
        uncertain: queue.uncertain,
        oldestQueuedAt: iso(queue.oldestQueuedAt),
      },
      deliveries,
      jobs,
      workers: workers.map(({ draining, heartbeatAt, ...worker }) => ({
        ...worker,
        isDraining: draining,
        lastHeartbeat: new Date(heartbeatAt).toISOString(),
      })),
      quotaLeaders: leaders,
    };
  });
}
