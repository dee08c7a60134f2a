import type { IncomingMessage } from 'node:http';

type Socket = IncomingMessage['socket'];

/** A connection without a request for so long is slow; an honest caller sends its request at once. */
const slowRequestMs = 500;

/**
 * Which connection a full server closes for a new one. Without it, a caller that opens connections and lets them wait would
 * lock all others out until the time limits of connections. In this order, the one that has waited longest first:
 *
 * 1. a connection that has sent no whole request for half a second;
 * 2. a connection that waits for its next request;
 * 3. a request whose body is still arriving;
 * 4. a connection that has sent no whole request yet.
 *
 * A request that has arrived is never cut, and neither is what an upgrade made of a connection.
 */
export function createConnectionRoom(now: () => number = () => performance.now()) {
  // Each in the order in which its entries began.
  const silent = new Map<Socket, number>();
  const idle = new Map<Socket, number>();
  const receiving = new Set<IncomingMessage>();

  const oldest = <T>(entries: Map<T, number>, minAgeMs: number): T | null => {
    const [first] = entries;
    return first && now() - first[1] >= minAgeMs ? first[0] : null;
  };
  /** Requests that have arrived in the meantime are skipped for good, so that each entry is checked once. */
  function oldestBody(): Socket | null {
    for (const req of receiving) {
      receiving.delete(req);
      if (!req.complete) return req.socket;
    }
    return null;
  }
  const forget = (socket: Socket): void => {
    silent.delete(socket);
    idle.delete(socket);
  };

  return {
    opened: (socket: Socket): void => void silent.set(socket, now()),
    /** A request has begun: its headers are there. */
    began(req: IncomingMessage): void {
      forget(req.socket);
      const { 'content-length': length, 'transfer-encoding': encoding } = req.headers;
      if (encoding !== undefined || Number(length ?? 0) > 0) receiving.add(req);
    },
    /** A request was answered, or its connection was closed. */
    ended(req: IncomingMessage, isLast: boolean): void {
      receiving.delete(req);
      if (isLast && !req.socket.destroyed) idle.set(req.socket, now());
    },
    /** The connection is closed, or is no HTTP any more. */
    forget,
    /** Closes one connection and returns it; null when every one has a request that is being answered. */
    make(): Socket | null {
      const socket = oldest(silent, slowRequestMs) ?? oldest(idle, 0) ?? oldestBody() ?? oldest(silent, 0);
      if (!socket) return null;
      forget(socket);
      socket.destroy();
      return socket;
    },
  };
}
export type ConnectionRoom = ReturnType<typeof createConnectionRoom>;
