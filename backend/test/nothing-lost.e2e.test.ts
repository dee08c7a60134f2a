import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandLine, treesBelow } from '../../bench/src/processes.js';
import { openFaultProxy, type Fault, type FaultProxy } from '../../bench/src/fault-proxy.js';
import { percentile } from '../../bench/src/load.js';
import { eventually, startStack, type Stack, type StackOptions } from '../../bench/src/stack.js';

/**
 * Both real processes, real Chromium, the simulator: whole outages, pauses and broken lines. What single steps survive is shown by
 * `npm run test:crash`; here it is what a person would see of a bad day.
 */

const ana = '5511999990001';
const phones = ['5511988887701', '5511988887702'] as const;
const final = ['sent', 'delivered', 'read', 'played'];
const quick = {
  // These tests restart the backend often, and open no page of the panel.
  PANEL_ENABLED: 'false',
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '0.5',
  PROBE_SECONDS: '1',
  UNCERTAIN_GRACE_MS: '1000',
  SEND_DEADLINE_MS: '4000',
  LEASE_SECONDS: '5',
};

interface MessageBody {
  id: string;
  status: string;
  text: string;
}

let stack: Stack;
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  await stack?.close();
  for (const close of closers.splice(0)) await close();
}, 60_000);

async function start(sessions: number, options: StackOptions = {}): Promise<void> {
  stack = await startStack({ ...options, settings: { ...quick, ...options.settings } });
  await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
  for (let number = 0; number < sessions; number += 1) await link(`s${number}`, phones[number]!);
}

async function link(name: string, phone: string): Promise<void> {
  await stack.simulator.client.createAccount({ phone, name });
  await stack.api('POST', '/sessions', { name });
  await stack.api('POST', `/sessions/${name}/connect`);
  await scan(name, phone);
}

async function scan(name: string, phone: string): Promise<void> {
  const qr = await eventually(
    'a code',
    async () => (await stack.api<{ qrText: string | null }>('GET', `/sessions/${name}/qr`)).body.data?.qrText,
  );
  await stack.simulator.client.scan({ qr, phone });
  await connected(name);
}

const statusOf = async (name: string) =>
  (await stack.api<{ status: string; stale: boolean }>('GET', `/sessions/${name}/status`).catch(() => null))?.body.data;
const connected = (name: string) =>
  eventually(
    `${name} to be connected`,
    async () => {
      const status = await statusOf(name);
      return status?.status === 'connected' && !status.stale;
    },
    60_000,
  );

/** As our guide asks for: the same call under the same key until there is an answer that counts. */
async function client(text: string, session = 's0'): Promise<string> {
  const body = { sessionId: session, recipient: ana, message: text, async: true, queueIfOffline: true };
  return eventually(
    `${text} to be accepted`,
    async () => {
      const answer = await stack
        .api<MessageBody>('POST', '/messages/send-text', body, { 'Idempotency-Key': text })
        .catch(() => null);
      return answer && [200, 202].includes(answer.status) ? answer.body.data.id : null;
    },
    60_000,
  );
}

const allSent = (ids: readonly string[]) =>
  eventually(
    'all to be sent',
    async () => {
      for (const id of ids)
        if (!final.includes((await stack.api<MessageBody>('GET', `/messages/${id}`)).body.data?.status)) return false;
      return true;
    },
    90_000,
  );
const received = async (prefix: string): Promise<string[]> =>
  (await stack.simulator.client.received({ phone: ana })).flatMap(({ text }) => (text?.startsWith(prefix) ? [text] : []));

test('the backend is killed twice during 200 sends at 20 a second: each arrives exactly once', async () => {
  await start(1);
  const from = (await stack.simulator.client.journal({})).length;
  const texts = Array.from({ length: 200 }, (_, number) => `storm ${String(number).padStart(3, '0')}`);
  const clients = texts.map(async (text, number) => {
    await sleep(number * 50);
    return client(text);
  });
  for (const at of [2_500, 4_000]) {
    await sleep(at);
    await stack.end('backend', 'SIGKILL');
    await stack.start('backend');
  }
  await allSent(await Promise.all(clients));
  expect((await received('storm')).sort()).toEqual(texts);
  const journal = (await stack.simulator.client.journal({})).slice(from);
  expect(journal.filter(({ repeat }) => repeat)).toEqual([]);
  expect(new Set(journal.map(({ key }) => key)).size).toBe(200);
}, 240_000);

test('1,000 messages arrive while the backend is down: 1,000 rows afterwards, in order, each once', async () => {
  await start(1);
  await stack.end('backend', 'SIGKILL');
  const texts = Array.from({ length: 1_000 }, (_, number) => `down ${String(number).padStart(4, '0')}`);
  const began = Date.now();
  for (const text of texts) await stack.simulator.client.deliver({ from: ana, to: phones[0], type: 'text', text });
  await sleep(Math.max(0, Number(process.env['DOWN_MS'] ?? 0) - (Date.now() - began)));
  await stack.start('backend');
  const rows = async (): Promise<string[]> => {
    const found: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const query: string = `direction=inbound&order=asc&limit=200${cursor ? `&cursor=${cursor}` : ''}`;
      const { body } = await stack.api<MessageBody[]>('GET', `/messages/list?${query}`);
      found.push(...body.data.map(({ text }) => text));
      cursor = (body.meta?.['nextCursor'] as string | null) ?? null;
    }
    return found;
  };
  await eventually('1,000 rows', async () => (await rows()).length >= 1_000, 60_000);
  // Nothing more comes after them: the backfill finds only what is there already.
  await connected('s0');
  expect(await rows()).toEqual(texts);
}, 300_000);

