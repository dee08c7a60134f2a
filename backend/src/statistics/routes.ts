import { allows } from '@chasqui/shared';
import { handled } from '@chasqui/shared/express';
import type { Caller, Mount } from '../accounts/caller.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import * as contract from './contract.js';
import { reportAsCsv } from './csv.js';
import type { Statistics } from './statistics.js';

interface RouteContext {
  statistics: Statistics;
  sessions: Pick<Sessions, 'find'>;
}

/** Mounts the routes of statistics. `/messages/statistics` must be mounted before `/messages/:messageId`. */
export function mountStatistics(mount: Mount, { statistics, sessions }: RouteContext): void {
  const named = async (caller: Caller, sessionId: string | undefined | null): Promise<Session | null> =>
    sessionId ? sessions.find(caller, sessionId) : null;

  mount(contract.ofSession, async ({ params, query }, caller) =>
    statistics.summary(caller.accountId, await sessions.find(caller, params.sessionId), query),
  );
  mount(contract.ofMessages, async ({ query }, caller) =>
    // A key of one session sees the messages of that session only.
    statistics.summary(caller.accountId, await named(caller, query.sessionId ?? caller.sessionId), query),
  );
  mount(contract.ofCaller, async ({ query }, caller) =>
    statistics.summary(caller.accountId, await named(caller, query.sessionId), query),
  );
  mount(contract.daily, async ({ query }, caller) =>
    statistics.daily(caller.accountId, await named(caller, query.sessionId), query),
  );
  mount(contract.report, async ({ query }, caller, { res }) => {
    const session = await named(caller, query.sessionId);
    const showsChats = allows(caller.permissions, 'messages.receive');
    const report = await statistics.report(caller.accountId, session, query, showsChats);
    if (query.format === 'json') return report;
    const csv = reportAsCsv(report, await statistics.daily(caller.accountId, session, query));
    const name = `statistics-${report.startDate}-${report.endDate}.csv`;
    res.attachment(name).type('text/csv').set('Cache-Control', 'no-store').send(csv);
    return handled;
  });
}
