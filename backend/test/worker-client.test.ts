import { expect, test } from '@jest/globals';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError } from '@chasqui/shared';
import { createWorkerClient } from '../src/whatsapp/client.js';

/** Calls the worker at a server that closes every connection when it has read the request, or that has stopped listening. */
async function failureOf(kind: 'closes' | 'is gone'): Promise<AppError> {
  const server = createServer((req) => req.resume().on('end', () => req.socket.destroy()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  if (kind === 'is gone') await new Promise((resolve) => server.close(resolve));
  const client = createWorkerClient({ serviceKey: 'x'.repeat(32) });
  try {
    const error: unknown = await client
      .disconnect(url, { sessionId: 's', epoch: 1, mode: 'restart' } as never)
      .catch((caught: unknown) => caught);
    if (!(error instanceof AppError)) throw new Error('An AppError was expected.', { cause: error });
    return error;
  } finally {
    client.close();
    server.close();
  }
}

test('a worker that cannot be reached: nothing was done, and the error says so', async () => {
  const { code, message, details } = await failureOf('is gone');
  expect({ code, message, details }).toEqual({
    code: 'WORKER_UNAVAILABLE',
    message: expect.stringContaining('nothing was done'),
    details: { cause: 'ECONNREFUSED', reached: false },
  });
});

test('a worker that closes without an answer: the error does not say that nothing was done', async () => {
  const { code, message, details } = await failureOf('closes');
  expect({ code, message, details }).toEqual({
    code: 'WORKER_UNAVAILABLE',
    message: expect.stringContaining('may have done what was asked'),
    details: { cause: 'ECONNRESET', reached: true },
  });
});
