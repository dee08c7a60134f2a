import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, test } from '@jest/globals';
import { AppError, type MessageContent, type OperationId, type OperationOutput } from '@chasqui/shared';
import { ana, link, media, online, png, reserve, sendContent, startRig, text, until } from './harness.js';
import { calls } from './operations/calls.js';
import { channels } from './operations/channels.js';
import { chats } from './operations/chats.js';
import { contacts } from './operations/contacts.js';
import { groups } from './operations/groups.js';
import { labels } from './operations/labels.js';
import { messages } from './operations/messages.js';
import { profile } from './operations/profile.js';
import type { Scenario, Stage } from './operations/scenario.js';

/** A page that does not run any more, or is gone, while WhatsApp's server works on a request of it. */

const scenarios = {
  ...messages,
  ...chats,
  ...contacts,
  ...groups,
  ...channels,
  ...labels,
  ...profile,
  ...calls,
} as unknown as Record<string, Scenario<OperationId>>;

/** One or two operations of each noun. Their requests reach the server while the page runs. */
const writes = [
  ...(['messages.react', 'messages.delete', 'chats.archive', 'contacts.save', 'groups.setName', 'groups.add'] as const),
  ...(['channels.update', 'labels.create', 'profile.setAbout', 'calls.reject'] as const),
];
const reads = ['messages.search', 'contacts.about', 'groups.get', 'channels.search'] as const;

let stage: Stage;
const client = () => stage.rig.simulator.client;
const start = async (): Promise<void> => {
  const rig = await startRig('2026-09b');
  stage = { rig, ...(await link(rig)) };
  await online(rig);
};

async function renderer(): Promise<number> {
  const found = (await stage.session.pids()).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer'),
  );
  assert.ok(found);
  return found;
}
const signalPage = async (name: NodeJS.Signals): Promise<void> => void process.kill(await renderer(), name);

async function codeOf(work: Promise<unknown>): Promise<[code: string, effect: unknown]> {
  try {
    await work;
    return ['SUCCESS', null];
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return [error.code, error.details['effect']];
  }
}

/** Begins something of which the server gets the request, and answers a little later: by then the page has got the signal. */
async function interrupted<T>(op: string, name: NodeJS.Signals, begin: () => Promise<T>): Promise<T> {
  await client().fault({ op, mode: 'delay', delayMs: 1_200, count: 1 });
  const running = begin();
  running.catch(() => undefined); // It is awaited below.
  await until('the request to reach WhatsApp', async () => (await client().waitingFaults()).length === 0);
  await signalPage(name);
  return running;
}

async function carriedOut(id: OperationId): Promise<void> {
  const { arrange, verify } = scenarios[id]!;
  const { input, world, file } = await arrange(stage);
  const output = (await stage.session.run(id, input, 10_000, file)) as OperationOutput<OperationId>;
  await verify(stage, world, output);
}

/** Long enough for a request to reach the server. */
const deadlineMs = 1_500;

