import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A receiver of webhooks outside of the processes under test. */
export interface Sink {
  url: string;
  /** How often each event was answered with 2xx, by its id. */
  taken: ReadonlyMap<string, number>;
  /** While true every request is cut off. */
  outage(on: boolean): void;
  close(): void;
}

/** `failing`: the share of requests that get a 500 or a reset instead of 204, as `random` decides. */
export async function openSink({ failing, random }: { failing: number; random: () => number }): Promise<Sink> {
  const taken = new Map<string, number>();
  let isOut = false;
  const server = createServer((req: IncomingMessage, res) => {
    req.on('error', () => undefined); // The sender was killed.
    req.resume().on('end', () => {
      const chance = random();
      if (isOut || chance < failing / 5) return void req.socket.destroy();
      if (chance < failing) return void res.writeHead(500).end();
      const id = String(req.headers['webhook-id']);
      taken.set(id, (taken.get(id) ?? 0) + 1);
      res.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    taken,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    outage: (on) => {
      isOut = on;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
