import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mediaTypes, type FileOption, type MediaType } from '@chasqui/shared';
import { builds, type BuildName } from '@chasqui/simulator';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';
import { fileOptions } from '../src/messages/accept/file-options.js';
import { sounds } from './support/sounds.js';

/**
 * What a phone receives is what was asked for; otherwise the request was refused, or the reply names what is different. Both real processes,
 * whatsapp-web.js in Chromium, and the simulator as WhatsApp.
 */

const ana = '5511999990001';
const me = '5511988887777';
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const files: Record<MediaType, Buffer> = {
  image: png,
  video: Buffer.concat([Buffer.from('0000001866747970', 'hex'), Buffer.from('isom\0\0\0\0isomavc1'), Buffer.alloc(64)]),
  audio: Buffer.concat([Buffer.from('ID3\x03\0\0\0\0\0\0', 'latin1'), Buffer.from('fffb9064', 'hex'), Buffer.alloc(412)]),
  voice: sounds.opus,
  document: Buffer.from('%PDF-1.4\n%%EOF'),
  sticker: png,
};
const typesOnPhone: Record<MediaType, string> = {
  image: 'image',
  video: 'video',
  audio: 'audio',
  voice: 'ptt',
  document: 'document',
  sticker: 'sticker',
};

interface Reply {
  status: number;
  body: {
    data: { id: string; whatsappId: string; type: string; content: Record<string, unknown> };
    warnings?: { code: string; message: string }[];
    error?: { code: string; details: Record<string, unknown> };
  };
}
type Received = Awaited<ReturnType<Stack['simulator']['client']['received']>>[number];

let stack: Stack;
const send = async (path: string, body: object): Promise<Reply> =>
  (await stack.api('POST', `/messages/${path}`, { recipient: ana, ...body })) as unknown as Reply;
const received = (): Promise<Received[]> => stack.simulator.client.received({ phone: ana });
const arrivalOf = async ({ body }: Reply): Promise<Received> => {
  const key = body.data.whatsappId.split('_')[2];
  return (await received()).find((message) => message.key === key)!;
};
const base64 = (bytes: Buffer): string => bytes.toString('base64');

beforeAll(async () => {
  stack = await startStack({ settings: { SEND_RATE_PER_MINUTE: '0', API_KEY_RATE_LIMIT: '0', IP_RATE_LIMIT: '0' } });
  await stack.simulator.client.createAccount({ phone: me, name: 'Shop' });
  await stack.simulator.client.createAccount({ phone: ana, name: 'Ana' });
  await stack.api('POST', '/sessions/init');
  const { body } = await stack.api<{ qrText: string }>('GET', '/sessions/current/qr');
  await stack.simulator.client.scan({ qr: body.data.qrText, phone: me });
  const status = async () => (await stack.api('GET', '/sessions/status')).body.data?.['isConnected'] === true;
  await eventually('the session to be connected', status, 60_000);
}, 180_000);
afterAll(() => stack?.close(), 60_000);

const text = 'kept as asked';
const valueOf = (option: FileOption): string | boolean =>
  ['caption', 'stickerName', 'stickerAuthor'].includes(option) ? text : true;

/** Whether the phone sees what an option asks for. */
const isSeen: Record<FileOption, (got: Received, sentAs: MediaType) => boolean> = {
  caption: (got) => got.caption === text,
  viewOnce: (got) => got.data['isViewOnce'] === true,
  hd: (got) => got.data['maxDimension'] === 2560,
  gif: (got) => got.data['isGif'] === true,
  asDocument: (got) => got.type === 'document',
  // Name and author lie inside the sticker's file: with them it has another digest than without.
  stickerName: (got) => got.mediaSha256 !== null && got.mediaSha256 !== bareSticker,
  stickerAuthor: (got) => got.mediaSha256 !== null && got.mediaSha256 !== bareSticker,
};
let bareSticker: string | null = null;

