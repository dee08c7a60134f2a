import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { transformSync } from 'esbuild';
import { socket } from '../src/events/contract.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { freePort } from '../../bench/src/ports.js';

/** The examples as their readers run them, in every language that this machine has. The ones it has not are named aloud. */

const examples = resolve(import.meta.dirname, '../../examples');
const script = resolve(import.meta.dirname, '../../scripts/receiver.mjs');
const folder = mkdtempSync(join(tmpdir(), 'chasqui-examples-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const secretBytes = randomBytes(24);
const secret = `whsec_${secretBytes.toString('base64')}`;
const has = (command: string, ...args: string[]): boolean => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const goEnv = { GOPROXY: 'off', GOFLAGS: '-mod=mod', GOCACHE: join(tmpdir(), 'chasqui-go-cache') };

interface Language {
  isHere: boolean;
  /** A command line for one of the two programs. */
  command(what: 'receiver' | 'client', port: number): string[];
}

function transpiled(name: string): string {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, transformSync(readFileSync(join(examples, `typescript/${name}.ts`), 'utf8'), { loader: 'ts' }).code);
  return file;
}
function built(name: string): string {
  const file = join(folder, `go-${name}`);
  execFileSync('go', ['build', '-o', file, `./${name}`], { cwd: join(examples, 'go'), env: { ...process.env, ...goEnv } });
  return file;
}

const languages: Record<string, Language> = {
  JavaScript: { isHere: true, command: (what) => [process.execPath, join(examples, `javascript/${what}.mjs`)] },
  TypeScript: { isHere: true, command: (what) => [process.execPath, transpiled(what)] },
  Python: { isHere: has('python3', '--version'), command: (what) => ['python3', join(examples, `python/${what}.py`)] },
  PHP: {
    isHere: has('php', '--version'),
    command: (what, port) => [
      'php',
      ...(what === 'receiver' ? ['-S', `127.0.0.1:${port}`] : []),
      join(examples, `php/${what}.php`),
    ],
  },
  Go: { isHere: has('go', 'version'), command: (what) => [built(what)] },
};
const shell: Language = { isHere: has('curl', '--version'), command: () => ['sh', join(examples, 'curl/client.sh')] };
const local: Language = { isHere: true, command: () => [process.execPath, script] };

function these(all: Record<string, Language>): { run: [string, Language][]; missing: [string, Language][] } {
  const list = Object.entries(all);
  const missing = list.filter(([, { isHere }]) => !isHere);
  for (const [name] of missing) process.stderr.write(`SKIPPED: the ${name} examples, because this machine cannot run them.\n`);
  return { run: list.filter(([, { isHere }]) => isHere), missing };
}

interface Delivery {
  id: string;
  timestamp: string;
  body: string;
  signature: string;
}

const sign = (id: string, timestamp: string, body: string, key: Buffer = secretBytes): string =>
  `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;

function delivery(more: { cursor?: number; ageSeconds?: number } = {}): Delivery {
  const id = randomUUID();
  const timestamp = String(Math.floor(Date.now() / 1000) - (more.ageSeconds ?? 0));
  const cursor = String(more.cursor ?? 18_422).padStart(14, '0');
  const session = { id: 'a-session', name: 'default' };
  const body = JSON.stringify({
    id,
    event: 'message.received',
    session,
    instance: session,
    data: { text: 'Olá, “Ana” 👋' },
    timestamp,
    cursor,
  });
  return { id, timestamp, body, signature: sign(id, timestamp, body) };
}

/** The same text with another character in one place: still one that a header may carry. */
const changed = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === '1' ? '2' : text[at] === 'A' ? 'B' : /\d/.test(text[at]!) ? '1' : 'A') + text.slice(at + 1);
const everyChange = (text: string): string[] => Array.from(text, (_, at) => changed(text, at));

let sender: Core;
beforeAll(async () => {
  sender = await startCore({ settings: { EGRESS_ALLOW: '127.0.0.1/32' } });
});
afterAll(() => sender?.close());

describe.each(these({ ...languages, 'npm run receiver': local }).run)('the receiver in %s', (_name, language) => {
  let child: ChildProcess;
  let port: number;
  let printed = '';
  const post = async ({ id, timestamp, body, signature }: Partial<Delivery>): Promise<number> => {
    const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature };
    const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
    const request = http.request({
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: '/',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body ?? ''), ...given },
    });
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    return response.statusCode ?? 0;
  };

  beforeAll(async () => {
    port = await freePort();
    const [command, ...args] = language.command('receiver', port);
    child = spawn(command!, args, {
      env: {
        ...process.env,
        WEBHOOK_SECRET: secret,
        PORT: String(port),
        STATE_FILE: join(folder, `${port}.json`),
        NO_COLOR: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (printed += text));
    child.stderr!.resume();
    await eventually('the receiver to listen', () => post({ body: '' }).catch(() => null), 60_000);
  }, 120_000);
  afterAll(async () => {
    if (!child || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });

  test('accepts a signed delivery once, however often it arrives', async () => {
    const one = delivery();
    expect([await post(one), await post(one), await post(one)]).toEqual([200, 200, 200]);
    await eventually('it to be printed', async () => printed.includes(one.id));
    const next = delivery({ cursor: 18_423 });
    await post(next);
    await eventually('the next one', async () => printed.includes(next.id));
    const taken = printed.split('\n').filter((line) => line.includes(one.id) && !line.includes('came again'));
    expect(taken).toHaveLength(1);
  });

  test('accepts a delivery that the real sender signs, and refuses it under another secret', async () => {
    interface Sent {
      eventId: string;
      lastStatusCode: number | null;
    }
    const attempted = async (key: string): Promise<Sent> => {
      const hook = { url: `http://127.0.0.1:${port}/`, events: ['message.queued'], secret: key };
      const { id } = (await sender.post('/webhooks', hook)).body.data as { id: string };
      await sender.send('Olá, “Ana” 👋');
      const tried = await eventually('an attempt', async () => {
        const [one] = (await sender.get(`/webhooks/${id}/deliveries`)).body.data as Sent[];
        return one && one.lastStatusCode !== null ? one : null;
      });
      await sender.rig.call('DELETE', `/webhooks/${id}`);
      return tried;
    };
    const { eventId, lastStatusCode } = await attempted(secret);
    expect(lastStatusCode).toBe(200);
    await eventually('it to be printed', async () => printed.includes(eventId));
    const other = await attempted(`whsec_${randomBytes(24).toString('base64')}`);
    expect(other.lastStatusCode).toBe(401);
    expect(printed).not.toContain(other.eventId);
  });

  test('says which one comes after a newer one', async () => {
    const [newer, older] = [delivery({ cursor: 90_000 }), delivery({ cursor: 80_000 })];
    expect([await post(newer), await post(older)]).toEqual([200, 200]);
    await eventually('both', async () => printed.includes(older.id));
    const lineOf = (id: string): string => printed.split('\n').find((line) => line.includes(id)) ?? '';
    expect([
      /late["']?:? ?(true)?/.test(lineOf(newer.id)) && /true/.test(lineOf(newer.id)),
      /true|late/.test(lineOf(older.id)),
    ]).toEqual([false, true]);
  });

  test('accepts either of two signatures while the secret is rotated', async () => {
    const one = delivery();
    const other = sign(one.id, one.timestamp, one.body, randomBytes(24));
    expect(await post({ ...one, signature: `${other} ${one.signature}` })).toBe(200);
    expect(await post({ ...delivery(), signature: `${other} ${other}` })).toBe(401);
  });

  test('refuses it with one byte changed: of the body, the id, the time or the signature', async () => {
    const one = delivery();
    const bodies = everyChange(one.body).filter((_, at) => at % 7 === 0);
    const all: Delivery[] = [
      ...bodies.map((body) => ({ ...one, body })),
      { ...one, body: `${one.body} ` },
      ...everyChange(one.id).map((id) => ({ ...one, id })),
      ...everyChange(one.timestamp).map((timestamp) => ({ ...one, timestamp })),
      ...everyChange(one.signature).map((signature) => ({ ...one, signature })),
    ];
    expect(all.length).toBeGreaterThan(120);
    const taken: Delivery[] = [];
    for (const wrong of all) if ((await post(wrong)) !== 401) taken.push(wrong);
    expect(taken).toEqual([]);
    expect(printed).not.toContain(one.id);
    // It was the change that was refused, not the delivery.
    expect(await post(one)).toBe(200);
  });

  test('refuses a delivery that is too old, from the future, or without a header', async () => {
    expect(await post(delivery({ ageSeconds: 600 }))).toBe(401);
    expect(await post(delivery({ ageSeconds: -600 }))).toBe(401);
    for (const name of ['id', 'timestamp', 'signature'] as const)
      expect(await post({ ...delivery(), [name]: undefined })).toBe(401);
  });
});

