import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import express from 'express';
import fc from 'fast-check';
import { request as httpRequest } from 'node:http';
import { trustProxies, type ProxyTrustOptions } from '../src/http/proxy-trust.js';
import { freePort } from '../../bench/src/ports.js';
import { startRig, type Rig } from './support/backend.js';

/** What operators meet: pages of other sites, proxies, rights of files, and the first start as containers and supervisors make it. */

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
let dir: string;
let children: ChildProcess[] = [];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-deployment-'));
});
afterEach(async () => {
  await Promise.all(children.map(kill));
  children = [];
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

describe('CORS_ORIGINS', () => {
  let rig: Rig | null = null;
  afterEach(async () => {
    await rig?.close();
    rig = null;
  });
  const preflight = async (origin: string): Promise<Headers> =>
    (
      await fetch(`${rig!.url}/api/v1/sessions`, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,content-type,idempotency-key',
        },
      })
    ).headers;

  test('* lets every page send requests and read replies, errors included, and allows no credentials', async () => {
    rig = await startRig({ settings: { CORS_ORIGINS: '*' } });
    for (const origin of ['https://app.example', 'null', 'http://localhost:5173', 'capacitor://localhost']) {
      const allowed = await preflight(origin);
      expect([allowed.get('access-control-allow-origin'), allowed.get('access-control-allow-credentials')]).toEqual(['*', null]);
      expect(allowed.get('access-control-allow-headers')).toMatch(/Authorization.*Idempotency-Key/);
      for (const [key, status] of [
        [rig.apiKey, 200],
        ['wrong', 401],
      ] as const) {
        const reply = await rig.call('GET', '/sessions', { key, headers: { origin } });
        expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([status, '*']);
      }
    }
  });

  test('a list admits those pages, however they are spelled, and no others, and replies say so to caches', async () => {
    rig = await startRig({ settings: { CORS_ORIGINS: 'https://Slash.Example/,https://port.example:443' } });
    for (const origin of ['https://slash.example', 'https://port.example'])
      expect((await preflight(origin)).get('access-control-allow-origin')).toBe(origin);
    for (const origin of [
      'https://slash.example.evil',
      'http://slash.example',
      'https://slash.example:8443',
      'null',
      'https://a',
    ])
      expect((await preflight(origin)).get('access-control-allow-origin')).toBeNull();
    for (const headers of [{}, { origin: 'https://slash.example' }, { origin: 'https://other.example' }] as Record<
      string,
      string
    >[])
      expect((await rig.call('GET', '/sessions', { headers })).headers.get('vary')).toMatch(/Origin/);
  });
});

