import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { browsersOn } from '../../src/sessions/profiles.js';
import { ana, heard, link, me, online, sha256, startRig, text, sendContent, until, type Rig } from './harness.js';

/** What comes from outside meets the real browser and the real library: nothing of it stops the session, nothing of ours leaks into it. */

const secret = 'k3Yp7Qx9Zr2Tb5Vn8Wm4Lc6Jd1Hg0Sf-must-not-be-in-the-browser';
let rig: Rig;
let session: EngineSession;
let signals: EngineSignal[];
beforeAll(async () => {
  process.env['SERVICE_API_KEY'] = secret;
  rig = await startRig('2026-09');
  ({ session, signals } = await link(rig));
  await online(rig);
}, 60_000);
afterAll(async () => {
  delete process.env['SERVICE_API_KEY'];
  await rig?.close();
});

/** The page of the newest session, to set what no simulator does. */
const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { initialize(this: Started): Promise<void> } };
};
interface Started {
  pupPage: { evaluate: (script: string) => Promise<unknown> };
}
let newest: Started | null = null;
const { initialize } = Client.prototype;
Client.prototype.initialize = function () {
  newest = this;
  return initialize.call(this);
};
const pageOf = (): Started['pupPage'] => newest!.pupPage;

const deliver = (more: object) => rig.simulator.client.deliver({ from: ana, to: me, ...more } as never);
const message = (key: string) => heard(signals, 'message.observed', ({ message: found }) => found.key === key);

test('no process of the browser has the service key in its environment', async () => {
  const pids = await session.pids();
  expect(pids.length).toBeGreaterThan(1);
  for (const pid of pids) expect(readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toContain(secret);
  expect(readFileSync(`/proc/${pids[0]}/environ`, 'latin1')).toContain('PATH=');
});

describe('messages that are odd', () => {
  const now = Math.floor(Date.now() / 1_000);

  test.each<[string, object]>([
    ['time in milliseconds', { type: 'text', text: 'x', t: Date.now() }],
    ['time in microseconds', { type: 'text', text: 'x', t: Date.now() * 1_000 }],
    ['time after the year 9999', { type: 'text', text: 'x', t: 253_402_300_800 }],
    ['a card of 200 KB without a number', { type: 'raw', raw: { type: 'vcard', data: { body: 'TEL\n'.repeat(50_000) } } }],
    ['a list of cards that is none', { type: 'raw', raw: { type: 'multi_vcard', data: { vcardList: 5 } } }],
    ['a list of cards of nothing', { type: 'raw', raw: { type: 'multi_vcard', data: { vcardList: [null, 1, 'x'] } } }],
    ['a place that is an object', { type: 'raw', raw: { type: 'location', data: { loc: { a: 1 }, lat: 'x' } } }],
    [
      'a secret that is a text',
      { type: 'raw', raw: { type: 'chat', data: { body: 'x', messageSecret: 'text', mentionedJidList: 7 } } },
    ],
  ])(
    '%s: recorded, at a time that can be; the text after it is recorded too',
    async (_name, odd) => {
      const { key } = await deliver(odd);
      const { key: next } = await deliver({ type: 'text', text: 'after it' });
      const { payload } = await message(key);
      const at = Date.parse(payload.message.timestamp) / 1_000;
      expect(Math.abs(at - now)).toBeLessThan(600);
      await message(next);
    },
    30_000,
  );

  test('what came before and after them is found by a scan as well', async () => {
    const before = signals.length;
    const result = await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 });
    expect(result).toMatchObject({ failedChats: 0, truncated: false });
    expect(result.messages).toBeGreaterThanOrEqual(16);
    expect(signals.length).toBeGreaterThan(before);
  }, 30_000);
});

