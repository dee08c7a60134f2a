import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { percentile } from '../../bench/src/load.js';
import { freePort } from '../../bench/src/ports.js';
import { eventually } from './support/eventually.js';
import {
  bodyCases,
  cutCases,
  headerCases,
  largeFormCases,
  multipart,
  targetCases,
  upgradeCases,
  type Upload,
} from './support/raw-cases.js';
import { randomOf, sendAll, sendRaw, startProbe, type RawCase } from './support/raw.js';

/**
 * Both real processes, and bytes on bare connections that no HTTP client would write. Whatever comes: the same process afterwards, nothing
 * uncaught in its log, no 500, other callers as quick as before, and descriptors and memory back where they were. A failure prints the seed;
 * `PROPERTY_SEED` repeats the run.
 */

const seed = Number(process.env['PROPERTY_SEED']);
const together = 24;
/** Small enough for forms beyond it, and large enough for a download that is broken off. */
const fileLimit = 7 * 1024 * 1024;
/** Other callers may wait so long on a busy machine. A regular expression or a parser that stalls the process takes longer. */
const slowestMs = 4_000;
const p90Ms = 1_500;

const root = resolve(import.meta.dirname, '../..');
const serviceKey = randomBytes(32).toString('hex');

interface Program {
  child: ChildProcess;
  port: number;
  healthUrl: string;
  output: string[];
  /** A header line that authenticates. */
  key: string;
}
let dataDir: string;
let backend: Program;
let worker: Program;
let apiKey = '';

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'chasqui-raw-'));
  const [port, workerPort] = [await freePort(), await freePort()];
  const env = {
    PATH: process.env['PATH'],
    DATA_DIR: dataDir,
    PORT: String(port),
    WORKER_PORT: String(workerPort),
    SERVICE_API_KEY: serviceKey,
    API_KEY_RATE_LIMIT: '0',
    IP_RATE_LIMIT: '0',
    DEFAULT_DAILY_MESSAGE_LIMIT: '0',
    SEND_WAIT_MS: '50',
    MAX_FILE_SIZE: String(fileLimit),
    MAX_QUEUED_PER_SESSION: '100000',
  };
  backend = start('backend', env, port, '/health/live', '');
  worker = start('whatsapp-service', env, workerPort, '/health', `X-API-Key: ${serviceKey}`);
  apiKey = await eventually(
    'the first key',
    async () => /"chasqui":"first-admin".*?"apiKey":"([^"]+)"/.exec(backend.output.join(''))?.[1],
    60_000,
  );
  backend.key = `Authorization: ApiKey ${apiKey}`;
  for (const { healthUrl, child, output } of [backend, worker])
    await eventually(
      healthUrl,
      async () => {
        if (child.exitCode !== null) throw new Error(output.join(''));
        return (await fetch(healthUrl).catch(() => null))?.ok;
      },
      60_000,
    );
  expect((await api('POST', '/sessions', JSON.stringify({ name: 'shop' }))).status).toBe(201);
}, 120_000);

afterAll(async () => {
  for (const { child } of [backend, worker].filter(Boolean)) {
    child.kill('SIGTERM');
    await eventually('the end of a process', async () => child.exitCode !== null || child.signalCode !== null).catch(() =>
      child.kill('SIGKILL'),
    );
  }
  await rm(dataDir, { recursive: true, force: true });
}, 90_000);

function start(name: string, env: NodeJS.ProcessEnv, port: number, health: string, key: string): Program {
  const child = spawn(process.execPath, [join(root, name, 'dist/main.js')], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => output.push(text));
  return { child, port, output, key, healthUrl: `http://127.0.0.1:${port}${health}` };
}

async function api(method: string, path: string, body?: string | FormData): Promise<{ status: number; data: { id: string } }> {
  const answer = await fetch(`http://127.0.0.1:${backend.port}/api/v1${path}`, {
    method,
    headers: { authorization: `ApiKey ${apiKey}`, ...(typeof body === 'string' ? { 'content-type': 'application/json' } : {}) },
    ...(body === undefined ? {} : { body }),
  });
  return { status: answer.status, data: ((await answer.json()) as { data: { id: string } }).data };
}

/** Linux says how many descriptors a process has open; elsewhere there is nothing to compare. */
const descriptors = async ({ child }: Program): Promise<number> =>
  existsSync('/proc/self/fd') ? (await readdir(`/proc/${child.pid}/fd`)).length : 0;
const memoryMb = async ({ child }: Program): Promise<number> =>
  existsSync('/proc/self/status')
    ? Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024
    : 0;

const suspicious = /uncaught|unhandled|request failed|MaxListeners|out of memory/i;

