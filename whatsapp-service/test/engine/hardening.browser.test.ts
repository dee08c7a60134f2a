/* eslint-disable max-lines -- one browser and one session meet everything that is odd */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { compatReport } from '@chasqui/shared';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { browsersOn } from '../../src/sessions/profiles.js';
import {
  ana,
  eventOf,
  link,
  me,
  media,
  online,
  sha256,
  signal,
  startRig,
  text,
  sendContent,
  until,
  type Rig,
} from './harness.js';

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
const message = (key: string) => eventOf(signals, 'message.observed', ({ message: found }) => found.key === key);

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

  test('messages before and after them are found by a scan as well', async () => {
    const before = signals.length;
    const result = await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 });
    expect(result).toMatchObject({ failedChats: 0, truncated: false });
    expect(result.messages).toBeGreaterThanOrEqual(16);
    expect(signals.length).toBeGreaterThan(before);
  }, 30_000);
});

describe('data of the page that the library cannot read', () => {
  /** Changes the models of messages as they arrive: `change` runs in the page with each one, before the library receives it. */
  const changed = (change: string): Promise<unknown> =>
    pageOf().evaluate(`(() => {
      const { Msg } = window.require('WAWebCollections');
      window.realAdd ??= Msg.add.bind(Msg);
      Msg.add = (model, ...rest) => { (${change})(model); return window.realAdd(model, ...rest); };
    })()`);
  const unchanged = (): Promise<unknown> => changed('() => {}');

  test.each<[string, string]>([
    ['that throws when it is made an object of', '(m) => { m.serialize = () => { throw new TypeError("x"); }; }'],
    ['that contains itself', '(m) => { m.own = { self: m.id }; m.own.own = m.own; }'],
    ['with a number that JSON does not have', '(m) => { m.big = 10n; }'],
    ['with a field that cannot be read', '(m) => { m.odd = { get x() { throw new Error("x"); } }; }'],
    ['with a field of 30 MB', '(m) => { m.huge = "x".repeat(30_000_000); }'],
    [
      'with 60,000 fields of 100 characters',
      '(m) => { m.many = Object.fromEntries(Array.from({ length: 60_000 }, (_, n) => ["f" + n, "x".repeat(100)])); }',
    ],
    ['with an object in place of its text', '(m) => { m.caption = m.body = { text: "x" }; }'],
  ])(
    'a message %s is recorded, live and by a scan, and so is the one after it',
    async (_name, change) => {
      await changed(change);
      const { key } = await deliver({ type: 'text', text: 'odd' });
      const found = (await message(key)).payload.message;
      await unchanged();
      const { key: next } = await deliver({ type: 'text', text: 'after it' });
      await message(next);
      expect([found.chat.id, found.fromMe]).toEqual([`${ana}@c.us`, false]);
      const before = signals.length;
      expect(await session.backfill({ since: new Date(Date.now() - 3_600_000), perChat: 1_000 })).toMatchObject({
        failedChats: 0,
      });
      const scanned = signals
        .slice(before)
        .flatMap((signal) =>
          signal.type === 'event' && signal.event === 'message.observed' ? [signal.payload.message.key] : [],
        );
      expect(scanned).toEqual(expect.arrayContaining([key, next]));
    },
    30_000,
  );

  test.each<[string, string, 'message.reaction' | 'poll.vote']>([
    ['reactions', 'WAWebAddonReactionTableMode', 'message.reaction'],
    ['votes', 'WAWebAddonPollVoteTableMode', 'poll.vote'],
  ])(
    'a batch of %s with one that cannot be read: the others are emitted, and WhatsApp’s own function gets all of them',
    async (_name, module, event) => {
      const { key } = await deliver({ type: 'text', text: 'parent' });
      await message(key);
      const before = signals.length;
      const passedOn = await pageOf().evaluate(`(async () => {
        const { Msg } = window.require('WAWebCollections');
        const parent = Msg.getModelsArray().find((one) => one.id.id === '${key}');
        const who = window.require('WAWebWidFactory').createWid('${ana}@c.us');
        const row = (more) => ({
          id: parent.id, author: who, from: who, t: Date.now(), reactionText: 'ok', reactionTimestamp: Date.now(),
          reactionParentKey: parent.id, pollUpdateParentKey: parent.id, selectedOptionLocalIds: [], ...more,
        });
        const table = Object.values(window.require('${module}'))[0];
        try {
          await table.bulkUpsert([row({}), row({ author: undefined, from: undefined }), row({ reactionText: 'then' })]);
        } catch (error) {
          return String(error);
        }
        return 'done';
      })()`);
      expect(typeof passedOn).toBe('string');
      const reportedEvents = () => signals.slice(before).filter((signal) => signal.type === 'event' && signal.event === event);
      await until('both of the others', () => reportedEvents().length === 2);
      expect(signals.slice(before)).toContainEqual(expect.objectContaining({ type: 'unreadable', what: module }));
    },
    30_000,
  );

  test('a dialog that the page opens does not stop it', async () => {
    await pageOf().evaluate(`setTimeout(() => { alert('x'); confirm('y'); prompt('z'); window.wentOn = true; }, 0)`);
    await until('the page to go on', () => pageOf().evaluate('window.wentOn === true'));
    expect(await session.probe(4_000)).toMatchObject({ canary: true });
  }, 30_000);

  test('reports of the page are sent in the form of the contract', async () => {
    await pageOf().evaluate(`(() => {
      for (const state of [5, null, 'corrected', 'invented']) window.chasqui.notify('patch', { patch: 'invented', state, detail: { a: 1 } });
      window.chasqui.notify('patch', { patch: 'ids', state: 'invented', detail: null });
      window.chasqui.notify('patch', { patch: 'ids', state: 'corrected', detail: 'x'.repeat(100_000) });
      for (const kind of ['state', 'patch', 'canary', 'toString', '__proto__', 'none'])
        for (const payload of [null, 5, 'x', [], { state: 5 }]) window.chasqui.notify(kind, payload);
    })()`);
    await session.probe(4_000);
    const reports = session.compat();
    expect(reports.map(({ defect }) => defect)).not.toContain('invented');
    for (const report of reports) expect(compatReport.safeParse(report).success).toBe(true);
    expect(reports.find(({ defect }) => defect === 'ids')!.detail!.length).toBeLessThan(1_000);
    expect(signals.filter(({ type }) => type === 'gone')).toEqual([]);
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
    const read = await buffer(got.bytes);
    done = true;
    await probing;
    expect([sha256(read), got.filename]).toEqual([sha256(bytes), 'large.bin']);
    expect(probes.length).toBeGreaterThan(0);
  }, 60_000);

  test('above the limit are refused by their declared size', async () => {
    await expect(session.downloadMedia(whatsappId, 30_000, bytes.length - 1)).rejects.toMatchObject({
      code: 'FILE_TOO_LARGE',
      details: { size: bytes.length, limit: bytes.length - 1 },
    });
    expect((await buffer((await session.downloadMedia(whatsappId, 30_000, bytes.length)).bytes)).length).toBe(bytes.length);
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

  test.each<[string, boolean]>([
    ['whose server announces its size', true],
    ['whose server announces nothing', false],
  ])(
    'of 2 GB that declares 10 bytes, %s: refused before the page has it, and the page works on',
    async (_name, announced) => {
      const limit = 2_000_000;
      const { key } = await deliver({
        type: 'document',
        made: { size: 2 * 1024 ** 3, announced },
        size: 10,
        mimetype: 'application/octet-stream',
        filename: 'small.bin',
      });
      const { message: huge } = (await message(key)).payload;
      const sent = async () => (await rig.simulator.client.madeFiles()).at(-1)!.sent;
      await expect(session.downloadMedia(huge.whatsappId, 30_000, limit)).rejects.toMatchObject({
        code: 'FILE_TOO_LARGE',
        details: { limit },
      });
      const after = await sent();
      // The browser reads ahead of the page, and the machine's socket buffers hold some megabytes. On a machine whose processors are all busy, Chromium's
      // processes learn of the end seconds late, and read on until then at the speed of the machine; a request of a plain page that is aborted does so too.
      if (announced) expect(after).toBeLessThan(limit + 200_000_000);
      await until('the browser to stop reading', async () => {
        const before = await sent();
        await sleep(250);
        return (await sent()) === before;
      });
      expect(await sent()).toBeLessThan(2 * 1024 ** 3);
      expect((await buffer((await session.downloadMedia(whatsappId, 30_000)).bytes)).length).toBe(bytes.length);
      if (announced) expect(await sent()).toBe(after);
      expect(await session.probe(4_000)).toMatchObject({ canary: true });
    },
    60_000,
  );

  test('of messages that are not there are MEDIA_NOT_FOUND', async () => {
    await expect(session.downloadMedia(`false_${ana}@c.us_3AFFFFFFFFFFFFFFFF`, 5_000)).rejects.toMatchObject({
      code: 'MEDIA_NOT_FOUND',
    });
  }, 30_000);
});

describe('a file on its way into the page', () => {
  const bytes = randomBytes(2_000_000);
  const document = { type: 'document' as const, media: media('application/pdf', 'large.pdf') };
  const arrived = async (key: string) => (await rig.simulator.client.received({ phone: ana })).find((one) => one.key === key);
  /** Replaces the function that takes a piece; `change` is its source. */
  const takeBy = (change: string): Promise<unknown> =>
    pageOf().evaluate(`(() => {
      const { calls } = window.chasqui;
      window.realPiece ??= calls.filePiece;
      let pieces = 0;
      calls.filePiece = (${change});
    })()`);

  test('comes in pieces, byte for byte, is sent, and is then freed', async () => {
    await takeBy(
      '(input) => { window.lastToken = input.token; pieces += 1; window.pieces = pieces; return window.realPiece(input); }',
    );
    const { outcome, reservedId } = await sendContent(session, document, {}, bytes);
    expect(outcome).toMatchObject({ outcome: 'sent' });
    expect((await arrived(reservedId))?.mediaSha256).toBe(sha256(bytes));
    expect(await pageOf().evaluate('window.pieces')).toBe(Math.ceil(bytes.length / 393_216));
    // A file that is still there would be longer than its first piece.
    await until('the file to be freed', () =>
      pageOf().evaluate(`window.realPiece({ token: window.lastToken, data: btoa('abc') }) === 3`),
    );
  }, 30_000);

  test('of which the page lost a piece is not sent, and can be sent again', async () => {
    await takeBy('(input) => ((pieces += 1) === 2 ? 0 : window.realPiece(input))');
    const lost = await sendContent(session, document, {}, bytes);
    expect(lost.outcome).toMatchObject({ outcome: 'failed', reason: 'MEDIA_UPLOAD_FAILED', retryable: true });
    expect((await rig.simulator.client.journal({})).filter(({ key }) => key === lost.reservedId)).toEqual([]);
    await takeBy('window.realPiece');
    const again = await sendContent(session, document, { reservedId: lost.reservedId }, bytes);
    expect(again.outcome).toMatchObject({ outcome: 'sent' });
    expect((await arrived(lost.reservedId))?.mediaSha256).toBe(sha256(bytes));
  }, 30_000);

  test('that takes longer than the message has is not sent', async () => {
    await takeBy('(input) => new Promise((resolve) => setTimeout(() => resolve(window.realPiece(input)), 400))');
    const late = await sendContent(session, document, { deadlineMs: 1_000 }, bytes);
    await takeBy('window.realPiece');
    expect([late.outcome, late.handedOver]).toMatchObject([
      { outcome: 'failed', reason: 'CONNECTION_LOST', retryable: true },
      false,
    ]);
    expect((await rig.simulator.client.journal({})).filter(({ key }) => key === late.reservedId)).toEqual([]);
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

test('a video that the browser cannot play is refused before it is handed over; as a document it is sent', async () => {
  const page = pageOf();
  const bytes = randomBytes(2_000);
  const video = { type: 'video', media: media('video/mp4', 'a.mp4'), caption: null } as const;
  const document = { type: 'document', media: media('video/mp4', 'a.mp4'), caption: null } as const;
  const prototype = 'HTMLMediaElement.prototype';
  // As a free build of Chromium answers.
  await page.evaluate(`window.realCanPlay = ${prototype}.canPlayType;
    ${prototype}.canPlayType = (type) => (/avc1/.test(type) ? '' : 'maybe')`);
  try {
    const refused = await sendContent(session, video, {}, bytes);
    expect([refused.outcome, refused.handedOver]).toMatchObject([
      { outcome: 'failed', reason: 'CODEC_UNAVAILABLE', retryable: false },
      false,
    ]);
    expect((await sendContent(session, document, {}, bytes)).outcome).toMatchObject({ outcome: 'sent' });
    const free = { ...video, media: media('video/webm', 'a.webm') };
    expect((await sendContent(session, free, {}, bytes)).outcome).toMatchObject({ outcome: 'sent' });
  } finally {
    await page.evaluate(`${prototype}.canPlayType = window.realCanPlay`);
  }
  expect((await sendContent(session, video, {}, bytes)).outcome).toMatchObject({ outcome: 'sent' });
}, 30_000);

test('a browser that is frozen during a start, and one that is killed during it, leave no process behind', async () => {
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
    // On a busy machine the page may have loaded before the signal: then it is closed.
    const stopped = await starting.then(
      () => null,
      (error: unknown) => error,
    );
    if (stopped !== null) expect(stopped).toMatchObject({ reason: 'USER_STOPPED' });
    expect(performance.now() - began).toBeLessThan(20_000);
    await until('no process', async () => (await browsersOn(other.dir)).length === 0);

    const killed = other.launch();
    for (const pid of await processes()) process.kill(pid, 'SIGKILL');
    // On a busy machine the page may have loaded before the signal: then its end is reported.
    const end = await killed.then(
      ({ signals: ended }) => signal(ended, 'gone'),
      (error: unknown) => error,
    );
    expect(end).toMatchObject({ reason: 'BROWSER_CRASHED' });
    await until('no process', async () => (await browsersOn(other.dir)).length === 0);
  } finally {
    await other.close();
  }
}, 90_000);
