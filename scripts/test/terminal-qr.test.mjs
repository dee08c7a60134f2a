import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { isQrWanted, showQr } from '../lib/terminal-qr.mjs';

let server;
let url;
let printed;
let requests;
/** What the backend says, one after the other; the last one again and again. */
let sessions;
let codes;
let init;
beforeEach(async () => {
  [printed, requests, sessions, codes, init] = ['', [], [], [], [200, { success: true, data: {} }]];
  const next = (list) => (list.length > 1 ? list.shift() : list[0]);
  server = createServer((req, res) => {
    requests.push(`${req.method} ${req.url} ${req.headers['x-api-key']}`);
    const json = (status, body) => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (req.method === 'POST') return json(...init);
    if (req.url.startsWith('/api/v1/sessions/status')) return json(200, { data: next(sessions) });
    const code = next(codes);
    if (code === null) return json(409, { error: { message: 'no code' } });
    res.end(code);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${server.address().port}`;
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text;
    return true;
  });
});
afterEach(async () => {
  jest.restoreAllMocks();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const show = (more = {}) =>
  showQr({ url, apiKey: 'secret', panel: 'http://panel/admin', isOver: () => false, everyMs: 5, forMs: 60_000, ...more });
const waiting = { status: 'qr_pending' };

test('each code is drawn once, over the one before, until the phone is linked', async () => {
  sessions = [
    { status: 'initializing' },
    waiting,
    waiting,
    waiting,
    { status: 'connecting' },
    { status: 'connected', phoneNumber: '+5511988887777' },
  ];
  codes = ['AA\nAA\n', 'AA\nAA\n', 'BB\nBB\n'];
  await show({ redraws: true });
  expect(printed.match(/AA\nAA/g)).toHaveLength(1);
  // Two lines of the code, and the one below it.
  expect(printed).toContain('\u001b[3A\u001b[JBB\nBB');
  expect(printed).toMatch(/Linked with \+5511988887777\. Messages can be sent\.\n$/);
  expect(requests[0]).toBe('POST /api/v1/sessions/init secret');
});

test('without a terminal nothing is erased', async () => {
  sessions = [waiting, waiting, { status: 'connected', phoneNumber: null }];
  codes = ['AA\n', 'BB\n'];
  await show();
  expect(printed).not.toContain('\u001b');
  expect(printed).toContain('AA\n');
  expect(printed).toContain('BB\n');
});

test.each([
  ['the start is refused', { init: [503, { error: { message: 'No worker is running.' } }] }, 'No QR code: No worker is running.'],
  ['the start is refused without a body', { init: [502, undefined] }, 'The backend answered 502.'],
  [
    'the session fails',
    { sessions: [{ status: 'error', reason: { message: 'The number is banned.' } }] },
    'The number is banned.',
  ],
  ['the code is gone again', { sessions: [waiting], codes: [null], forMs: 60 }, 'There was no QR code.'],
  [
    'WhatsApp cannot be reached',
    { sessions: [{ status: 'disconnected', reason: { message: 'WhatsApp cannot be reached.' } }], forMs: 60 },
    'No QR code yet: WhatsApp cannot be reached.',
  ],
  ['no phone scans', { sessions: [waiting], codes: ['AA\n'], forMs: 60 }, 'No phone scanned a code.'],
  ['the backend goes away', { isGone: true }, 'ECONNREFUSED'],
])('says what to do when %s', async (_case, { isGone, forMs, ...state }, sentence) => {
  if (state.init) init = state.init;
  sessions = state.sessions ?? [];
  codes = state.codes ?? [];
  if (isGone) await new Promise((resolve) => server.close(resolve));
  await show(forMs ? { forMs } : {});
  expect(printed).toContain(sentence);
  expect(printed).toContain('http://panel/admin');
});

test('it is silent when the product is stopped, also in the middle', async () => {
  sessions = [waiting];
  codes = ['AA\n'];
  let isOver = false;
  const shown = show({ isOver: () => isOver });
  while (!printed.includes('AA')) await new Promise((resolve) => setTimeout(resolve, 5));
  printed = '';
  isOver = true;
  await shown;
  expect(printed).toBe('');
});

test('it is shown with --qr, and says that a later start has no key for it', async () => {
  expect([isQrWanted(['node', 'start.mjs', '--qr']), isQrWanted(['node'])]).toEqual([true, false]);
  await show({ apiKey: undefined });
  expect(printed).toContain('--qr needs the key that the first start makes.');
  expect(requests).toEqual([]);
});