/** Sends all cases to a process while another caller sends requests, and asserts that this caller is not affected. */
async function withstands(program: Program, cases: readonly RawCase[], lanes = together): Promise<Map<number, number>> {
  const pid = program.child.pid;
  const [open, memory, lines] = [await descriptors(program), await memoryMb(program), program.output.length];
  const quiet = startProbe(program.healthUrl);
  await new Promise((done) => setTimeout(done, 500));
  const before = percentile(
    (await quiet.stop()).sort((a, b) => a - b),
    0.99,
  );

  const probe = startProbe(program.healthUrl);
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  await sendAll(program.port, cases, lanes, (raw, answer) => {
    for (const status of answer.statuses) {
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status >= 500 && status !== 501 && status !== 503) wrong.push(`${status} to ${raw.name}: ${answer.text.slice(0, 300)}`);
    }
  });
  const times = (await probe.stop()).sort((a, b) => a - b);

  expect({ seed, wrong: wrong.slice(0, 5) }).toEqual({ seed, wrong: [] });
  expect({ exit: program.child.exitCode, signal: program.child.signalCode, pid: program.child.pid }).toEqual({
    exit: null,
    signal: null,
    pid,
  });
  const log = program.output.slice(lines).join('').split('\n');
  expect({ seed, log: log.filter((line) => suspicious.test(line)).slice(0, 5) }).toEqual({ seed, log: [] });
  expect(times.length).toBeGreaterThan(5);
  expect({ seed, unanswered: times.filter((ms) => ms === Infinity).length }).toEqual({ seed, unanswered: 0 });
  // On a busy machine there are too few requests for a percentile nearer to the end.
  const [slowest, p90] = [times.at(-1)!, percentile(times, 0.9)].map(Math.round) as [number, number];
  expect({ seed, before, slowest, p90 }).toEqual({
    seed,
    before,
    slowest: Math.min(slowest, slowestMs),
    p90: Math.min(p90, Math.max(p90Ms, before * 20)),
  });
  await eventually(`descriptors back to ${open}`, async () => (await descriptors(program)) <= open + 4);
  // The heap grows to what V8 allows itself; a leak or a bomb would be several times as much.
  expect(await memoryMb(program)).toBeLessThan(memory + 500);
  return statuses;
}

const text = Buffer.from('some bytes of a file, and a boundary that is none: --x\r\n');
const backendUploads = (): Upload[] => [
  { method: 'POST', path: '/api/v1/messages/send-media', ...multipart({ recipient: '5511999990001', caption: 'c' }, text) },
  { method: 'POST', path: '/api/v1/messages/send', ...multipart({ type: 'document', recipient: '5511999990001' }, text) },
];
const sendText: Upload = {
  method: 'POST',
  path: '/api/v1/messages/send-text',
  type: 'application/json',
  body: Buffer.from(
    JSON.stringify({ recipient: '5511999990001', message: 'häh? 😀 \\u0000', async: true, queueIfOffline: true }),
  ),
};
const command = {
  epoch: 1,
  reservedId: '3EB0',
  recipient: '5511999990001@c.us',
  content: { type: 'text', message: 'x' },
  options: { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], typingMs: 0 },
  deadlineMs: 1000,
  isFirst: true,
};
const workerUploads = (): Upload[] => [
  { method: 'PUT', path: '/api/session/s/messages/m', ...multipart({ command: JSON.stringify(command) }, text) },
  {
    method: 'POST',
    path: '/api/message/send-media',
    ...multipart({ sessionId: 's', recipient: '5511999990001', type: 'document' }, text),
  },
];

test('request lines, targets, upgrades and headers that are none: both processes stay up and quick', async () => {
  const random = randomOf(seed);
  const forBackend = [
    ...targetCases(random, 400),
    ...upgradeCases(random, backend.key, 250),
    ...headerCases(random, backend.key, '/api/v1/messages/send-text'),
  ];
  const statuses = await withstands(backend, forBackend);
  // A generator whose requests all look alike would prove nothing.
  expect([...statuses.keys()]).toEqual(expect.arrayContaining([101, 200, 400, 401, 404, 431]));
  const forWorker = [
    ...targetCases(random, 250),
    ...upgradeCases(random, worker.key, 80),
    ...headerCases(random, worker.key, '/api/message/send-text'),
  ];
  expect([...(await withstands(worker, forWorker)).keys()]).toEqual(expect.arrayContaining([400, 404, 431]));
}, 120_000);

