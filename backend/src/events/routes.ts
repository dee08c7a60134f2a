import { allows, alternativeNames, eventCatalogue, eventSamples, eventTypes, type EventType } from '@chasqui/shared';
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
  tickets: Pick<Tickets, 'issue'>;
  streamCredentialOf: (caller: Caller, req: Request) => CredentialRef;
  readingOf: ReadingOf;
  /** How often a stream without events writes its position. */
  beatMs: number;
}

export interface StreamInput {
  types?: readonly EventType[] | null | undefined;
  sessionId?: string | undefined;
}

/** Narrows a request to what the caller may read: its session, when it is bound to one, and its ticket's types, when it used one. */
export type ReadingOf = (caller: Caller, input: StreamInput) => Promise<Reading>;

/** `sessionIdOf` throws `SESSION_NOT_FOUND` for a session that is not the caller's. */
export function createReadingOf(sessionIdOf: (caller: Caller, named: string) => Promise<string>): ReadingOf {
  return async (caller, { types, sessionId }) => {
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
  const { eventLog, streams, tickets, streamCredentialOf, readingOf } = parts;
  mount(contract.listEvents, ({ query }, caller, { req, res }) => page(parts, caller, query, req, res));
  mount(contract.listSessionEvents, ({ params, query }, caller, { req, res }) =>
    page(parts, caller, { ...query, ...params }, req, res),
  );
  mount(contract.makeTicket, async ({ body }, caller, { req, res }) => {
    const { types, sessionId } = await readingOf(caller, body);
    const credential = streamCredentialOf(caller, req);
    const { ticket, expiresAt } = await tickets.issue({ credential, sessionId, types: types && [...types] });
    res.set('Cache-Control', 'no-store');
    return { ticket, expiresAt: expiresAt.toISOString() };
  });

  // Mounted before /events/:eventId, which would match it as an id.
  mount(contract.streamEvents, async ({ query }, caller, { req, res, header }) => {
    const reading = await readingOf(caller, query);
    const credential = streamCredentialOf(caller, req);
    const leave = streams.enter(credential);
    res.once('close', leave);
    try {
      // A browser that reconnects requests its first URL again; Last-Event-ID is newer than the cursor in it.
      const resumed = contract.cursor.safeParse(header('Last-Event-ID'));
      const cursor = await streams.start(caller.accountId, (resumed.data || query.after) ?? null);
      if (res.destroyed) return (leave(), handled);
      beginSse(res);
      // An id without data is not an event, but the reader resumes from it when the stream ends before the first event.
      res.write(`id: ${cursor}\n\n`);
      const stream = streams.follow(reading, credential, cursor, sinkOf(res, parts.beatMs));
      res.once('close', stream.close);
      return handled;
    } catch (error) {
      leave();
      throw error;
    }
  });
  mount(contract.countEvents, async ({ query }, caller) => {
    const { next: nextCursor, ...counts } = await eventLog.count(await readingOf(caller, query), Number(query.after));
    return { ...counts, nextCursor };
  });
  mount(contract.listEventTypes, async (_, caller) => catalogueFor(caller.permissions));
  mount(contract.readEvent, async ({ params }, caller) => eventLog.one(await readingOf(caller, {}), params.eventId));
}

/** The types of events, as a caller with these permissions sees them. */
function catalogueFor(permissions: readonly string[]) {
  return eventTypes.map((type) => {
    const { doc: description, permission } = eventCatalogue[type];
    const otherNames = Object.entries(alternativeNames).flatMap(([name, of]) => (of === type ? [name] : []));
    return { type, description, permission, isReadable: allows(permissions, permission), otherNames, sample: sampleOf(type) };
  });
}

/** Samples have fixed ids and times, so that the catalogue is always the same. */
const sampleOf = (type: EventType) => ({
  cursor: '00000000018422',
  id: '01973f10-7a41-7c02-b1d4-90a1b2c3d4e5',
  type,
  session: accountEvents.has(type) ? null : { id: '01973f0a-5b1e-7c3d-9a54-0d5b2f6a1c11', name: 'default' },
  sequence: accountEvents.has(type) ? null : 112,
  occurredAt: '2026-11-20T20:21:07.113Z',
  data: eventSamples[type],
});
/** Types whose events belong to the account, not to a session. */
const accountEvents: ReadonlySet<EventType> = new Set(['contact.erased', 'quota.exhausted', 'key.expiring', 'export.ready']);

interface PageInput extends StreamInput {
  after?: string | undefined;
  limit: number;
  /** Seconds. */
  wait: number;
}

async function page(
  { streams, readingOf, streamCredentialOf }: EventParts,
  caller: Caller,
  input: PageInput,
  req: Request,
  res: Response,
): Promise<Reply<EventPage['events']>> {
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  const after = input.after ? Number(input.after) : null;
  const waiting = { after, limit: input.limit, waitMs: input.wait * 1000, gone: gone.signal };
  const { events, next, latest } = await streams.poll(await readingOf(caller, input), streamCredentialOf(caller, req), waiting);
  return new Reply(events, { meta: { nextCursor: next, latestCursor: latest } });
}

/** The framing of Server-Sent Events. */
function sinkOf(res: Response, beatMs: number): Sink {
  return {
    beatMs,
    frame: (event) => `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
    write: (text) => writeSse(res, text),
    // The id is the position in the log, also when no event was for this reader.
    beat: (cursor, put) => put(`: still here\nid: ${cursor}\n\n`),
    end: (code, message) => endSse(res, `: closed ${code} ${message}\n\n`),
  };
}
