import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import type { EventResource } from '@chasqui/shared';
import type { EventLog, EventPage } from '../src/events/log.js';
import { createStreams, type EndCode } from '../src/events/streams.js';
import { beginSse, endSse, writeSse } from '../src/lib/sse.js';
import { createStreamWriter } from '../src/lib/stream-writer.js';
import { eventually } from './support/eventually.js';

const never = (): Promise<void> => new Promise(() => undefined);
const silent = { error() {}, warn() {}, info() {}, debug() {}, isDebug: false };

describe('a reader that stops reading', () => {
  let server: Server | undefined;
  const sockets: Socket[] = [];
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
    server = undefined;
  });

  test('is refused more after the time limit, however little is waiting', async () => {
    let now = 0;
    const writer = createStreamWriter(never, { stallMs: 1_000, monotonic: () => now });
    expect(writer.put('one')).toBe(true);
    now = 999;
    expect(writer.put('two')).toBe(true);
    now = 1_000;
    expect(writer.put('three')).toBe(false);
  });

  test('is refused more when too many bytes are waiting, before the time limit', () => {
    const writer = createStreamWriter(never, { stallMs: 1_000, monotonic: () => 0 });
    // Three bytes each: bytes are counted, not characters.
    const chunk = '€'.repeat(50_000);
    let taken = 0;
    while (writer.put(chunk)) taken += 1;
    expect(taken * 150_000).toBeLessThan(1_500_000);
  });

  test('that reads again in time is not disconnected, however long it continues', async () => {
    let now = 0;
    let taken: () => void = () => undefined;
    const writer = createStreamWriter(() => new Promise((resolve) => (taken = resolve)), {
      stallMs: 1_000,
      monotonic: () => now,
    });
    for (let round = 0; round < 50; round += 1) {
      expect(writer.put('x')).toBe(true);
      now += 900;
      taken();
      await new Promise(setImmediate);
    }
  });

  test('is cut off by the heartbeat of its stream, although only one small event waits for it', async () => {
    const event: EventResource = {
      cursor: '1',
      id: 'e',
      type: 'session.heal',
      session: null,
      sequence: null,
      occurredAt: new Date(0).toISOString(),
      data: {},
    };
    const pages: EventPage[] = [{ events: [event], next: '1', latest: '1', isFull: false }];
    const eventLog = { page: async () => pages.shift() ?? { events: [], next: '1', latest: '1', isFull: false } };
    const streams = createStreams(
      { events: { subscribe: () => () => undefined }, log: silent },
      {
        eventLog: eventLog as unknown as EventLog,
        checkCredential: async () => ({ permissions: ['*'], sessionId: null }),
        options: { maxPerCredential: 1, checkMs: 60_000, stallMs: 100 },
      },
    );
    let ended: EndCode | null = null;
    streams.follow(
      { accountId: 'a', permissions: ['*'], sessionId: null, types: null },
      { accountId: 'a', type: 'key', id: 'k', keyFingerprint: null, secret: null, until: null },
      '0',
      {
        beatMs: 20,
        frame: () => 'event',
        write: never,
        beat: (cursor, put) => put(cursor),
        end: (code) => (ended = code),
      },
    );
    await eventually('the stream to end', async () => ended);
    expect(ended).toBe('TOO_SLOW');
    await streams.close();
  });

  test('loses its connection: ending the reply alone would keep it for ever', async () => {
    let closed = 0;
    let refused = 0;
    server = createServer((_req, res) => {
      beginSse(res);
      const writer = createStreamWriter((text) => writeSse(res, text), { stallMs: 200 });
      const timer = setInterval(() => {
        if (writer.put('x'.repeat(200_000))) return;
        refused += 1;
        clearInterval(timer);
        endSse(res, 'bye');
      }, 5);
      res.on('close', () => {
        clearInterval(timer);
        closed += 1;
      });
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server!.once('listening', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined).pause();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually('the connection to be closed', async () => closed > 0);
    expect(refused).toBe(1);
  });
});