test('bodies that end at every byte: both processes stay up and quick, and nothing is accepted', async () => {
  const random = randomOf(seed + 1);
  const cases = [...backendUploads(), sendText].flatMap((upload) => cutCases(random, backend.key, upload));
  const statuses = await withstands(backend, cases);
  expect([...statuses.keys()].filter((status) => status < 300)).toEqual([]);
  expect(statuses.get(400)).toBeGreaterThan(200);
  const json: Upload = { ...workerUploads()[0]!, type: 'application/json', body: Buffer.from(JSON.stringify(command)) };
  const forWorker = [...workerUploads(), json].flatMap((upload) => cutCases(random, worker.key, upload));
  expect((await withstands(worker, forWorker)).get(400)).toBeGreaterThan(200);
  await eventually('no file of a refused form', async () => (await readdir(join(dataDir, 'worker/tmp'))).length === 0);
}, 120_000);

test('forms that meet a limit in any piece: both processes stay up, and nothing is accepted or left on the disk', async () => {
  const random = randomOf(seed + 4);
  const cases = backendUploads().flatMap((upload) => largeFormCases(random, backend.key, upload, fileLimit));
  const statuses = await withstands(backend, cases);
  expect(statuses.get(413)).toBeGreaterThan(10);
  const forWorker = workerUploads().flatMap((upload) => largeFormCases(random, worker.key, upload, fileLimit));
  expect((await withstands(worker, forWorker)).get(413)).toBeGreaterThan(10);
  await eventually('no file of a refused form', async () => (await readdir(join(dataDir, 'worker/tmp'))).length === 0);
}, 120_000);

test('bodies that are compressed, chunked, dripped, pipelined or far too deep: both processes stay up and quick', async () => {
  const random = randomOf(seed + 2);
  const cases = [...backendUploads(), sendText].flatMap((upload) => bodyCases(random, backend.key, upload));
  // Each of these is megabytes to inflate or to refuse, on the same two cores as the test itself.
  await withstands(backend, cases, 6);
  await withstands(
    worker,
    workerUploads().flatMap((upload) => bodyCases(random, worker.key, upload)),
    6,
  );
}, 120_000);