describe('every option on every type', () => {
  const options = Object.keys(fileOptions) as FileOption[];
  const sets = [[] as FileOption[], ...options.map((option) => [option]), ...options.flatMap(pairsWith)];
  function pairsWith(one: FileOption, index: number): FileOption[][] {
    return options.slice(index + 1).map((other) => [one, other]);
  }

  test.each(mediaTypes)(
    '%s: done as asked, or refused by name and not sent',
    async (type) => {
      for (const asked of sets) {
        const before = (await received()).length;
        const given = Object.fromEntries(asked.map((option) => [option, valueOf(option)]));
        const reply = await send('send-media', { type, mediaBase64: base64(files[type]), filename: 'a', ...given });
        const sentAs = asked.includes('asDocument') ? 'document' : type;
        const refused = asked.filter(
          (option) => !(fileOptions[option] as readonly MediaType[]).includes(option === 'asDocument' ? type : sentAs),
        );
        if (refused.length > 0) {
          const fields = (reply.body.error?.details['fields'] ?? []) as { path: string; code: string }[];
          expect([type, asked, reply.status, fields.map(({ path, code }) => [path, code])]).toEqual([
            type,
            asked,
            422,
            refused.map((option) => [option, 'NOT_FOR_TYPE']),
          ]);
          expect((await received()).length).toBe(before);
          continue;
        }
        expect([type, asked, reply.status]).toEqual([type, asked, 200]);
        const got = await arrivalOf(reply);
        if (type === 'sticker' && asked.length === 0) bareSticker = got.mediaSha256;
        expect([type, asked, got.type]).toEqual([type, asked, typesOnPhone[sentAs]]);
        expect([type, asked, asked.filter((option) => !isSeen[option](got, sentAs))]).toEqual([type, asked, []]);
        // Nothing that was not requested.
        const extra = (['caption', 'viewOnce', 'hd', 'gif'] as const).filter(
          (one) => !asked.includes(one) && isSeen[one](got, sentAs),
        );
        expect([type, asked, extra]).toEqual([type, asked, []]);
      }
    },
    240_000,
  );

  test('an option that the bytes rule out is refused when no type was named', async () => {
    const before = (await received()).length;
    const reply = await send('send-media', { mediaBase64: base64(files.document), viewOnce: true });
    expect([reply.status, reply.body.error?.code]).toEqual([422, 'VALIDATION_FAILED']);
    expect((await received()).length).toBe(before);
  });
});

describe('sound', () => {
  test.each(Object.keys(sounds).filter((name) => name !== 'opus') as (keyof typeof sounds)[])(
    '%s as a voice note is converted, or the reply warns',
    async (name) => {
      const reply = await send('send-media', { type: 'voice', mediaBase64: base64(sounds[name]) });
      expect([reply.status, reply.body.data?.type]).toEqual([200, 'voice']);
      const got = await arrivalOf(reply);
      const warned = reply.body.warnings?.map(({ code }) => code) ?? [];
      if (warned.length === 0) expect([got.type, got.mimetype]).toEqual(['ptt', 'audio/ogg; codecs=opus']);
      else expect([warned, got.type]).toEqual([['VOICE_NOT_CONVERTED'], 'ptt']);
    },
  );

  test('a container of film arrives as sound where sound was asked for', async () => {
    const got = await arrivalOf(await send('send-media', { type: 'audio', mediaBase64: base64(files.video) }));
    expect([got.type, got.mimetype]).toEqual(['audio', 'audio/mp4']);
  });
});

describe('contact cards, places and names', () => {
  test.each([
    ['a name and a number', { name: 'Jo Silva', phone: '+55 (0) 11 96666-0002' }],
    [
      'a card with a charset',
      { vcard: 'BEGIN:VCARD\r\nVERSION:2.1\r\nFN;CHARSET=UTF-8:Jo Silva\r\nTEL:+5511966660002\r\nEND:VCARD' },
    ],
    ['a card without FN', { vcard: 'BEGIN:VCARD\nVERSION:3.0\nN:Silva;Jo\nTEL:+5511966660002\nEND:VCARD' }],
  ])('%s arrives as a card', async (_what, contact) => {
    const got = await arrivalOf(await send('send-contact', { contacts: [contact] }));
    expect([got.type, got.data['vcardFormattedName']]).toEqual(['vcard', 'Jo Silva']);
    const pair = await arrivalOf(await send('send-contact', { contacts: [contact, { name: 'Bo', phone: '+5511966660003' }] }));
    expect([pair.type, (pair.data['vcardList'] as unknown[]).length]).toEqual(['multi_vcard', 2]);
  });

  test('a place arrives where it was meant, written as number or text', async () => {
    for (const [latitude, longitude] of [
      [-23.5, ' -46.6 '],
      ['0', '+0.5'],
      [90, '-180'],
    ] as const) {
      const got = await arrivalOf(await send('send-location', { latitude, longitude }));
      expect([got.data['lat'], got.data['lng']]).toEqual([Number(latitude), Number(longitude)]);
    }
  });

  test('the receiver of a document sees the name that the reply has, and a changed name causes a warning', async () => {
    for (const [filename, name, isChanged] of [
      [undefined, 'document.pdf', false],
      ['Invoice 10/2026.pdf', 'Invoice 10-2026.pdf', true],
      ['contract', 'contract.pdf', true],
      ['Ação 😀 100%.pdf', 'Ação 😀 100%.pdf', false],
    ] as const) {
      const reply = await send('send-media', { type: 'document', mediaBase64: base64(files.document), filename });
      const got = await arrivalOf(reply);
      const told = (reply.body.data.content['media'] as { filename: string }).filename;
      expect([got.filename, told]).toEqual([name, name]);
      expect(reply.body.warnings?.map(({ code }) => code) ?? []).toEqual(isChanged ? ['FILENAME_CHANGED'] : []);
    }
  });

  test('mentions, link preview and poll settings reach the phone', async () => {
    const mention = await arrivalOf(await send('send-text', { message: `@${ana} hi`, mentions: [`+${ana}`], linkPreview: true }));
    expect(JSON.stringify(mention.data['mentionedJidList'])).toContain(ana);
    for (const multiple of [true, false]) {
      const poll = await arrivalOf(await send('send-poll', { question: 'Lunch?', options: ['Yes', 'No'], multiple }));
      expect(poll.data['pollSelectableOptionsCount']).toBe(multiple ? 0 : 1);
    }
  });
});

