import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as SocketServer } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Stops an HTTP server within a bound. A request that arrived in full may finish; one that is still arriving, or has not begun, is closed,
 * since nothing of it was accepted.
 *
 * | connection | what happens at the stop |
 * | --- | --- |
 * | idle, half a request line, half the headers, upgraded | closed at once |
 * | half a body | closed after `partialMs` |
 * | a running request | closed when its answer is out, or after `requestMs` |
 */
export interface Drain {
  stop(): Promise<void>;
}

const defaults = { partialMs: 1_500, requestMs: 8_000 };

/** Watches the connections of `server` from now on. Call it before `listen` accepts any. */
export function createDrain(server: Server, limits: Partial<typeof defaults> = {}): Drain {
  const { partialMs, requestMs } = { ...defaults, ...limits };
  /** The requests of each open connection whose reply is not complete yet. */
  const open = new Map<Duplex, Set<IncomingMessage>>();
  let isStopping = false;

  server.on('connection', (socket: Duplex) => {
    if (!open.has(socket)) open.set(socket, new Set());
    socket.once('close', () => open.delete(socket));
  });
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    const requests = open.get(req.socket);
    requests?.add(req);
    res.once('close', () => {
      requests?.delete(req);
      if (isStopping && requests?.size === 0) req.socket.destroySoon();
    });
  });

  const cut = (isOver: (requests: ReadonlySet<IncomingMessage>) => boolean): void => {
    for (const [socket, requests] of open) if (isOver(requests)) socket.destroy();
  };

  return {
    async stop() {
      isStopping = true;
      // Not the HTTP server's own `close`: it destroys connections whose answer is written but not sent yet.
      const closed = new Promise<void>((resolve) => void SocketServer.prototype.close.call(server, () => resolve()));
      cut((requests) => requests.size === 0);
      const timers = [
        setTimeout(() => cut((requests) => ![...requests].some((req) => req.complete)), partialMs),
        setTimeout(() => cut(() => true), requestMs),
      ];
      await closed;
      for (const timer of timers) clearTimeout(timer);
      // Ends the HTTP server's own timers.
      server.close();
    },
  };
}
