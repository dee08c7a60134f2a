import { createHash, randomBytes } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readProcess } from '../../bench/src/processes.js';
import { eventually, startStack, type Part, type Stack } from '../../bench/src/stack.js';

/**
 * A file of 100 MB through both real processes, out and in: it passes in pieces, so that neither process has it in memory. The browser has it, as
 * WhatsApp Web always does.
 */

const ana = '5511999990001';
const me = '5511988887777';
const largeBytes = 100 * 1_048_576;
const maxExtraMb = 60;
const parts: readonly Part[] = ['backend', 'worker'];

let stack: Stack;
let dir: string;

interface MessageBody {
  id: string;
  status: string;
  reason: { code: string; message: string } | null;
  direction: string;
  content: { media?: { size: number; sha256: string | null } } | null;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'chasqui-large-'));
  stack = await startStack({
    settings: {
      MAX_FILE_SIZE: String(largeBytes + 1_000_000),
      MAX_INBOUND_FILE_SIZE: String(largeBytes + 1_000_000),
      SEND_RATE_PER_MINUTE: '0',
      HEARTBEAT_SECONDS: '1',
      // On a busy machine 100 MB take longer than the usual deadline, and the message would be uncertain.
      SEND_DEADLINE_MS: '200000',
    },
  });
  const { client } = stack.simulator;
  await client.createAccount({ phone: me, name: 'Shop' });
  await client.createAccount({ phone: ana, name: 'Ana' });
  await stack.api('POST', '/sessions', { name: 'shop' });
  await stack.api('POST', '/sessions/shop/connect');
  const qr = await eventually('a code', async () => {
    const { body } = await stack.api<{ qrText: string | null }>('GET', '/sessions/shop/qr');
    return body.data?.qrText;
  });
  await client.scan({ qr, phone: me });
  const isConnected = async () => (await stack.api('GET', '/sessions/shop')).body.data?.['isConnected'] === true;
  await eventually('the session to be connected', isConnected, 60_000);
  // Both ways once, so that what a first file loads counts as before.
  await send(await document('small.pdf', 2_000_000));
  await receive(2_000_000);
}, 180_000);
afterAll(async () => {
  await stack?.close();
  await rm(dir, { recursive: true, force: true });
}, 60_000);

async function document(name: string, size: number): Promise<{ path: string; sha256: string }> {
  const path = join(dir, name);
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  const piece = randomBytes(1_048_576);
  for (let left = size; left > 0; left -= piece.length) {
    const bytes = Buffer.from(piece.subarray(0, Math.min(left, piece.length)));
    if (left === size) bytes.write('%PDF-1.7\n');
    hash.update(bytes);
    await file.write(bytes);
  }
  await file.close();
  return { path, sha256: hash.digest('hex') };
}

const messageOf = async (id: string): Promise<MessageBody> => (await stack.api<MessageBody>('GET', `/messages/${id}`)).body.data;

async function send({ path, sha256 }: { path: string; sha256: string }): Promise<void> {
  const form = new FormData();
  form.set('sessionId', 'shop');
  form.set('recipient', ana);
  form.set('type', 'document');
  form.set('file', await openAsBlob(path, { type: 'application/pdf' }), 'report.pdf');
  const { status, body } = await stack.api<MessageBody>('POST', '/messages/send-media', form, { Prefer: 'respond-async' });
  expect([status, body.error]).toEqual([202, undefined]);
  const outcome = await eventually(
    'the outcome of the send',
    async () => {
      const { status: now, reason } = await messageOf(body.data.id);
      return ['scheduled', 'queued', 'sending'].includes(now) ? null : { status: now, reason };
    },
    240_000,
  );
  expect(outcome).toEqual({ status: expect.stringMatching(/^(sent|delivered)$/), reason: null });
  const received = await stack.simulator.client.received({ phone: ana });
  expect(received.filter((message) => message.mediaSha256 === sha256)).toHaveLength(1);
}

const download = (id: string, range?: string) =>
  fetch(`${stack.urls.backend}/api/v1/messages/${id}/media`, {
    headers: { authorization: `ApiKey ${stack.key()}`, ...(range ? { range } : {}) },
  });

/** Receives a file of zeros and returns its message once its bytes are stored. */
async function receive(size: number): Promise<MessageBody> {
  const made = { size, announced: true };
  const file = { mimetype: 'application/octet-stream', filename: `zeros-${size}.bin` };
  await stack.simulator.client.deliver({ from: ana, to: me, type: 'document', made, size, ...file });
  const message = await eventually(
    'the received message',
    async () => {
      const { body } = await stack.api<MessageBody[]>('GET', '/messages/list?direction=inbound&limit=5');
      return body.data.find(({ content }) => content?.media?.size === size);
    },
    120_000,
  );
  const isStored = async (): Promise<boolean> => {
    const answer = await download(message.id, 'bytes=0-0');
    await answer.body?.cancel();
    return answer.status === 206;
  };
  await eventually('the received file', isStored, 240_000);
  return messageOf(message.id);
}

const memoryMb = (part: Part): number => {
  const status = readProcess(stack.pid(part), 'status') ?? '';
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1_024;
};

/** Runs `work` and returns by how many megabytes each process grew at its peak. */
async function growthDuring(work: () => Promise<unknown>): Promise<Record<Part, number>> {
  const before = { backend: memoryMb('backend'), worker: memoryMb('worker') };
  const peak = { ...before };
  const timer = setInterval(() => {
    for (const part of parts) peak[part] = Math.max(peak[part], memoryMb(part));
  }, 10);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return { backend: peak.backend - before.backend, worker: peak.worker - before.worker };
}

/** The figures of each run, as in docs/benchmarks.md. */
const report = (what: string, grown: Record<Part, number>): void =>
  void process.stderr.write(`${what}: backend +${grown.backend.toFixed(1)} MB, worker +${grown.worker.toFixed(1)} MB\n`);

test('100 MB are sent, byte for byte, with less than 60 MB of memory more in each process', async () => {
  const file = await document('large.pdf', largeBytes);
  const grown = await growthDuring(() => send(file));
  report('100 MB sent', grown);
  for (const part of parts) expect(grown[part]).toBeLessThan(maxExtraMb);
}, 400_000);

test('100 MB are received and downloaded, byte for byte, with less than 60 MB of memory more in each process', async () => {
  const zeros = createHash('sha256');
  for (let left = largeBytes; left > 0; left -= 1_048_576) zeros.update(Buffer.alloc(1_048_576));
  const expected = zeros.digest('hex');
  const grown = await growthDuring(async () => {
    const message = await receive(largeBytes);
    expect(message.content?.media?.sha256).toBe(expected);
    const answer = await download(message.id);
    const hash = createHash('sha256');
    for await (const chunk of Readable.fromWeb(answer.body as never)) hash.update(chunk as Buffer);
    expect(hash.digest('hex')).toBe(expected);
  });
  report('100 MB received', grown);
  for (const part of parts) expect(grown[part]).toBeLessThan(maxExtraMb);
}, 400_000);

// The last one: the session keeps storing no content.
test('100 MB that the disk may have only sealed are sent, byte for byte, with less than 60 MB of memory more in each process', async () => {
  const { status } = await stack.api('PUT', '/sessions/shop', { settings: { storage: 'metadata' } });
  expect(status).toBe(200);
  await send(await document('small-sealed.pdf', 2_000_000));
  const file = await document('large-sealed.pdf', largeBytes);
  const grown = await growthDuring(() => send(file));
  report('100 MB sent, sealed', grown);
  for (const part of parts) expect(grown[part]).toBeLessThan(maxExtraMb);
}, 400_000);
