import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { OperationOutput } from '@chasqui/shared';
import { ana, eventOf, link, me, online, sendContent, startRig } from './harness.js';
import { fromAna } from './operations/messages.js';
import type { Stage } from './operations/scenario.js';

/** Votes whose row names the poll with the other address of its chat: with the LID where the page has the number. */

interface Started {
  pupPage: { evaluate: (script: string) => Promise<unknown> };
}
let newest: Started | null = null;
const { Client } = createRequire(import.meta.url)('whatsapp-web.js') as {
  Client: { prototype: { initialize(this: Started): Promise<void> } };
};
const { initialize } = Client.prototype;
Client.prototype.initialize = function () {
  newest = this;
  return initialize.call(this);
};

let stage: Stage;
beforeAll(async () => {
  const rig = await startRig('2026-09b');
  stage = { rig, ...(await link(rig)) };
  await online(rig);
}, 60_000);
afterAll(async () => {
  Client.prototype.initialize = initialize;
  await stage?.rig.close();
});

const poll = { type: 'poll' as const, question: 'When?', options: ['Today', 'Never'], multiple: false };
async function pollToAna() {
  const { reservedId, outcome } = await sendContent(stage.session, poll);
  if (outcome.outcome !== 'sent') throw new Error(JSON.stringify(outcome));
  return { key: reservedId, input: { whatsappId: outcome.whatsappId, chatId: `${ana}@c.us` } };
}

/** Adds the row of a vote as WhatsApp does, under the other address of the poll's chat. */
const voteElsewhere = (key: string, by: string, option: string, ageMs = 0): Promise<unknown> =>
  newest!.pupPage.evaluate(`(async () => {
    const { Msg } = window.require('WAWebCollections');
    const { createWid } = window.require('WAWebWidFactory');
    const Key = window.require('WAWebMsgKey');
    const parent = Msg.getModelsArray().find((one) => one.id.id === '${key}');
    const remote = window.require('WAWebApiContact').getAlternateUserWid(parent.id.remote);
    const id = new Key({ fromMe: parent.id.fromMe, remote, id: parent.id.id });
    const by = createWid('${by}');
    const t = Date.now() - ${ageMs};
    const { localId } = parent.pollOptions.find(({ name }) => name === '${option}');
    const row = { id, parentMsgKey: String(id), pollUpdateParentKey: id, selectedOptionLocalIds: [localId], t, senderTimestampMs: t };
    await window.require('WAWebAddonPollVoteTableMode').pollVoteTableMode.bulkUpsert([{ ...row, author: by, from: by, sender: by }]);
    return [String(parent.id), String(id)];
  })()`);
const votes = async (input: object) =>
  ((await stage.session.run('messages.votes', input as never, 8_000)) as OperationOutput<'messages.votes'>).map(
    ({ contact, options }) => [contact.phone, options],
  );

describe('a vote whose row names the poll with the other address of its chat', () => {
  test('is reported with its options', async () => {
    const { key } = await pollToAna();
    const [known, other] = (await voteElsewhere(key, `${ana}@c.us`, 'Never')) as string[];
    expect(known).not.toBe(other);
    const { payload } = await eventOf(stage.signals, 'poll.vote', (vote) => vote.key === key);
    expect([payload.options, payload.contact?.phone]).toEqual([['Never'], `+${ana}`]);
  }, 60_000);

  test('is read, and of a person with a row under each address the newest counts', async () => {
    const { key, input } = await pollToAna();
    await voteElsewhere(key, `${ana}@c.us`, 'Today', 60_000);
    expect(await votes(input)).toEqual([[`+${ana}`, ['Today']]]);
    await stage.rig.simulator.client.vote({ phone: ana, key, options: ['Never'] });
    await eventOf(stage.signals, 'poll.vote', (vote) => vote.key === key && vote.options[0] === 'Never');
    expect(await votes(input)).toEqual([[`+${ana}`, ['Never']]]);
  }, 60_000);

  test('is seen as the effect of an own vote', async () => {
    const { key, input } = await fromAna(stage, poll);
    // WhatsApp stores the own vote under the other address alone.
    await newest!.pupPage.evaluate(`(() => {
      const action = window.require('WAWebPollsSendVoteMsgAction');
      window.realVote = action.sendVote;
      action.sendVote = async () => {};
    })()`);
    const voting = stage.session.run('messages.vote', { ...input, options: ['Today'] }, 8_000);
    await voteElsewhere(key, `${me}@c.us`, 'Today');
    expect(await voting).toMatchObject({ options: ['Today'] });
    await newest!.pupPage.evaluate(`window.require('WAWebPollsSendVoteMsgAction').sendVote = window.realVote`);
  }, 60_000);
});
