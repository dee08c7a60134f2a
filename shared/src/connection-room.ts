import type { IncomingMessage } from 'node:http';

type Socket = IncomingMessage['socket'];

/** A connection that sends no request for this long counts as slow: ordinary callers send their request at once. */
const slowRequestMs = 500;

/**
 * Chooses the connection that a full server closes for a new one. Without it, a caller that opens connections and lets them wait would block all
 * others until the time limits of its connections. The order is as follows; within each kind, the connection that has waited longest is first:
 *
 * 1. a connection that has sent no whole request for half a second;
 * 2. a connection that waits for its next request;
 * 3. a request whose body is still arriving;
 * 4. a connection that has sent no whole request yet.
 *
 * A connection whose request has arrived completely is never closed, and neither is one that an upgrade has taken over.
 */
export function createConnectionRoom(now: () => number = () => performance.now()) {
  // Each collection is in the order in which its entries began.
  const silent = new Map<Socket, number>();
  const idle = new Map<Socket, number>();
  const receiving = new Set<IncomingMessage>();

  const oldest = <T>(entries: Map<T, number>, minAgeMs: number): T | null => {
    const [first] = entries;
    return first && now() - first[1] >= minAgeMs ? first[0] : null;
  };
  /** Returns the connection of the oldest unfinished body. Removes the entries that it checks, so that each is checked once. */
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
    /** Records that the headers of a request have arrived. */
    began(req: IncomingMessage): void {
      forget(req.socket);
      const { 'content-length': length, 'transfer-encoding': encoding } = req.headers;
      if (encoding !== undefined || Number(length ?? 0) > 0) receiving.add(req);
    },
    /** Records that a request was answered or its connection was closed. `isLast`: no other request of the connection is running. */
    ended(req: IncomingMessage, isLast: boolean): void {
      receiving.delete(req);
      if (isLast && !req.socket.destroyed) idle.set(req.socket, now());
    },
    /** Removes a connection that is closed or no longer speaks HTTP. */
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
