import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import QRCode from 'qrcode';
import type { Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { sendRaw } from './support/raw.js';
import { commandsIn } from './support/shell-commands.js';

/** What someone sees who has only the address of the API: the page without scripts, the index, and the texts for programs. */

let core: Core;
let rig: Rig;
beforeAll(async () => {
  core = await startCore();
  ({ rig } = core);
});
afterAll(() => core?.close());

const letters: Record<string, string> = { '&quot;': '"', '&amp;': '&', '&#39;': "'" };
const readPage = async (): Promise<string> => {
  const page = await (await fetch(`${rig.url}/api/docs`)).text();
  return page.replace(/&[#\w]+;/g, (code) => letters[code] ?? code);
};

describe('the page of the API without scripts', () => {
  test('has the steps to a first message, and each of its lines works', async () => {
    const noscript = /<noscript>(.*)<\/noscript>/s.exec(await readPage())![1]!;
    const lines = [...noscript.matchAll(/<pre>(.*?)<\/pre>/gs)].map(([, line]) => line!.replace('YOUR_KEY', rig.apiKey));
    const replies: [string, number][] = [];
    for (const { method, url, headers, data } of commandsIn(lines)) {
      expect(url.origin).toBe(rig.url);
      const reply = await fetch(url, { method, headers, body: data });
      replies.push([`${method} ${url.pathname}`, reply.status]);
    }
    // The session of this test is linked already, so there is no code.
    expect(replies).toEqual([
      ['POST /api/v1/sessions/init', 200],
      ['GET /api/v1/sessions/current/qr', 409],
      ['GET /api/v1/sessions/status', 200],
      ['POST /api/v1/messages/send-text', 200],
      ['GET /api/v1/messages/list', 200],
    ]);
    const links = [...noscript.matchAll(/<a href="([^"]+)">/g)].map(([, path]) => path!);
    expect(links).toHaveLength(5);
    // This backend has no panel.
    for (const path of links.filter((link) => link !== '/admin'))
      expect([path, (await fetch(rig.url + path)).status]).toEqual([path, 200]);
  });

  test('writes the address of the request as text', async () => {
    const pieces = ['GET /api/docs HTTP/1.1\r\nHost: a"><script>b\r\nConnection: close\r\n\r\n'];
    const { statuses, text } = await sendRaw(Number(new URL(rig.url).port), { name: 'a hostile address', pieces });
    expect(statuses).toEqual([200]);
    expect(text).toContain('script&gt;b');
    expect(text).not.toContain('<script>b');
  });
});

describe('a QR code', () => {
  test('of a linked session is refused with the reason and the next step', async () => {
    const { status, body } = await core.get('/sessions/current/qr');
    expect(status).toBe(409);
    expect(body.error).toMatchObject({
      code: 'SESSION_STATE_CONFLICT',
      message: 'The session is linked already and needs no QR code. Messages can be sent.',
    });
  });

  test('is in the reply of the start as picture and as text', async () => {
    const { body } = await core.post('/sessions/init', { name: 'second' });
    expect(body.data).toMatchObject({
      status: 'qr_pending',
      qrCode: expect.stringMatching(/^data:image\/png;base64,/),
      qrText: expect.stringMatching(/\S/),
    });
  });
});

/** What a terminal shows: two rows of squares for each line, `#` black, ` ` white, and `?` where the colour is that of the terminal's theme. */
function squaresOf(text: string): string[] {
  const colours: Record<string, string> = { '30': '#', '37': ' ', '47': ' ' };
  let [letter, ground] = ['?', '?'];
  return text.split('\n').flatMap((line) => {
    const rows = ['', ''];
    for (const [part, code] of line.matchAll(/\u001b\[(\d+)m|./gu)) {
      if (code === '0') [letter, ground] = ['?', '?'];
      else if (code?.startsWith('3')) letter = colours[code]!;
      else if (code?.startsWith('4')) ground = colours[code]!;
      else {
        rows[0] += part === '▀' || part === '█' ? letter : ground;
        rows[1] += part === '▄' || part === '█' ? letter : ground;
      }
    }
    return rows;
  });
}

describe('a QR code for a terminal', () => {
  test('is the code of the session, in blocks that are black on white in every theme', async () => {
    await core.post('/sessions/init', { name: 'terminal' });
    const { qrText } = (await core.get('/sessions/terminal/qr')).body.data as { qrText: string };
    const reply = await fetch(`${rig.url}/api/v1/sessions/terminal/qr?format=terminal`, { headers: { 'X-API-Key': rig.apiKey } });
    expect([reply.status, reply.headers.get('content-type'), reply.headers.get('cache-control')]).toEqual([
      200,
      'text/plain; charset=utf-8',
      'no-store',
    ]);
    const { size, data } = QRCode.create(qrText).modules;
    const rows = Array.from({ length: size }, (_, row) =>
      Array.from({ length: size }, (_column, column) => (data[row * size + column] ? '#' : ' ')).join(''),
    );
    const margin = ' '.repeat(size + 2);
    expect(squaresOf(await reply.text()).slice(0, size + 2)).toEqual([margin, ...rows.map((row) => ` ${row} `), margin]);
  });

  test('is refused like the others where there is none, and another format is refused by name', async () => {
    expect((await core.get('/sessions/current/qr?format=terminal')).status).toBe(409);
    const { status, body } = await core.get('/sessions/terminal/qr?format=ascii');
    expect([status, body.error?.details]).toMatchObject([422, { fields: [{ path: 'format' }] }]);
  });
});

describe('the groups of routes', () => {
  test('are all explained, in the same order in the document and the index', async () => {
    const { tags, paths } = (await (await fetch(`${rig.url}/api/v1/openapi.json`)).json()) as {
      tags: { name: string; description: string }[];
      paths: Record<string, Record<string, { tags: string[] }>>;
    };
    const used = new Set(
      Object.values(paths).flatMap((methods) => Object.values(methods).flatMap((operation) => operation.tags)),
    );
    const named = tags.map(({ name }) => name);
    expect([...named].sort()).toEqual([...used].sort());
    expect(named.slice(0, 2)).toEqual(['sessions', 'messages']);
    for (const { name, description } of tags) expect([name, description]).toEqual([name, expect.stringMatching(/^[A-Z].*\.$/)]);
    const index = (await (await fetch(`${rig.url}/api/v1`)).json()) as { groups: Record<string, number> };
    expect(Object.keys(index.groups)).toEqual(named);
  });
});

describe('the text for programs', () => {
  test('has the first steps with their bodies', async () => {
    const text = await (await fetch(`${rig.url}/llms.txt`)).text();
    expect(text).toContain('1. `POST /api/v1/sessions/init` with `{}`');
    expect(text).toContain('3. `GET /api/v1/sessions/status`. Wait until its `status` is `connected`');
    expect(text).toContain('with `{"recipient":"+5511999990001","message":"Hello"}`');
  });
});