describe('TRUST_PROXY', () => {
  /** A program that answers with the address that it takes for the caller's. */
  async function startEcho(
    setting: number | string[],
    options: ProxyTrustOptions,
  ): Promise<{ ask: (forwarded?: string, from?: string) => Promise<string>; close: () => void }> {
    const app = express();
    app.use(trustProxies(app, setting, options));
    app.get('/', (req, res) => void res.send(req.ip));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return {
      ask: (forwarded, from = '127.0.0.1') =>
        new Promise((done, failed) => {
          const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
          httpRequest({ host: '127.0.0.1', port, localAddress: from, headers, agent: false }, (res) => {
            let body = '';
            res.on('data', (piece: Buffer) => (body += piece.toString())).on('end', () => done(body));
          })
            .on('error', failed)
            .end();
        }),
      close: () => void server.close(),
    };
  }

  test('a header is believed from the named proxy only, which may get another address or none', async () => {
    let answers: readonly string[] | null = ['127.0.0.2'];
    let time = 0;
    let lookups = 0;
    const resolveName = async (): Promise<readonly string[]> => {
      lookups += 1;
      if (!answers) throw new Error('ENOTFOUND');
      return answers;
    };
    const { ask, close } = await startEcho(['nginx'], { resolveName, now: () => time });
    expect(await ask('203.0.113.7', '127.0.0.2')).toBe('203.0.113.7');
    // What the client itself claims stands before what the proxy added.
    expect(await ask('10.9.9.9, 203.0.113.7', '127.0.0.2')).toBe('203.0.113.7');
    expect(await ask('203.0.113.7', '127.0.0.3')).toBe('127.0.0.3');
    expect(await ask(undefined, '127.0.0.2')).toBe('127.0.0.2');
    const before = lookups;
    for (let each = 0; each < 20; each += 1) await ask('203.0.113.7', '127.0.0.3');
    expect(lookups).toBe(before);
    answers = ['127.0.0.3'];
    time += 1_001;
    expect(await ask('203.0.113.7', '127.0.0.3')).toBe('203.0.113.7');
    expect(await ask('203.0.113.7', '127.0.0.2')).toBe('127.0.0.2');
    answers = null;
    time += 30_001;
    expect(await ask('203.0.113.7', '127.0.0.3')).toBe('127.0.0.3');
    close();
  });

  test('a name server that never replies delays no request', async () => {
    const { ask, close } = await startEcho(['nginx'], { resolveName: () => new Promise(() => undefined) });
    expect(await Promise.all(Array.from({ length: 10 }, () => ask('203.0.113.7')))).toEqual(Array(10).fill('127.0.0.1'));
    close();
  });

  test('networks, addresses and numbers apply as documented, for any header', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('', 'unknown', '127.0.0.9')), { maxLength: 4 }),
        async (hops) => {
          const header = hops.join(', ');
          const trusted = await startEcho(['127.0.0.0/30', '::1'], {});
          const from = await trusted.ask(header, '127.0.0.2');
          expect(await trusted.ask(header, '127.0.0.9')).toBe('127.0.0.9');
          if (hops.length > 0 && hops.at(-1) !== '' && !/^127\.0\.0\.[0-3]$/.test(hops.at(-1)!)) expect(from).toBe(hops.at(-1));
          trusted.close();
          const none = await startEcho(0, {});
          expect(await none.ask(header, '127.0.0.2')).toBe('127.0.0.2');
          none.close();
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe('the first start', () => {
  /** Runs a program of ours until `enough` of its output is there or it ends. */
  async function run(
    program: string[],
    env: Record<string, string>,
    enough?: RegExp,
  ): Promise<{ output: string; code: number | null; child: ChildProcess }> {
    const child = spawn('sh', ['-c', 'umask 022 && exec "$@"', 'sh', process.execPath, ...program], {
      cwd: root,
      env: { PATH: process.env['PATH'], PANEL_ENABLED: 'false', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    let output = '';
    const ended = once(child, 'close').then(() => null);
    let tell = (): void => undefined;
    const told = new Promise<void>((done) => (tell = done));
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece: Buffer) => {
        output += piece.toString();
        if (enough?.test(output)) tell();
      });
    await Promise.race([ended, told]);
    return { output, code: child.exitCode, child };
  }

  /** All files and folders below, with their rights. */
  const rightsBelow = (folder: string): string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return `${(statSync(path).mode & 0o777).toString(8)} ${entry.isDirectory() ? 'folder' : 'file'} ${path.slice(folder.length + 1)}`;
    });

  test.each([
    ['that an earlier version has filled', ['chasqui.sqlite', 'media/old']],
    ['that is new', []],
  ])('every file of ours is for this user only, also in a folder that is open to others and %s', async (_, files) => {
    const dataDir = mkdtempSync(join(dir, 'rights-'));
    const foreign = join(dataDir, 'somebody-elses');
    mkdirSync(join(dataDir, 'media'));
    for (const path of [foreign, ...files.map((name) => join(dataDir, name))]) {
      writeFileSync(path, '');
      chmodSync(path, 0o644);
    }
    for (const folder of [dataDir, join(dataDir, 'media')]) chmodSync(folder, 0o755);
    const env = { DATA_DIR: dataDir, PORT: String(await freePort()) };
    const { output, child } = await run(['backend/dist/main.js'], env, /backend is ready/);
    expect(output).toContain('The backend is ready.');
    const found = rightsBelow(dataDir);
    expect(found.filter((line) => /chasqui\.sqlite/.test(line)).sort()).toEqual([
      '600 file chasqui.sqlite',
      '600 file chasqui.sqlite-shm',
      '600 file chasqui.sqlite-wal',
    ]);
    const open = found.filter((line) => !/^600 file |^700 folder /.test(line) && !line.includes('media/'));
    // A foreign file is left as it is: DATA_DIR may be a folder that others use.
    expect(open).toEqual(['644 file somebody-elses']);
    const second = await run(['backend/dist/main.js'], { ...env, PORT: String(await freePort()) });
    const refused = new RegExp(`^Another backend \\(process ${child.pid} on .*Stop it first`);
    expect([second.code, second.output]).toEqual([1, expect.stringMatching(refused)]);
  });

  test('in a container it prints a one-time password and no key; reset-admin beside it prints another one', async () => {
    const place = mkdtempSync(join(dir, 'container-'));
    const port = await freePort();
    const env = {
      DATA_DIR: join(place, 'data'),
      SERVICE_KEY_DIR: join(place, 'key'),
      PORT: String(port),
      SHOW_FIRST_API_KEY: 'true',
    };
    const { output } = await run(['scripts/container.mjs', 'backend'], env, /backend is ready/);
    expect(output).toContain('The backend is ready.');
    expect(output).not.toMatch(/chq_|apiKey/);
    const first = JSON.parse(/\{"chasqui":"first-admin".*\}/.exec(output)![0]) as { email: string; password: string };
    const login = async (password: string): Promise<number> =>
      (
        await fetch(`http://127.0.0.1:${port}/api/v1/auth/login`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ email: first.email, password }),
        })
      ).status;
    expect(await login(first.password)).toBe(200);
    const reset = await run(['scripts/container.mjs', 'reset-admin'], env);
    const next = /New one-time password of admin \(admin@localhost\.localdomain\): (\S+)\n/.exec(reset.output)?.[1];
    expect([reset.code, next]).toEqual([0, expect.stringMatching(/^[\w-]{20}$/)]);
    expect([await login(first.password), await login(next!)]).toEqual([401, 200]);
    const unknown = await run(['scripts/container.mjs', 'reset-admin', 'nobody@example.com'], env);
    expect([unknown.code, unknown.output]).toEqual([
      1,
      'There is no admin called nobody@example.com. Admins: admin@localhost.localdomain.\n',
    ]);
    expect(readFileSync(join(place, 'data/secrets.json'), 'utf8')).toContain('JWT_SECRET');
  });

  test('without a container and a word against it, the key is printed once with the password', async () => {
    const env = { DATA_DIR: mkdtempSync(join(dir, 'plain-')), PORT: String(await freePort()) };
    const { output } = await run(['backend/dist/main.js'], env, /backend is ready/);
    expect(JSON.parse(/\{"chasqui":"first-admin".*\}/.exec(output)![0])).toMatchObject({
      apiKey: expect.stringMatching(/^chq_/),
    });
  });

  test.each([
    ['backend', 'DATA_DIR', 'scripts/container.mjs'],
    ['backend', 'SERVICE_KEY_DIR', 'scripts/container.mjs'],
    ['worker', 'DATA_DIR', 'scripts/container.mjs'],
    ['backend', 'DATA_DIR', 'backend/dist/main.js'],
    ['worker', 'DATA_DIR', 'whatsapp-service/dist/main.js'],
  ])('a %s whose %s cannot be written says what to do (%s)', async (role, name, program) => {
    const place = mkdtempSync(join(dir, 'unwritable-'));
    // A file in the place of a folder refuses everybody, also root, as whom tests may run.
    writeFileSync(join(place, 'file'), '');
    const env = { DATA_DIR: join(place, 'data'), SERVICE_KEY_DIR: join(place, 'key'), [name]: join(place, 'file/folder') };
    const { output, code } = await run([program, role], { SERVICE_API_KEY: randomBytes(32).toString('hex'), ...env });
    expect(code).toBe(1);
    expect(output).toMatch(/cannot be (used|locked)[^]*(chown|Give this user|Put DATA_DIR)/);
    expect(output).not.toMatch(/\n {4}at /);
  });
});
