import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { asTable, type Described } from '../src/control/reference.js';
import { startSimulator, type Simulator } from '../src/index.js';

describe('the control API', () => {
  let simulator: Simulator;
  beforeAll(async () => {
    simulator = await startSimulator();
  });
  afterAll(() => simulator.close());

  const post = (path: string, body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
    fetch(simulator.controlUrl + path, { method: 'POST', headers, body });

  test('the README lists every operation as it is', async () => {
    const described = (await (await fetch(`${simulator.controlUrl}/api`)).json()) as Described[];
    const plain = (text: string): string => text.replace(/ +/g, ' ').replace(/-{3,}/g, '---');
    expect(plain(readFileSync(join(import.meta.dirname, '../README.md'), 'utf8'))).toContain(plain(asTable(described)));
  });

  test('describes the faults of a request', async () => {
    const answer = await post('/api/createAccount', '{"phone":"12"}');
    expect([answer.status, await answer.json()]).toEqual([400, { error: 'phone: a number has 7 to 15 digits' }]);
    expect((await post('/api/createAccount', '{')).status).toBe(400);
    expect((await post('/api/toString', '{}')).status).toBe(404);
    await expect(simulator.client.received({ phone: '5511900000000' })).rejects.toThrow('Create it first');
  });

  test('refuses requests from pages of other sites', async () => {
    expect((await post('/api/accounts', '{}', { 'content-type': 'text/plain' })).status).toBe(415);
    const status = await new Promise((resolve) => {
      request(`${simulator.controlUrl}/phone`, { headers: { host: 'evil.example' } }, (res) => {
        res.resume();
        resolve(res.statusCode);
      }).end();
    });
    expect(status).toBe(403);
  });

  test('a number in any notation is the same phone', async () => {
    await simulator.client.createAccount({ phone: '+55 (11) 98888-7777', name: 'Shop' });
    const made = await simulator.client.createAccount({ phone: '5511988887777@c.us', about: 'open' });
    expect([made.phone, made.name, made.about]).toEqual(['5511988887777', 'Shop', 'open']);
  });

  test('the clock moves the times that the server writes', async () => {
    const before = Date.parse((await simulator.client.clock({})).now);
    const after = Date.parse((await simulator.client.clock({ moveMs: 86_400_000 })).now);
    expect(after - before).toBeGreaterThanOrEqual(86_400_000);
    await simulator.client.clock({ reset: true });
  });
});