test('both processes stay up and fast under floods of frames, requests and chunks whose replies are not read', async () => {
  const upgrade = [
    `GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n${backend.key}\r\nConnection: Upgrade\r\nUpgrade: websocket`,
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  ].join('\r\n');
  const frame = (code: number, text: string): Buffer =>
    Buffer.concat([Buffer.from([0x80 | code, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
  const frames = [frame(9, 'x'.repeat(125)), frame(1, '{"type":"ping"}'), frame(1, '{'), frame(1, '{"type":"subscribe"}')];
  const post = (path: string, key: string, type: string, first: string): Buffer =>
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n${first}`,
    );
  const chunks = '1\r\na\r\n'.repeat(100_000);
  const long = 'a'.repeat(8_000);
  const cases: RawCase[] = [
    ...frames.map((one): RawCase => ({
      name: 'frames',
      pieces: [upgrade, Buffer.concat(Array.from({ length: 20_000 }, () => one))],
      gapMs: 200,
      waitMs: 500,
    })),
    { name: 'requests', pieces: ['GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(5_000)], waitMs: 500 },
    { name: 'a JSON body', pieces: [post(sendText.path, backend.key, 'application/json', '1\r\n{\r\n'), chunks], waitMs: 500 },
    {
      name: 'a long boundary',
      pieces: [post('/api/v1/messages/send', backend.key, `multipart/form-data; boundary=${long}`, ''), chunks],
      waitMs: 500,
    },
  ];
  // Long enough for the probe to be asked often, also on a busy machine.
  const quiet = Array.from({ length: 3 }, (): RawCase => ({ name: 'nothing', pieces: [], waitMs: 1_000 }));
  await withstands(backend, [...cases, ...quiet], 2);
  const json = post('/api/message/send-media', worker.key, 'application/json', '');
  await withstands(worker, [{ name: 'a JSON body', pieces: [json, chunks] }, ...quiet], 1);
}, 120_000);

test('downloads and streams that are broken off leave no descriptor and no place behind', async () => {
  const form = new FormData();
  form.set('recipient', '5511999990001');
  form.set('queueIfOffline', 'true');
  form.set('async', 'true');
  form.set('file', new Blob([new Uint8Array(6 * 1024 * 1024).fill(97)], { type: 'text/plain' }), 'a.txt');
  const sent = await api('POST', '/messages/send-media', form);
  expect(sent.status).toBe(202);
  const random = randomOf(seed + 3);
  const head = (method: string, path: string): string => `${method} /api/v1${path} HTTP/1.1\r\nHost: x\r\n${backend.key}\r\n\r\n`;
  const cases = Array.from({ length: 120 }, (_, index): RawCase => ({
    name: `download ${index}`,
    pieces: [head('GET', `/messages/${sent.data.id}/media`)],
    resetAfterBytes: 1 + random.below(400_000),
    then: random.pick(['wait', 'end']),
    waitMs: 400,
  }));
  for (const path of ['/events/stream', `/messages/${sent.data.id}/media`, '/events?wait=30'])
    for (let count = 0; count < 25; count += 1)
      cases.push({ name: `HEAD ${path}`, pieces: [head('HEAD', path)], then: random.pick(['wait', 'reset']), waitMs: 100 });
  for (let count = 0; count < 60; count += 1)
    cases.push({ name: 'stream', pieces: [head('GET', '/events/stream')], resetAfterBytes: 1, waitMs: 400 });
  await withstands(backend, cases);
  // More than a key may have streams, all of them still open when the real one comes.
  const asking = Array.from({ length: 25 }, () =>
    sendRaw(backend.port, { name: 'HEAD', pieces: [head('HEAD', '/events/stream')], waitMs: 1_500 }),
  );
  await new Promise((done) => setTimeout(done, 500));
  const stream = await sendRaw(backend.port, {
    name: 'stream',
    pieces: [head('GET', '/events/stream')],
    resetAfterBytes: 1,
    waitMs: 30_000,
  });
  expect(stream.statuses).toEqual([200]);
  expect((await Promise.all(asking)).map(({ statuses }) => statuses)).toEqual(asking.map(() => [200]));
}, 120_000);

/** A caller that opens a connection of its own for each request. */
async function askOnNewConnection(port: number, path: string): Promise<number> {
  const began = performance.now();
  const raw = { name: 'ask', pieces: [`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`], waitMs: 10_000 };
  const { statuses } = await sendRaw(port, raw);
  return statuses[0] === 200 ? performance.now() - began : Infinity;
}

test.each([
  ['headers', (_program: Program, _path: string) => 'GET / HTTP/1.1\r\nHost: x\r\n', 'X-A: b\r\n'],
  [
    'bodies',
    ({ key }: Program, path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: x\r\n${key}\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n{`,
    ' ',
  ],
  ['nothing after an answer', () => 'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n', ''],
  ['nothing at all', () => '', ''],
])(
  '2,000 connections on which %s arrive slowly block no new ones, and leave no descriptor behind',
  async (_name, first, then) => {
    for (const [program, path, health] of [
      [backend, '/api/v1/messages/send-text', '/health/live'],
      [worker, '/api/message/send-media', '/health'],
    ] as const) {
      const open = await descriptors(program);
      const slow = Array.from({ length: 2_000 }, () => connect({ port: program.port, host: '127.0.0.1' }));
      for (const socket of slow)
        socket
          .on('error', () => undefined)
          .on('connect', () => socket.write(first(program, path)))
          .resume();
      const drip = setInterval(() => {
        if (then) for (const socket of slow) if (socket.writable) socket.write(then);
      }, 500);
      try {
        await eventually('most of them', async () => (await descriptors(program)) >= open + 600);
        const times: number[] = [];
        const end = performance.now() + 4_000;
        while (times.length < 8 || performance.now() < end) times.push(await askOnNewConnection(program.port, health));
        expect(Math.max(...times)).toBeLessThan(slowestMs);
      } finally {
        clearInterval(drip);
        for (const socket of slow) socket.destroy();
        // Also after a failure: the connections of this case are not those of the next one.
        await eventually(`descriptors back to ${open}`, async () => (await descriptors(program)) <= open + 4);
      }
    }
  },
  120_000,
);

test('a stop does not wait for a request that arrives by halves', async () => {
  const head = `POST /api/v1/messages/send-text HTTP/1.1\r\nHost: x\r\n${backend.key}\r\nContent-Type: application/json\r\n`;
  const halves: RawCase[] = [
    { name: 'half a body', pieces: [`${head}Content-Length: 50\r\n\r\n{"recipient":`], waitMs: 20_000 },
    { name: 'half the headers', pieces: [head], waitMs: 20_000 },
    { name: 'nothing', pieces: [], waitMs: 20_000 },
  ];
  const answers = Promise.all(halves.map((half) => sendRaw(backend.port, half)));
  await new Promise((done) => setTimeout(done, 300));
  const started = performance.now();
  backend.child.kill('SIGTERM');
  await eventually('the end of the backend', async () => backend.child.exitCode !== null);
  expect(backend.child.exitCode).toBe(0);
  // Without the refusal it takes the fifteen seconds after which connections are cut.
  expect(performance.now() - started).toBeLessThan(12_000);
  const [body] = await answers;
  expect(body!.statuses).toEqual([503]);
}, 60_000);