test('a frozen browser is noticed within 15 s and healed by itself; the other session sends as before', async () => {
  await start(2, { settings: { PROBE_SECONDS: '5' } });
  const time = async (count: number): Promise<number[]> => {
    const times: number[] = [];
    for (let number = 0; number < count; number += 1) {
      const at = performance.now();
      const answer = await stack.api('POST', '/messages/send-text', {
        sessionId: 's1',
        recipient: ana,
        message: `still ${number}`,
      });
      if (answer.status !== 200) throw new Error(`A send of the other session answered ${answer.status}.`);
      times.push(performance.now() - at);
    }
    return times;
  };
  const before = percentile(await time(40), 0.5);
  const mine = await stack.api<{ id: string }>('GET', '/sessions/s0');
  const frozen = treesBelow(stack.pid('worker')).find((tree) => isOf(tree, mine.body.data.id))!;
  for (const pid of frozen) process.kill(pid, 'SIGSTOP');
  const at = Date.now();
  const during = time(40);
  await eventually('it to be noticed', async () => (await statusOf('s0'))?.status !== 'connected');
  expect(Date.now() - at).toBeLessThan(15_000);
  await connected('s0');
  expect(percentile(await during, 0.5)).toBeLessThan(before * 5 + 1_000);
  await allSent([await client('after the frost')]);
}, 180_000);

/** Whether one of the processes was started on the login of this session. */
function isOf(tree: number[], sessionId: string): boolean {
  return tree.some((pid) => commandLine(pid).includes(sessionId));
}

test('a worker that is frozen past its lease and thawed sends nothing and writes nothing any more', async () => {
  await start(1);
  const ids = await Promise.all(Array.from({ length: 10 }, (_, number) => client(`frozen ${number}`)));
  process.kill(stack.pid('worker'), 'SIGSTOP');
  await eventually('the session to be written off', async () => {
    const { body } = await stack.api<{ reason: { code: string } | null }>('GET', '/sessions/s0');
    return body.data.reason?.code === 'WORKER_LOST';
  });
  const second = await stack.addWorker();
  await eventually('the second worker to have it', async () => {
    await stack.api('POST', '/sessions/s0/connect');
    return (await statusOf('s0'))?.status === 'qr_pending';
  });
  await scan('s0', phones[0]);
  await allSent(ids);
  const { body: before } = await stack.api<{ workerId: string }>('GET', '/sessions/s0');
  const journal = (await stack.simulator.client.journal({})).length;
  process.kill(stack.pid('worker'), 'SIGCONT');
  await eventually('the first one to be told', async () => stack.log('worker').includes('belongs to another worker now'));
  await stack.simulator.client.deliver({ from: ana, to: phones[0], type: 'text', text: 'to both of them' });
  await eventually('the arrival', async () => {
    const { body } = await stack.api<MessageBody[]>('GET', '/messages/list?direction=inbound');
    return body.data.some(({ text }) => text === 'to both of them');
  });
  expect((await stack.simulator.client.journal({})).length).toBe(journal);
  expect((await received('frozen')).sort()).toEqual(Array.from({ length: 10 }, (_, number) => `frozen ${number}`));
  const { body: after } = await stack.api<{ workerId: string; status: string }>('GET', '/sessions/s0');
  expect(after.data).toMatchObject({ workerId: before.data.workerId, status: 'connected' });
  await eventually('the browser of the first worker to end', async () => treesBelow(stack.pid('worker')).length === 0);
  expect(second.log()).not.toContain('STALE_EPOCH');
}, 180_000);

describe('a bad line between the processes', () => {
  let toWorker: FaultProxy;
  let toBackend: FaultProxy;
  beforeEach(async () => {
    await start(1, {
      async line({ backend, worker }) {
        toWorker = await openFaultProxy(worker);
        toBackend = await openFaultProxy(backend);
        closers.push(toWorker.close, toBackend.close);
        return { WORKER_URLS: toWorker.url, WORKER_URL: toWorker.url, BACKEND_URL: toBackend.url };
      },
    });
  }, 60_000);

  const faults: Fault[] = [
    { kind: 'delay', ms: 150 },
    { kind: 'refuse' },
    { kind: 'hang' },
    { kind: 'cutRequest', afterBytes: 300 },
    { kind: 'dropReply' },
  ];

  test('whatever it does, each message is sent once and each arrival is one row', async () => {
    const sent: string[] = [];
    const texts: string[] = [];
    for (const fault of faults) {
      for (const line of [toWorker, toBackend]) {
        const name = `${fault.kind} to the ${line === toWorker ? 'worker' : 'backend'}`;
        line.set(fault);
        texts.push(...[1, 2, 3].map((number) => `line: ${name} ${number}`));
        sent.push(...(await Promise.all(texts.slice(-3).map((text) => client(text)))));
        await stack.simulator.client.deliver({ from: ana, to: phones[0], type: 'text', text: `in: ${name}` });
        await sleep(700);
        line.set({ kind: 'none' });
        await connected('s0');
        await allSent(sent.slice(-3));
      }
    }
    expect((await received('line:')).sort()).toEqual([...texts].sort());
    const rows = await eventually('every arrival', async () => {
      const { body } = await stack.api<MessageBody[]>('GET', '/messages/list?direction=inbound&limit=200');
      return body.data.length >= faults.length * 2 ? body.data.map(({ text }) => text) : null;
    });
    expect(rows).toHaveLength(faults.length * 2);
    expect(new Set(rows).size).toBe(faults.length * 2);
    expect((await stack.simulator.client.journal({})).filter(({ repeat }) => repeat)).toEqual([]);
  }, 300_000);
});
