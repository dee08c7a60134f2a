import { AppError } from '@chasqui/shared';
import type { Request, Response, Router } from 'express';
import type { Database } from '../db/database.js';
import type { Events } from '../events/events.js';
import type { Clock } from '../lib/clock.js';
import { beginSse, endSse, writeSse } from '../lib/sse.js';
import { createStreamWriter } from '../lib/stream-writer.js';
import { requireVisitor, findVisitor, requestIdOf } from './guard.js';
import type { PanelSessions } from './panel-sessions.js';
import type { PanelLog } from './route.js';
import { sessionView } from './views/session.js';

export interface StreamParts {
  database: Database;
  sessions: PanelSessions;
  events: Pick<Events, 'subscribe'>;
  clock: Clock;
  log: PanelLog;
  /** Milliseconds between two comments. Absent: 20 s. */
  heartbeatMs?: number;
  /** Milliseconds after which a browser that reads nothing is disconnected. Absent: 10 s. */
  stallMs?: number;
}

/** Events report at once what this process did. The poll finds what another backend did, and ends the streams of people who were signed out. */
const pollMs = 2000;
/** A comment this often prevents that this server or a proxy closes the connection as idle. */
const defaultHeartbeatMs = 20_000;
/** A browser that reads nothing for this long is disconnected. */
const defaultStallMs = 10_000;
/** The most live views that may be open on this backend. Each reads its session every `pollMs`. */
const maxOpen = 200;

/**
 * Mounts the live view of a session as server-sent events: `session` with everything that its page shows, QR code included, whenever that
 * changes; `gone` when the session was deleted; `out` when the person was signed out. Returns the function that ends all streams, for shutdown.
 */
export function mountStream(router: Router, parts: StreamParts): () => void {
  const open = new Set<() => void>();
  router.get('/live/sessions/:id/stream', (req, res) => {
    requireVisitor(req);
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
  /** Writes to the stream, and ends it when the browser reads nothing; a browser that returns opens another stream. */
  const write = (text: string): void => void (res.writableEnded || writer.put(text) || close());
  // A refresh that was running when the stream was closed ends after its end; `write` ignores its result.
  const send = (event: string, text: string): void => write(`event: ${event}\ndata: ${text}\n\n`);

  // One read at a time. An event during a read causes one more after it, so that the newest state is always sent.
  const refresh = async (): Promise<void> => {
    if (reading) return void (again = true);
    reading = true;
    try {
      do {
        again = false;
        if (!(await findVisitor(parts, req, requestIdOf(res)))) return end('out');
        const text = JSON.stringify(await sessionView(database.reader, sessionId, clock.now()));
        if (text !== last) send('session', (last = text));
      } while (again);
    } catch (error) {
      if (error instanceof AppError) return end('gone');
      log.error('A live view of the panel failed.', {
        sessionId,
        error: error instanceof Error ? error.message : 'not an error',
      });
    } finally {
      reading = false;
    }
  };
  const timer = setInterval(() => void refresh(), pollMs);
  const heartbeat = setInterval(() => write(': open\n\n'), parts.heartbeatMs ?? defaultHeartbeatMs);
  const unsubscribe = events.subscribe((event) => {
    if (event.sessionId === sessionId) void refresh();
  });
  const close = (): void => {
    clearInterval(timer);
    clearInterval(heartbeat);
    unsubscribe();
    endSse(res);
  };
  const end = (why: 'out' | 'gone'): void => {
    send(why, '{}');
    close();
  };
  void refresh();
  return close;
}
