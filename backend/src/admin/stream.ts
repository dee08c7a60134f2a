import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { beginSse, endSse, writeSse } from '../lib/sse.js';
import { createStreamWriter } from '../lib/stream-writer.js';
import { signedIn, visit, requestIdOf } from './guard.js';
import type { PanelSessions } from './panel-sessions.js';
import type { PanelLog } from './route.js';
import { sessionView } from './views/session.js';

export interface StreamParts {
  database: Database;
  sessions: PanelSessions;
  events: Pick<Events, 'subscribe'>;
  clock: Clock;
  log: PanelLog;
  /** Absent: 20 s. */
  heartbeatMs?: number;
  /** Absent: 10 s. */
  stallMs?: number;
}

/** Events tell at once what this process did; the poll brings what another backend did, and ends streams of people who may look no more. */
const pollMs = 2000;
/** A comment this often keeps the connection from being closed as idle, by us or by a proxy. */
const defaultHeartbeatMs = 20_000;
/** A browser that takes nothing for so long is cut off. */
const defaultStallMs = 10_000;
/** Live views of all people at once, on this backend. Each reads its session every `pollMs`. */
const maxOpen = 200;

/**
 * One session as server-sent events: `session` with all that its page shows, whenever that changes, QR code included; `gone` when it
 * was deleted; `out` when the person is signed out. Gives how to end all streams, for shutdown.
 */
export function mountStream(router: Router, parts: StreamParts): () => void {
  const open = new Set<() => void>();
  router.get('/live/sessions/:id/stream', (req, res) => {
    signedIn(req);
    // A stream has no end, so a HEAD request would wait for one.
    if (req.method === 'HEAD') return void res.type('text/event-stream').set('Cache-Control', 'no-store').end();
    if (open.size >= maxOpen) throw new AppError('RATE_LIMITED', { scope: 'streams', limit: maxOpen });
    const close = follow(parts, req, res, String(req.params['id']));
    open.add(close);
    res.on('close', () => {
      close();
      open.delete(close);
    });
  });
  return () => {
    for (const close of open) close();
  };
}

function follow(parts: StreamParts, req: Request, res: Response, sessionId: string): () => void {
  const { database, events, clock, log } = parts;
  beginSse(res);
  const writer = createStreamWriter((text) => writeSse(res, text), { stallMs: parts.stallMs ?? defaultStallMs });
  let last = '';
  let reading = false;
  let again = false;
  /** Ends the stream of a reader that takes nothing: the browser of one that comes back opens another. */
  const put = (text: string): void => void (res.writableEnded || writer.put(text) || close());
  // A look that was under way when the stream was closed ends behind its end.
  const tell = (event: string, text: string): void => put(`event: ${event}\ndata: ${text}\n\n`);

  // One read at a time; whatever happens meanwhile causes one more after it, so that the last word is always told.
  const look = async (): Promise<void> => {
    if (reading) return void (again = true);
    reading = true;
    try {
      do {
        again = false;
        if (!(await visit(parts, req, requestIdOf(res)))) return leave('out');
        const text = JSON.stringify(await sessionView(database.reader, sessionId, clock.now()));
        if (text !== last) tell('session', (last = text));
      } while (again);
    } catch (error) {
      if (error instanceof AppError) return leave('gone');
      log.error('a live view of the panel failed', { sessionId, error: error instanceof Error ? error.message : 'not an error' });
    } finally {
      reading = false;
    }
  };
  const timer = setInterval(() => void look(), pollMs);
  const heartbeat = setInterval(() => put(': open\n\n'), parts.heartbeatMs ?? defaultHeartbeatMs);
  const unsubscribe = events.subscribe((event) => {
    if (event.sessionId === sessionId) void look();
  });
  const close = (): void => {
    clearInterval(timer);
    clearInterval(heartbeat);
    unsubscribe();
    endSse(res);
  };
  const leave = (why: 'out' | 'gone'): void => {
    tell(why, '{}');
    close();
  };
  void look();
  return close;
}
