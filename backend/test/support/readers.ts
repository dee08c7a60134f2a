import { once } from 'node:events';
import http from 'node:http';
import type { Socket } from 'node:net';
import type { EventResource } from '@chasqui/shared';
import { WebSocket } from 'ws';

/** Readers of the two streams, as somebody else's program would be written: they know framing and cursor, nothing of ours. */

export interface Reader {
  events: EventResource[];
  /** The cursor to resume from. */
  cursor: string;
  /** Everything that is not an event: comments, or frames of other types. */
  others: string[];
  /** Tears the line, without a good-bye. */
  cut(): void;
  /** Stops taking bytes off the line. */
  stall(): void;
  /** How it ended. */
  ended: Promise<{ code: number; reason: string }>;
}

export interface Where {
  url: string;
  headers?: Record<string, string>;
  /** `types`, `sessionId`, `ticket`. */
  query?: Record<string, string>;
  after?: string | undefined;
}

/** Rejects with the status when it is refused. */
export async function readSse({ url, headers = {}, query = {}, after }: Where): Promise<Reader> {
  const search = new URLSearchParams(query).toString();
  const request = http.get(`${url}/api/v1/events/stream?${search}`, {
    agent: false,
    headers: { ...headers, ...(after === undefined ? {} : { 'last-event-id': after }) },
  });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  if (response.statusCode !== 200) {
    const body = (await response.setEncoding('utf8').toArray()).join('');
    throw Object.assign(new Error(`The stream answered ${response.statusCode}: ${body}`), {
      status: response.statusCode,
      body: JSON.parse(body) as unknown,
    });
  }
  const ended = new Promise<{ code: number; reason: string }>((resolve) =>
    response.once('close', () => resolve({ code: 0, reason: reader.others.at(-1) ?? '' })),
  );
  const reader: Reader = {
    events: [],
    others: [],
    cursor: after ?? '',
    cut: () => request.destroy(),
    stall: () => void response.pause(),
    ended,
  };
  let text = '';
  response.on('error', () => undefined);
  request.on('error', () => undefined);
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    for (const block of blocks) takeBlock(reader, block);
  });
  return reader;
}

/** One block, by the rules of the specification: an id counts at the end of its block, data or none. */
function takeBlock(reader: Reader, block: string): void {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    if (at === 0) reader.others.push(line.slice(1).trim());
    else fields.set(line.slice(0, at), line.slice(at + 1).trimStart());
  }
  const id = fields.get('id');
  if (id !== undefined) reader.cursor = id;
  const body = fields.get('data');
  if (body === undefined) return;
  const event = JSON.parse(body) as EventResource;
  if (event.cursor !== id || event.type !== fields.get('event')) throw new Error(`A block that disagrees with itself: ${block}`);
  reader.events.push(event);
}

/** Resolves when the line is open; with `subscribe: false` nothing is asked for yet. */
export async function readSocket(
  where: Where & { subscribe?: false },
): Promise<Reader & { say(frame: unknown): void; socket: WebSocket }> {
  const { ticket, ...filter } = where.query ?? {};
  const address = `${where.url.replace('http', 'ws')}/api/v1/ws${ticket ? `?ticket=${ticket}` : ''}`;
  const socket = new WebSocket(address, { headers: where.headers ?? {} });
  const ended = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  const inner = (): Socket | undefined => (socket as unknown as { _socket?: Socket })._socket;
  const reader = {
    events: [] as EventResource[],
    others: [] as string[],
    cursor: where.after ?? '',
    cut: () => void (inner()?.destroy(), socket.terminate()),
    stall: () => void inner()?.pause(),
    ended,
    say: (frame: unknown) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    socket,
  };
  socket.on('error', () => undefined);
  socket.on('message', (bytes: Buffer) => {
    const frame = JSON.parse(bytes.toString()) as { type: string; cursor?: string; event: EventResource };
    if (frame.type === 'event') reader.events.push(frame.event);
    else reader.others.push(bytes.toString());
    if (frame.type === 'event' || frame.type === 'ready') reader.cursor = frame.event?.cursor ?? frame.cursor;
  });
  await Promise.race([once(socket, 'open'), ended.then(({ code }) => Promise.reject(new Error(`closed with ${code}`)))]);
  if (where.subscribe !== false) reader.say({ type: 'subscribe', ...filter, ...(where.after ? { after: where.after } : {}) });
  return reader;
}

export const readers = { 'Server-Sent Events': readSse, WebSocket: readSocket } as const;
