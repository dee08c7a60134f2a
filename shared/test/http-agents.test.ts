import { afterEach, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAgents } from '../src/http-agents.js';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

test('a kept connection is closed by the client before the server closes it', async () => {
  server = createServer((_req, res) => res.end('ok'));
  server.keepAliveTimeout = 2_500;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const closedBy = new Promise<string>((resolve) =>
    server!.on('connection', (socket) => {
      socket.once('end', () => resolve('the client'));
      socket.once('timeout', () => resolve('the server'));
    }),
  );
  const { httpAgent } = createAgents();
  const request = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: httpAgent });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  expect(await closedBy).toBe('the client');
});

test('a connection is used again while it is kept', async () => {
  server = createServer((_req, res) => res.end('ok'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  let connections = 0;
  server.on('connection', () => (connections += 1));
  const { httpAgent } = createAgents();
  for (let n = 0; n < 3; n += 1) {
    const request = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: httpAgent });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'close');
    await new Promise(setImmediate);
  }
  httpAgent.destroy();
  expect(connections).toBe(1);
});