describe('the clients', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore();
  });
  afterAll(() => core?.close());

  test.each(these({ ...languages, curl: shell }).run)(
    'in %s send once per key and read what became of it',
    async (name, language) => {
      const [command, ...args] = language.command('client', 0);
      const env = {
        ...process.env,
        CHASQUI: `${core.rig.url}/api/v1`,
        KEY: core.rig.apiKey,
        TO: '5511999990001',
        ORDER: `order-of-${name}`,
        ROUNDS: '1',
      };
      const run = async (): Promise<string> => {
        const child = spawn(command!, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
        let text = '';
        for (const stream of [child.stdout, child.stderr])
          stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        const [code] = (await once(child, 'close')) as [number];
        if (code !== 0) throw new Error(`It ended with ${code}: ${text}`);
        return text;
      };
      const before = core.worker.left.length;
      const first = await run();
      const id = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/.exec(first)?.[0];
      expect([typeof id, first]).toEqual(['string', expect.stringContaining('message.queued')]);
      // The second run reads on as well: something must happen while it waits.
      const running = { ended: false };
      const again = run().finally(() => (running.ended = true));
      await eventually('the second run to end', async () => running.ended || (await core.send('another'), false));
      const second = await again;
      expect(second).toContain(id);
      expect(core.worker.left.slice(before).filter(({ messageId }) => messageId === id)).toHaveLength(1);
    },
  );
});