/** The page of this build, and a session that is connected through it. */
async function openedWith(build: BuildName): Promise<void> {
  await stack.simulator.client.setPage({ build });
  await stack.api('POST', '/sessions/current/restart');
  await eventually(
    `a page of build ${build}`,
    async () => {
      const { body } = await stack.api('GET', '/capabilities');
      const { whatsappWebVersion } = (body as unknown as { meta: { whatsappWebVersion: string | null } }).meta;
      const { isConnected } = (await stack.api<{ isConnected: boolean }>('GET', '/sessions/status')).body.data;
      return whatsappWebVersion === builds[build] && isConnected;
    },
    90_000,
  );
}

describe.each(Object.keys(builds) as BuildName[])('on build %s', (build) => {
  const answer = 'There are no calls here.';
  beforeAll(() => openedWith(build), 120_000);

  test('a story that was posted here is taken back by its id', async () => {
    // The simulator shows stories to people who have a chat with the account.
    await send('send-text', { message: 'hello' });
    const posted = (await stack.api('POST', '/sessions/current/stories', { message: 'open today' })) as unknown as Reply;
    expect(posted.status).toBe(200);
    const onPhone = await eventually('the story to arrive', () => arrivalOf(posted));
    expect(onPhone).toMatchObject({ text: 'open today', revoked: false });
    const { whatsappId } = posted.body.data;
    const taken = await stack.api('DELETE', `/sessions/current/stories/${posted.body.data.id}`);
    expect([taken.status, taken.body.data]).toEqual([200, { whatsappId, revoked: true }]);
    expect((await arrivalOf(posted)).revoked).toBe(true);
  }, 60_000);

  test('a call is rejected by itself when the session says so, and the caller gets the answer once', async () => {
    await stack.api('PUT', '/sessions/current', { settings: { rejectCalls: { enabled: true, message: answer } } });
    const answersBefore = (await received()).filter((one) => one.text === answer).length;
    // The worker learns the setting from its next heartbeat. A call that rings before is only reported.
    const { call, event } = await eventually('a rejected call', async () => {
      const { id } = await stack.simulator.client.call({ from: ana, to: me });
      const found = await eventually('the event of the call', async () => {
        const { body } = await stack.api<{ data: CallData }[]>('GET', '/events?types=call.received&limit=200');
        return body.data.find(({ data }) => data.callId === id)?.data;
      });
      const state = (await stack.simulator.client.calls({ phone: me })).find((one) => one.id === id)?.state;
      if (!found.autoReject.attempted) await stack.simulator.client.endCall({ phone: me, id });
      return found.autoReject.attempted && { call: state, event: found };
    });
    expect([call, event.autoReject]).toEqual(['rejected', { attempted: true, confirmed: true, messageId: expect.any(String) }]);
    const message = await eventually('the answer to be sent', async () => {
      const { body } = await stack.api<{ status: string; whatsappId: string | null }>(
        'GET',
        `/messages/${event.autoReject.messageId}`,
      );
      return ['sent', 'delivered', 'read'].includes(body.data.status) && body.data;
    });
    const answers = (await received()).filter((one) => one.text === answer);
    expect(answers).toHaveLength(answersBefore + 1);
    expect(answers.at(-1)!.key).toBe(message.whatsappId!.split('_')[2]);
  }, 180_000);
});

interface CallData {
  callId: string;
  autoReject: { attempted: boolean; confirmed: boolean; messageId: string | null };
}
