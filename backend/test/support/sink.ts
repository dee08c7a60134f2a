import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A receiver of webhooks that does as it is told, and remembers what it took. */
export interface Taken {
  headers: IncomingHttpHeaders;
  body: string;
  at: number;
}
export type Answer = 'ok' | 'hang' | 'close' | 'drip' | number | ((req: IncomingMessage, res: ServerResponse) => void);

export type Sink = Awaited<ReturnType<typeof startSink>>;

export async function startSink(answer: Answer = 'ok', port = 0) {
  const sink = {
    /** Answered with 2xx. */
    taken: [] as Taken[],
    /** Everything that came. */
    seen: [] as Taken[],
    answer,
    url: '',
    close: async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    req.on('end', () => {
      const one = { headers: req.headers, body, at: Date.now() };
      sink.seen.push(one);
      const now = sink.answer;
      if (typeof now === 'function') return now(req, res);
      if (now === 'hang') return;
      if (now === 'close') return void (res.writeHead(200, { 'content-length': '100' }), res.write('half'), req.socket.destroy());
      if (now === 'drip') {
        res.writeHead(200, { 'content-length': '100000' });
        const timer = setInterval(() => res.write('.'), 50);
        return void res.on('close', () => clearInterval(timer));
      }
      if (now === 'ok') sink.taken.push(one);
      res.writeHead(now === 'ok' ? 204 : now).end(now === 'ok' ? undefined : 'not now');
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  sink.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  return sink;
}

export const cursorsOf = (taken: readonly Taken[], session?: string): string[] =>
  taken
    .map(({ body }) => JSON.parse(body) as { cursor: string; session: { id: string } | null })
    .filter((body) => session === undefined || body.session?.id === session)
    .map(({ cursor }) => cursor);