describe('a frozen page', () => {
  beforeAll(start, 60_000);
  afterEach(() => signalPage('SIGCONT'));
  afterAll(async () => stage?.rig.close());

  test.each(writes)(
    '%s is unknown within its deadline, and works once the page runs again',
    async (id) => {
      const { arrange, line } = scenarios[id]!;
      const { input, file } = await arrange(stage);
      const startedAt = performance.now();
      const answered = await interrupted(line!, 'SIGSTOP', () => codeOf(stage.session.run(id, input, deadlineMs, file)));
      const ms = performance.now() - startedAt;
      assert.deepEqual(answered, ['OPERATION_TIMEOUT', 'unknown']);
      // Two last looks of half a second each at most.
      assert.ok(ms < deadlineMs + 1_500, `It took ${Math.round(ms)} ms.`);
      await signalPage('SIGCONT');
      await carriedOut(id);
    },
    30_000,
  );

  test.each(reads)(
    '%s reads nothing, which has no effect, and works once the page runs again',
    async (id) => {
      const { input } = await scenarios[id]!.arrange(stage);
      await signalPage('SIGSTOP');
      assert.deepEqual(await codeOf(stage.session.run(id, input, 300)), ['OPERATION_TIMEOUT', 'none']);
      await signalPage('SIGCONT');
      await carriedOut(id);
    },
    30_000,
  );

  test('an operation that the page did not get has no effect, also not once the page runs again', async () => {
    const { input, world } = await scenarios['profile.setAbout']!.arrange(stage);
    await signalPage('SIGSTOP');
    assert.deepEqual(await codeOf(stage.session.run('profile.setAbout', input, 300)), ['OPERATION_TIMEOUT', 'none']);
    await signalPage('SIGCONT');
    await carriedOut('contacts.about');
    assert.ok((await client().accounts({})).every(({ about }) => about !== world));
  });

  test.each<[string, MessageContent, { recipient?: string; bytes?: Buffer }]>([
    ['a text', text('into the ice'), {}],
    ['an image', { type: 'image', media: media('image/png', 'a.png') }, { bytes: png }],
    ['a story', text('into the ice'), { recipient: 'status@broadcast' }],
  ])(
    '%s is uncertain, and is sent once when it is repeated',
    async (_name, content, { recipient = `${ana}@c.us`, bytes }) => {
      const { outcome, reservedId } = await interrupted('send', 'SIGSTOP', () =>
        sendContent(stage.session, content, { recipient, deadlineMs: 700 }, bytes),
      );
      assert.ok(outcome.outcome === 'uncertain' && outcome.reason === 'TIMEOUT_AFTER_HANDOVER', JSON.stringify(outcome));
      await signalPage('SIGCONT');
      const again = await sendContent(stage.session, content, { recipient, reservedId }, bytes);
      assert.equal(again.outcome.outcome, 'sent', JSON.stringify(again.outcome));
      assert.equal((await client().journal({})).filter(({ key }) => key === reservedId).length, 1);
    },
    30_000,
  );

  test('a text that is handed to a page which is already frozen is uncertain, and never sent afterwards', async () => {
    const reservedId = reserve();
    const send = { reservedId, recipient: `${ana}@c.us`, content: text('too late'), file: null, quotedMessageId: null };
    const more = { ignoreQuoteErrors: false, mentions: [], forward: null, typingMs: 0, deadlineMs: 500, isFirst: true };
    const outcome = await stage.session.send({ ...send, ...more }, async () => {
      await signalPage('SIGSTOP');
      return Infinity;
    });
    assert.equal(outcome.outcome, 'uncertain', JSON.stringify(outcome));
    await signalPage('SIGCONT');
    // The page answers calls in their order.
    assert.equal((await sendContent(stage.session, text('in time'))).outcome.outcome, 'sent');
    assert.equal((await client().journal({})).filter(({ key }) => key === reservedId).length, 0);
  }, 30_000);
});

describe('a page that is gone', () => {
  beforeEach(start, 60_000);
  afterEach(async () => stage?.rig.close());
  const react = async () => (await scenarios['messages.react']!.arrange(stage)).input;

  test('a change that its page has begun is unknown; afterwards nothing has an effect', async () => {
    const input = await react();
    const answered = await interrupted('addon', 'SIGKILL', () => codeOf(stage.session.run('messages.react', input, deadlineMs)));
    assert.deepEqual(answered, ['OPERATION_TIMEOUT', 'unknown']);
    assert.deepEqual(await codeOf(stage.session.run('messages.react', input, 300)), ['OPERATION_TIMEOUT', 'none']);
    assert.deepEqual(await codeOf(stage.session.run('contacts.about', { contactId: `${ana}@c.us` }, 300)), [
      'OPERATION_TIMEOUT',
      'none',
    ]);
  }, 30_000);

  test('the same when the browser ends with it, at once', async () => {
    const input = await react();
    await client().fault({ op: 'addon', mode: 'delay', delayMs: 400, count: 1 });
    const answered = codeOf(stage.session.run('messages.react', input, 20_000));
    await until('the request to reach WhatsApp', async () => (await client().waitingFaults()).length === 0);
    for (const pid of await stage.session.pids()) process.kill(pid, 'SIGKILL');
    assert.deepEqual(await answered, ['WHATSAPP_ERROR', 'unknown']);
    assert.deepEqual(await codeOf(stage.session.run('messages.react', input, 5_000)), ['WHATSAPP_ERROR', 'none']);
    assert.deepEqual(await codeOf(stage.session.run('contacts.about', { contactId: `${ana}@c.us` }, 5_000)), [
      'WHATSAPP_ERROR',
      'none',
    ]);
  }, 30_000);
});
