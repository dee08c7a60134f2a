import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { readBytes } from '../src/body.js';
import { feed } from '../src/http-server.js';

/** A body that has arrived as a whole is lost if its connection ends before the program has read it: the reader must not wait for it. */

let server: Server;
let socket: Socket;
let requests: IncomingMessage[];
beforeEach(async () => {
  requests = [];
  server = createServer((req) => void requests.push(req)).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  socket.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function until(check: () => boolean): Promise<void> {
  while (!check()) await sleep(5);
}

const part = Buffer.alloc(1_000, 'a');

/** Sends a request whose body has some parts, and the first of them. Returns the request as the server has it. */
async function sent(parts: number): Promise<IncomingMessage> {
  socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${parts * part.length}\r\n\r\n`);
  await until(() => requests.length === 1);
  socket.write(part);
  return requests[0]!;
}

async function cut(req: IncomingMessage): Promise<void> {
  await until(() => req.complete);
  expect(req.readableEnded).toBe(false);
  socket.destroy();
  await until(() => req.destroyed && req.closed);
}

/** Takes the first chunk and never asks for another one. */
const stuck = (): Writable => new Writable({ highWaterMark: 1, write: () => undefined });
const failed = (req: IncomingMessage): Promise<string> =>
  new Promise((resolve) => {
    feed(req, stuck(), () => resolve('failed'));
  });
const late = async (): Promise<string> => (await sleep(2_000), 'still waiting');

test('a form whose connection ends before it is read', async () => {
  const req = await sent(1);
  await cut(req);
  expect(await Promise.race([failed(req), late()])).toBe('failed');
});

test('a form whose connection ends while the parser is busy with its first part', async () => {
  const req = await sent(2);
  const outcome = failed(req);
  await until(() => req.isPaused());
  socket.write(part);
  await cut(req);
  expect(await Promise.race([outcome, late()])).toBe('failed');
});

test('a form that was refused is not reported again when its connection ends', async () => {
  const req = await sent(1);
  let failures = 0;
  const stop = feed(req, stuck(), () => (failures += 1));
  stop();
  await until(() => req.complete);
  socket.destroy();
  await until(() => req.closed);
  await sleep(20);
  expect(failures).toBe(0);
});

test('bytes whose connection ends before they are read', async () => {
  const req = await sent(1);
  await cut(req);
  const outcome = readBytes(req, 10_000, () => undefined).then(
    () => 'read',
    () => 'failed',
  );
  expect(await Promise.race([outcome, late()])).toBe('failed');
});