describe('files that messages bring', () => {
  const bytes = randomBytes(9 * 1024 * 1024);
  let whatsappId: string;
  beforeAll(async () => {
    const { key } = await deliver({
      type: 'document',
      base64: bytes.toString('base64'),
      mimetype: 'application/octet-stream',
      filename: 'large.bin',
    });
    ({ whatsappId } = (await message(key)).payload.message);
  }, 30_000);

  test('come in pieces, byte for byte, and the page answers probes meanwhile', async () => {
    let done = false;
    const probes: number[] = [];
    const probing = (async () => {
      while (!done) probes.push((await session.probe(4_000)).roundTripMs);
    })();
    const got = await session.downloadMedia(whatsappId, 30_000);
    done = true;
    await probing;
    expect([sha256(got.bytes), got.filename]).toEqual([sha256(bytes), 'large.bin']);
    expect(probes.length).toBeGreaterThan(0);
  }, 60_000);

  test('above the limit are refused by their declared size', async () => {
    await expect(session.downloadMedia(whatsappId, 30_000, bytes.length - 1)).rejects.toMatchObject({
      code: 'FILE_TOO_LARGE',
      details: { size: bytes.length, limit: bytes.length - 1 },
    });
    expect((await session.downloadMedia(whatsappId, 30_000, bytes.length)).bytes.length).toBe(bytes.length);
  }, 60_000);

  test('that declare less than they are, are refused by their true size', async () => {
    const page = pageOf();
    await page.evaluate(`(() => {
      const { Msg } = window.require('WAWebCollections');
      const msg = Msg.getModelsArray().find((one) => one.filename === 'large.bin');
      Object.defineProperty(msg, 'size', { configurable: true, value: 10, writable: true });
    })()`);
    await expect(session.downloadMedia(whatsappId, 30_000, 1_000_000)).rejects.toMatchObject({
      code: 'FILE_TOO_LARGE',
      details: { size: bytes.length },
    });
  }, 60_000);

  test('of messages that are not there are MEDIA_NOT_FOUND', async () => {
    await expect(session.downloadMedia(`false_${ana}@c.us_3AFFFFFFFFFFFFFFFF`, 5_000)).rejects.toMatchObject({
      code: 'MEDIA_NOT_FOUND',
    });
  }, 30_000);
});

test('a page that is frozen over the time of a send hands nothing over afterwards, though the wall clock was set back', async () => {
  const page = pageOf();
  // The page sees a wall clock that is two hours behind that of the call.
  await page.evaluate(`window.realNow = Date.now; Date.now = () => window.realNow() - 7_200_000`);
  const late = await sendContent(session, text('two hours ago'));
  await page.evaluate(`Date.now = window.realNow`);
  expect(late.outcome).toMatchObject({ outcome: 'failed', reason: 'CONNECTION_LOST', retryable: true });
  expect((await rig.simulator.client.journal({})).filter(({ key }) => key === late.reservedId)).toEqual([]);
  expect((await sendContent(session, text('in time'))).outcome).toMatchObject({ outcome: 'sent' });
}, 30_000);

test('a browser that is frozen amid a start, and one that is killed amid it, leave no process behind', async () => {
  const other = await startRig('2026-09');
  const processes = () =>
    until(
      'its processes',
      async () => {
        const found = await browsersOn(other.dir);
        return found.length > 0 ? found : null;
      },
      15_000,
    );
  try {
    const abort = new AbortController();
    const starting = other.launch(abort.signal);
    const pids = await processes();
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    abort.abort();
    const began = performance.now();
    await expect(starting).rejects.toMatchObject({ reason: 'USER_STOPPED' });
    expect(performance.now() - began).toBeLessThan(20_000);
    await until('no process', async () => (await browsersOn(other.dir)).length === 0, 15_000);

    const killed = other.launch();
    for (const pid of await processes()) process.kill(pid, 'SIGKILL');
    await expect(killed).rejects.toMatchObject({ reason: 'BROWSER_CRASHED' });
    await until('no process', async () => (await browsersOn(other.dir)).length === 0, 15_000);
  } finally {
    await other.close();
  }
}, 90_000);
