import type { EventType } from '@chasqui/shared';
import { handled, Reply } from '@chasqui/shared/express';
import type { Request, Response } from 'express';
import type { Caller, Mount } from '../accounts/caller.js';
import { beginSse, endSse, writeSse } from '../lib/sse.js';
import * as contract from './contract.js';
import type { EventLog, EventPage, Reading } from './log.js';
import type { CredentialRef } from '../accounts/credential-ref.js';
import type { Sink, Streams } from './streams.js';
import type { Tickets } from './tickets.js';

export interface EventParts {
  eventLog: EventLog;
  streams: Streams;
  tickets: Tickets;
  standingOf: (caller: Caller, req: Request) => CredentialRef;
  /** `SESSION_NOT_FOUND` for one that is not the caller's. */
  sessionIdOf: (caller: Caller, named: string) => Promise<string>;
  beatMs: number;
}

interface Wish {
  types?: EventType[] | null | undefined;
  sessionId?: string | undefined;
}

/** What the caller may read of what it wishes: its own session, when it is bound to one, and its ticket's types, when it came with one. */
export function createReadingOf(sessionIdOf: EventParts['sessionIdOf']) {
  return async (caller: Caller, { types, sessionId }: Wish): Promise<Reading> => {
    const granted = caller.ticket?.types ?? null;
    return {
      accountId: caller.accountId,
      permissions: caller.permissions,
      sessionId: sessionId ? await sessionIdOf(caller, sessionId) : caller.sessionId,
      types: granted && types ? types.filter((type) => granted.includes(type)) : (types ?? granted),
    };
  };
}

export function mountEvents(mount: Mount, parts: EventParts): void {
  const { eventLog, streams, tickets, standingOf } = parts;
  const readingOf = createReadingOf(parts.sessionIdOf);

  interface Page {
    after?: string | undefined;
    limit: number;
    wait: number;
  }
  async function page(caller: Caller, wish: Wish & Page, req: Request, res: Response): Promise<Reply<EventPage['events']>> {
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    const after = wish.after ? Number(wish.after) : null;
    const waiting = { after, limit: wish.limit, waitMs: wish.wait * 1000, gone: gone.signal };
    const { events, next, latest } = await streams.poll(await readingOf(caller, wish), standingOf(caller, req), waiting);
    return new Reply(events, { meta: { nextCursor: next, latestCursor: latest } });
  }

  mount(contract.listEvents, ({ query }, caller, { req, res }) => page(caller, query, req, res));
  mount(contract.listSessionEvents, ({ params, query }, caller, { req, res }) => page(caller, { ...query, ...params }, req, res));
  mount(contract.makeTicket, async ({ body }, caller, { req, res }) => {
    const { types, sessionId } = await readingOf(caller, body);
    const standing = standingOf(caller, req);
    const { ticket, expiresAt } = await tickets.issue({ standing, sessionId, types: types && [...types] });
    res.set('Cache-Control', 'no-store');
    return { ticket, expiresAt: expiresAt.toISOString() };
  });

  // Before /events/:eventId, which would take it for an id.
  mount(contract.streamEvents, async ({ query }, caller, { req, res, header }) => {
    const reading = await readingOf(caller, query);
    const standing = standingOf(caller, req);
    const leave = streams.enter(standing);
    res.once('close', leave);
    try {
      // A browser that comes back asks for the URL it began with; what it saw last is the newer word.
      const resumed = contract.cursor.safeParse(header('Last-Event-ID'));
      const cursor = await streams.start(caller.accountId, (resumed.data || query.after) ?? null);
      if (res.destroyed) return (leave(), handled);
      beginSse(res);
      // An id without data is no event, but it is where the reader resumes when it is cut off before the first one.
      res.write(`id: ${cursor}\n\n`);
      const stream = streams.follow(reading, standing, cursor, sinkOf(res, parts.beatMs));
      res.once('close', stream.close);
      return handled;
    } catch (error) {
      leave();
      throw error;
    }
  });
  mount(contract.readEvent, async ({ params }, caller) => eventLog.one(await readingOf(caller, {}), params.eventId));
}

/** The framing of Server-Sent Events. */
function sinkOf(res: Response, beatMs: number): Sink {
  return {
    beatMs,
    frame: (event) => `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
    write: (text) => writeSse(res, text),
    // The id says how far the log was read, also when there was nothing in it for this reader.
    beat: (cursor, put) => put(`: still here\nid: ${cursor}\n\n`),
    end: (code, message) => endSse(res, `: closed ${code} ${message}\n\n`),
  };
}
