import { connect } from 'node:net';

export interface LoadResult {
  /** Milliseconds from a request's last byte out to its reply's last byte in. */
  times: number[];
  seconds: number;
  statuses: Map<number, number>;
}

/**
 * `count` callers over kept-alive connections. Each sends its next request when the last one was answered. Uses bare sockets: a
 * full HTTP client costs as much as the server it measures, and both share the machine.
 */
export async function callers(options: {
  url: string;
  path: string;
  headers: Record<string, string>;
  /** The body of the nth request. */
  body: (n: number) => string;
  count: number;
  /** Until so many milliseconds have passed, or so many requests were answered. */
  forMs?: number;
  requests?: number;
}): Promise<LoadResult> {
  const { hostname, port, host } = new URL(options.url);
  const { forMs = Infinity, requests = Infinity } = options;
  const head = [`POST ${options.path} HTTP/1.1`, `host: ${host}`, 'content-type: application/json']
    .concat(Object.entries(options.headers).map(([name, value]) => `${name}: ${value}`))
    .join('\r\n');
  const times: number[] = [];
  const statuses = new Map<number, number>();
  let sent = 0;
  const started = performance.now();

  const caller = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname).setNoDelay(true);
      let at = 0;
      let received = Buffer.alloc(0);
      const next = (): void => {
        if (sent >= requests || performance.now() - started >= forMs) return void socket.end(resolve);
        const body = options.body(sent);
        sent += 1;
        at = performance.now();
        socket.write(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      };
      socket.on('connect', next);
      socket.on('error', reject);
      socket.on('data', (chunk) => {
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
        const status = wholeReply(received);
        if (status === null) return;
        received = Buffer.alloc(0);
        times.push(performance.now() - at);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        next();
      });
    });
  await Promise.all(Array.from({ length: options.count }, caller));
  return { times, seconds: (performance.now() - started) / 1000, statuses };
}

/** The status of a complete reply; null while a part of it is missing. The backend always sends Content-Length. */
function wholeReply(bytes: Buffer): number | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = bytes.toString('latin1', 0, end);
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  return bytes.length >= end + 4 + length ? Number(head.slice(9, 12)) : null;
}

export const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
