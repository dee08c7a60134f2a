import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes on a bare TCP connection, for requests that no HTTP client would make, and a caller beside it that measures what others notice. */

export interface RawCase {
  name: string;
  /** Written one after the other. */
  pieces: readonly (Buffer | string)[];
  /** Between the pieces. */
  gapMs?: number;
  /** What the caller does after the last piece: waits for the answer, closes its side and waits, or resets the connection. */
  then?: 'wait' | 'end' | 'reset';
  /** Resets the connection as soon as so many bytes of the answer have come. */
  resetAfterBytes?: number;
  /** How long it waits for the server to close or to answer. */
  waitMs?: number;
}

export interface RawAnswer {
  /** Status codes in the order in which they came; empty without an answer. */
  statuses: number[];
  text: string;
}

const latin1 = (piece: Buffer | string): Buffer => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);

/** Never rejects: a connection that the server resets is an answer like any other. */
export async function sendRaw(port: number, raw: RawCase): Promise<RawAnswer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let size = 0;
  const over = new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.on('end', () => socket.end());
    socket.on('data', (chunk) => {
      if (size < 200_000) chunks.push(chunk);
      size += chunk.length;
      if (raw.resetAfterBytes !== undefined && size >= raw.resetAfterBytes) socket.resetAndDestroy();
      else if (isWhole(chunks)) resolve();
    });
  });
  for (const piece of raw.pieces) {
    if (socket.destroyed) break;
    await written(socket, latin1(piece));
    if (raw.gapMs) await sleep(raw.gapMs);
  }
  if (raw.then === 'reset') socket.resetAndDestroy();
  else if (raw.then === 'end') socket.end();
  const timer = new AbortController();
  await Promise.race([over, sleep(raw.waitMs ?? 1_500, undefined, { signal: timer.signal }).catch(() => undefined)]);
  timer.abort();
  socket.destroy();
  const text = Buffer.concat(chunks).toString('latin1');
  return { statuses: [...text.matchAll(/(?:^|\r\n\r\n|\}|\n)HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)), text };
}

const written = (socket: Socket, bytes: Buffer): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('close', done);
      resolve();
    };
    socket.once('close', done);
    socket.write(bytes, done);
  });

/** Whether the first answer has come whole; more than one is only waited for by time. */
function isWhole(chunks: readonly Buffer[]): boolean {
  const text = Buffer.concat(chunks).toString('latin1');
  if (/^HTTP\/1\.1 1\d\d /.test(text)) return false;
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
  return length !== undefined && text.length >= end + 4 + Number(length);
}

/** Runs the cases, so many at once. */
export async function sendAll(
  port: number,
  cases: readonly RawCase[],
  together: number,
  onAnswer: (raw: RawCase, answer: RawAnswer) => void,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < cases.length) {
      const raw = cases[next]!;
      next += 1;
      onAnswer(raw, await sendRaw(port, raw));
    }
  };
  await Promise.all(Array.from({ length: together }, lane));
}

/** Another caller on a connection of its own, which asks all the time. */
export function startProbe(url: string): { stop: () => Promise<number[]> } {
  const times: number[] = [];
  let stopped = false;
  const run = (async () => {
    while (!stopped) {
      const started = performance.now();
      const answer = await fetch(url).catch(() => null);
      await answer?.arrayBuffer();
      times.push(answer?.ok ? performance.now() - started : Infinity);
      await sleep(10);
    }
  })();
  return {
    async stop() {
      stopped = true;
      await run;
      return times;
    },
  };
}

/** Mulberry32. */
export function randomOf(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    below,
    chance: (share: number): boolean => next() < share,
    pick: <T>(list: readonly T[]): T => list[below(list.length)]!,
    bytes: (length: number): Buffer => Buffer.from(Array.from({ length }, () => below(256))),
  };
}
export type Random = ReturnType<typeof randomOf>;
