import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Many endpoints whose receivers do not answer: what is claimed for them stays bounded, because each claim is renewed and checked again and again. */

const [endpoints, messages] = [100, 60];
let core: Core;
let receiver: Server;
beforeAll(async () => {
  receiver = createServer(() => undefined);
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const settings = { EGRESS_ALLOW: '127.0.0.1/32', MAX_WEBHOOKS_PER_ACCOUNT: String(endpoints) };
  core = await startCore({ linked: false, settings });
});
afterAll(async () => {
  receiver?.closeAllConnections();
  receiver?.close();
  await core?.close();
});

test('a backend claims about 4,096 deliveries for all endpoints together', async () => {
  expect((await core.post('/sessions', { name: 'waits' })).status).toBe(201);
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  for (let n = 0; n < endpoints; n += 1)
    expect((await core.post('/webhooks', { url: `${url}/${n}`, events: ['message.queued'] })).status).toBe(201);
  for (let n = 0; n < messages; n += 1) {
    const body = { sessionId: 'waits', recipient: '5511999990001', message: `number ${n}`, async: true, queueIfOffline: true };
    expect((await core.post('/messages/send-text', body)).status).toBe(202);
  }
  const count = async (status: string): Promise<number> => {
    const [row] = await core.rig.database.reader.query<{ n: number }[]>(
      `SELECT COUNT(*) AS n FROM webhook_deliveries WHERE status = '${status}'`,
    );
    return Number(row!.n);
  };
  await eventually('every endpoint to have claims', async () => {
    const [row] = await core.rig.database.reader.query<{ n: number }[]>(
      `SELECT COUNT(DISTINCT "webhookId") AS n FROM webhook_deliveries WHERE status = 'sending'`,
    );
    return Number(row!.n) === endpoints;
  });
  expect((await count('sending')) + (await count('pending'))).toBe(endpoints * messages);
  expect(await count('sending')).toBeLessThanOrEqual(4_600);
}, 120_000);
