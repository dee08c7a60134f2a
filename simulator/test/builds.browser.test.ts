import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type BuildName } from '../src/index.js';
import { features } from './checklist.js';
import { ana, eventOf, launch, linked, me, newProfile, patience, until, usualPatienceMs, type Rig } from './stock.js';

/** The released library works on the page that it was made for, and fails on today's in the ways that its users reported. */

describe('build classic', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await linked({ build: 'classic' });
  }, 30_000);
  afterAll(() => rig?.close());

  test.each(features)('$name', ({ run }) => run(rig), 15_000);

  test('no module was missed', async () => {
    expect(await rig.simulator.client.missing()).toEqual([]);
  });
});

/** What one build's page does and another's does not, asked of the page itself: on later builds the first defect would hide the others. */
const probes: Record<string, (page: PageModules) => unknown> = {
  'ids have `_serialized`': ({ need }) => typeof need('WAWebWidFactory').createWid('1234567@c.us')._serialized === 'string',
  'ids have `$1`': ({ need }) => typeof need('WAWebWidFactory').createWid('1234567@c.us').$1 === 'string',
  'earlier messages by chat alone': async ({ need, attempt }) =>
    attempt(() => need('WAWebChatLoadMessages').loadEarlierMsgs(need('WAWebCollections').Chat.getModelsArray()[0])),
  'earlier messages by options': async ({ need, attempt }) =>
    attempt(() => need('WAWebChatLoadMessages').loadEarlierMsgs({ chat: need('WAWebCollections').Chat.getModelsArray()[0] })),
  'prepared files carry no `__x_id`': async ({ need }) => {
    const Opaque = need('WAWebMediaOpaqueData');
    const file = await Opaque.createFromData(new Blob(['x'], { type: 'image/png' }), 'image/png');
    return !('__x_id' in (await need('WAWebPrepRawMedia').prepRawMedia(file, {}).waitForPrep()));
  },
  'a download needs no type': async ({ need, attempt }) => {
    const { directPath } = await (await fetch('/mms/upload', { method: 'POST', body: 'x' })).json();
    return attempt(() => need('WAWebDownloadManager').downloadManager.downloadAndMaybeDecrypt({ directPath }));
  },
  'a link’s preview needs no chat': async ({ need, attempt }) =>
    attempt(() => need('WAWebLinkPreviewChatAction').getLinkPreview({ href: 'https://example.com' })),
  'the block helper is there': ({ need }) => 'getContactToBlockOnlyUseIfNoAssociatedChat' in need('WAWebBlockContactUtils'),
  'the status gate is there': ({ need }) => 'canCheckStatusRankingPosterGating' in need('WAWebStatusGatingUtils'),
  'messages have avParams': ({ need }) => 'avParams' in need('WAWebCollections').Msg.modelClass.prototype,
  'errors have names': async ({ need }) => {
    try {
      need('WAWebWidFactory').createWid('');
      return null;
    } catch (error) {
      return String(error) !== 'r: r';
    }
  },
  'calls are in a map': async ({ need, attempt }) => {
    // In 2026-09b the module comes some time after the page.
    const calls = () => need('WAWebCallCollection');
    for (let waited = 0; waited < 5_000 && !(await attempt(calls)); waited += 100)
      await new Promise((next) => setTimeout(next, 100));
    return Object.values(calls()).some((value) => value instanceof Map);
  },
  'all modules are in the first bundle': async ({ need, attempt }) => attempt(() => need('WAWebChatForwardMessage')),
  'exports can be changed': ({ need }) => !Object.isFrozen(need('WAWebPinMsgConstants')),
  'groups can be made': async ({ need, attempt }) =>
    attempt(() => need('WAWebGroupCreateJob').createGroup({ title: 'x' }, [{ phoneNumber: '5511999990001@c.us' }])),
};

interface PageModules {
  need: (name: string) => any; // eslint-disable-line @typescript-eslint/no-explicit-any -- WhatsApp's modules have no types
  attempt: (act: () => unknown) => Promise<boolean>;
}

const lackingIn2026_09 = [
  'ids have `_serialized`',
  'earlier messages by chat alone',
  'prepared files carry no `__x_id`',
  'a download needs no type',
  'a link’s preview needs no chat',
  'the block helper is there',
  'the status gate is there',
  'messages have avParams',
  'errors have names',
  'groups can be made',
];

/** The names of what the page does not do. The account has a chat. */
async function lackingOn({ client }: Pick<Rig, 'client'>): Promise<string[]> {
  const lacking: string[] = [];
  for (const [name, probe] of Object.entries(probes)) {
    const has = await client.pupPage!.evaluate(`(async () => {
      const need = window.require;
      const attempt = async (act) => { try { await act(); return true; } catch { return false; } };
      return (${probe.toString()})({ need, attempt });
    })()`);
    if (has !== true) lacking.push(name);
  }
  return lacking;
}
const greeting = { from: ana, to: me, type: 'text', text: 'so that there is a chat' } as const;

describe.each<[BuildName, string[], number]>([
  ['classic', ['ids have `$1`'], 0],
  ['2026-07', ['ids have `_serialized`', 'earlier messages by chat alone'], 30],
  ['2026-09', lackingIn2026_09, 30],
])('build %s', (build, lacking, failing) => {
  test('differs from the others as reported', async () => {
    const rig = await linked({ build });
    try {
      await rig.simulator.client.deliver(greeting);
      await eventOf(rig, 'message');
      expect(await lackingOn(rig)).toEqual(lacking);
      const broken: string[] = [];
      patience.ms = 500;
      for (const feature of failing ? features : []) await feature.run(rig).catch(() => broken.push(feature.name));
      expect(broken.length).toBeGreaterThanOrEqual(failing);
    } finally {
      patience.ms = usualPatienceMs;
      await rig.close();
    }
  }, 120_000);
});

test('on build 2026-09b the library is never ready, because it looks for the calls before the page has them', async () => {
  const simulator = await startSimulator({ build: '2026-09b' });
  const profile = await newProfile();
  await simulator.client.createAccount({ phone: me, name: 'Shop' });
  await simulator.client.createAccount({ phone: ana, name: 'Ana' });
  const stage = launch(simulator, profile);
  try {
    const [qr] = await eventOf(stage, 'qr');
    await simulator.client.scan({ qr, phone: me });
    await simulator.client.deliver(greeting);
    await until('the library to fail', async () => (await simulator.client.missing()).includes('WAWebCallCollection'));
    await until('the page to have the chat', () =>
      stage.client.pupPage!.evaluate('window.require("WAWebCollections").Chat.getModelsArray().length > 0'),
    );
    expect(await lackingOn(stage)).toEqual(
      lackingIn2026_09.toSpliced(-1, 0, 'calls are in a map', 'all modules are in the first bundle', 'exports can be changed'),
    );
    expect(stage.events.map(({ name }) => name)).not.toContain('ready');
  } finally {
    await stage.client.destroy();
    await simulator.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}, 60_000);
