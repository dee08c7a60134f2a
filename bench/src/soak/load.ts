import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { admin, clientTimeoutMs, type Fleet } from './fleet.js';

export const ana = '5511999990001';

/** The requests to the system, for the judge. */
export interface Asked {
  /** Texts that clients sent, and the message that each was accepted as. */
  accepted: Map<string, string>;
  /** Texts whose clients gave up without a conclusive reply. */
  unanswered: string[];
  /** Texts that Ana wrote, as they were last edited. */
  arrived: Set<string>;
  counts: Record<'lists' | 'logins' | 'edits' | 'reconnects', number>;
  /** Cursors that a reader of the stream got out of order or twice. */
  streamFaults: string[];
  /** Cursors that each reader got. */
  streamed: Set<string>[];
}

export interface Phone {
  name: string;
  phone: string;
}

const clientGivesUpMs = 180_000;

/** Starts the load of a soak. `stop` resolves when each client has its last reply. */
export function startLoad(fleet: Fleet, phones: readonly Phone[], random: () => number, rate: number) {
  const asked: Asked = {
    accepted: new Map(),
    unanswered: [],
    arrived: new Set(),
    counts: { lists: 0, logins: 0, edits: 0, reconnects: 0 },
    streamFaults: [],
    streamed: [],
  };
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = new Set<Promise<void>>();
  let number = 0;

  const pick = (): Phone => phones[Math.floor(random() * phones.length)]!;
  const track = (work: Promise<void>): void => {
    running.add(work);
    void work.finally(() => running.delete(work));
  };
  /** Calls `work` repeatedly, on average `perSecond` times a second. */
  const every = (perSecond: number, work: () => Promise<void>): void =>
    track(
      (async () => {
        while (!signal.aborted) {
          await sleep((2_000 * random()) / perSecond, undefined, { signal }).catch(() => undefined);
          // A list, a login or a stream that fails while a process is down is not judged; sends are.
          if (!signal.aborted) await work().catch(() => undefined);
        }
      })(),
    );

  every(rate, async () => {
    const text = `soak#${(number += 1)}`;
    track(client(fleet, asked, text, pick().name, random() < 0.3));
  });
  every(rate, async () => {
    const text = `soak<${(number += 1)}`;
    const { key } = await fleet.simulator.client.deliver({ from: ana, to: pick().phone, type: 'text', text });
    asked.arrived.add(text);
    if (random() > 0.1) return;
    await sleep(300);
    // Edited before or after the message was stored: both must end with the new text, or the first one, and one row.
    await fleet.simulator.client.edit({ phone: ana, key, text: `${text} edited` });
    asked.counts.edits += 1;
  });
  every(1, async () => {
    await fleet.api('GET', `/messages/list?limit=50&direction=${random() < 0.5 ? 'inbound' : 'outbound'}`);
    asked.counts.lists += 1;
  });
  every(0.2, async () => {
    await fleet.api('POST', '/auth/login', admin);
    asked.counts.logins += 1;
  });
  for (const read of [readSse, readSse, readSse, readWebSocket, readWebSocket]) {
    const seen = new Set<string>();
    asked.streamed.push(seen);
    track(follow(read, fleet, asked, seen, signal, random));
  }

  return {
    asked,
    async stop(): Promise<void> {
      stopping.abort();
      while (running.size > 0) await Promise.all(running);
    },
  };
}

/** A client as the integration guide demands: one Idempotency-Key for each message, and the same call until there is a conclusive reply. */
async function client(fleet: Fleet, asked: Asked, text: string, session: string, waits: boolean): Promise<void> {
  const body = { sessionId: session, recipient: ana, message: text, queueIfOffline: true, async: !waits };
  for (const until = performance.now() + clientGivesUpMs; performance.now() < until; await sleep(250)) {
    const answer = await fleet
      .api<{ id: string }>('POST', '/messages/send-text', body, { 'Idempotency-Key': text })
      .catch(() => null);
    if (answer?.status === 200 || answer?.status === 202) return void asked.accepted.set(text, answer.body.data.id);
    const refused = answer?.body.error;
    if (refused?.code === 'SEND_FAILED') return void asked.accepted.set(text, (refused.details['message'] as { id: string }).id);
  }
  asked.unanswered.push(text);
}

/** Reads one stream from `after` and calls `onCursor` for each event, until it ends or breaks (both resolve or reject) or `signal` is aborted. */
type ReadStream = (fleet: Fleet, after: string, signal: AbortSignal, onCursor: (cursor: string) => void) => Promise<void>;

/** Reads a stream of events; after a while, or when the connection breaks, it connects again and resumes from its cursor. */
async function follow(
  read: ReadStream,
  fleet: Fleet,
  asked: Asked,
  seen: Set<string>,
  signal: AbortSignal,
  random: () => number,
): Promise<void> {
  let cursor = '';
  while (!signal.aborted) {
    const enough = AbortSignal.any([signal, AbortSignal.timeout(Math.round(5_000 + 20_000 * random()))]);
    await read(fleet, cursor, enough, (next) => {
      if (next <= cursor) asked.streamFaults.push(`cursor ${next} came after ${cursor}`);
      cursor = next;
      seen.add(next);
    }).catch(() => undefined); // Ended by us, by a kill or by a freeze.
    asked.counts.reconnects += 1;
    await sleep(Math.min(500, clientTimeoutMs));
  }
}

const readSse: ReadStream = async (fleet, after, signal, onCursor) => {
  const answer = await fetch(`${fleet.url}/api/v1/events/stream`, {
    signal,
    headers: { ...fleet.headers(), accept: 'text/event-stream', ...(after ? { 'last-event-id': after } : {}) },
  });
  if (!answer.ok || !answer.body) throw new Error(`The stream answered ${answer.status}.`);
  const lines = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let chunk = await lines.read(); !chunk.done; chunk = await lines.read()) {
    const frames = (rest + chunk.value).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      const id = /^id: ?(.+)$/m.exec(frame)?.[1];
      if (id && /^data:/m.test(frame)) onCursor(id);
    }
  }
};

const readWebSocket: ReadStream = (fleet, after, signal, onCursor) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`${fleet.url.replace('http', 'ws')}/api/v1/ws`, {
      headers: fleet.headers(),
      handshakeTimeout: clientTimeoutMs,
    });
    const end = (): void => socket.terminate();
    signal.addEventListener('abort', end, { once: true });
    socket.on('error', reject);
    socket.on('close', () => {
      signal.removeEventListener('abort', end);
      resolve();
    });
    socket.on('open', () => socket.send(JSON.stringify({ type: 'subscribe', ...(after ? { after } : {}) })));
    socket.on('message', (bytes: Buffer) => {
      const frame = JSON.parse(bytes.toString()) as { type: string; event?: { cursor: string } };
      if (frame.type === 'event' && frame.event) onCursor(frame.event.cursor);
    });
  });