/** Every text that readers copy from: examples in all languages, and the documents. */
const copied = [
  ...readdirSync(examples, { recursive: true, encoding: 'utf8' }).map((name) => join(examples, name)),
  ...['INTEGRATION_GUIDE.md', 'README.md', 'docs/webhooks.md', 'docs/failure.md'].map((name) => join(examples, '..', name)),
].filter((path) => /\.(http|mjs|ts|py|php|go|sh|md)$/.test(path));

test('every request of an example or a document has a route', async () => {
  const core = await startCore({ linked: false });
  const routes = [...core.rig.routes, socket];
  await core.close();
  const firstWords = new Set(routes.map(({ path }) => path.split('/')[1]!));
  const fits = (path: string, pattern: string): boolean => new RegExp(`^${pattern.replace(/:\w+/g, '[^/]+')}/?$`).test(path);
  const lost: string[] = [];
  let found = 0;
  for (const file of copied) {
    const text = readFileSync(file, 'utf8');
    const named = text.matchAll(/\b(GET|POST|PUT|PATCH|DELETE) (?:\{\{base\}\})?(?:\/api\/v1)?(\/[^\s?`"'|,;)]+)/g);
    const quoted = text.matchAll(/["'`](?:\$CHASQUI)?(?:\/api\/v1)?(\/[a-z][-a-z]*(?:\/[^\s?"'`]*)?)[?"'`]/g);
    const calls = [
      ...[...named].map(([, method, path]) => [method, path!]),
      ...[...quoted].map(([, path]) => [undefined, path!]),
    ];
    for (const [method, path] of calls as [string | undefined, string][]) {
      const plain = path.replace(/\.$/, '').replace(/\$?\{[^{}]*\}|%s|<[^<>]*>|…/g, 'x');
      if (!firstWords.has(plain.split('/')[1]!)) {
        // Paths outside of the API, and those of other programs; a request file has none.
        if (file.endsWith('.http')) lost.push(`${file}: ${path}`);
        continue;
      }
      found += 1;
      const isThere = routes.some(
        (route) =>
          (method === undefined || route.method.toUpperCase() === method) &&
          // A path that ends with a slash is put together with an id.
          fits(plain.endsWith('/') ? `${plain}x` : plain, route.path),
      );
      if (!isThere) lost.push(`${file}: ${method ?? ''} ${path}`);
    }
  }
  expect(found).toBeGreaterThan(60);
  expect(lost).toEqual([]);
});

const { missing } = these(languages);
if (missing.length > 0) test.skip.each(missing)('the examples in %s', () => undefined);
