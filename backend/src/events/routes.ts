import { Reply } from '@chasqui/shared/express';
import type { Caller } from '../http/context.js';
import type { Mount } from '../http/server.js';
import { listEvents } from './contract.js';
import type { EventLog } from './log.js';

export function mountEvents(
  mount: Mount,
  { eventLog, sessionIdOf }: { eventLog: EventLog; sessionIdOf: (caller: Caller, named: string) => Promise<string> },
): void {
  mount(listEvents, async ({ query }, caller) => {
    // A session key sees its session's events and no others, asked for or not.
    const sessionId = caller.sessionId ?? (query.sessionId ? await sessionIdOf(caller, query.sessionId) : null);
    const types = query.types ? query.types.split(',').map((type) => type.trim()) : null;
    const { events, next, latest } = await eventLog.page(caller.accountId, {
      after: Number(query.after || 0),
      types,
      sessionId,
      permissions: caller.permissions,
      limit: query.limit,
    });
    return new Reply(events, { meta: { nextCursor: next, latestCursor: latest } });
  });
}
