import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { AppError, operations, type OperationId, type OperationOutput } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import { needsOf } from '../../src/engine/wwebjs/operations/index.js';
import { ana, link, online, startRig } from './harness.js';
import { calls } from './operations/calls.js';
import { channels } from './operations/channels.js';
import { chats } from './operations/chats.js';
import { communities } from './operations/communities.js';
import { contacts } from './operations/contacts.js';
import { groups } from './operations/groups.js';
import { history } from './operations/history.js';
import { labels } from './operations/labels.js';
import { messages } from './operations/messages.js';
import { presence } from './operations/presence.js';
import { profile } from './operations/profile.js';
import type { Scenario, Stage } from './operations/scenario.js';
import { stories } from './operations/stories.js';

/**
 * Every operation of the table. On every simulated build: its effect is seen where others see it, and WhatsApp's refusal is told as one. On the newest
 * build also with the answer lost, with nothing answered, with functions of the page that resolve without an effect, and with a module missing: each
 * gives its code, and an effect that is unknown is told as unknown. `frozen.browser.test.ts` has the page that does not run.
 */
const scenarios: { [Id in OperationId]: Scenario<Id> } = {
  ...messages,
  ...chats,
  ...labels,
  ...presence,
  ...contacts,
  ...history,
  ...profile,
  ...groups,
  ...communities,
  ...channels,
  ...calls,
  ...stories,
};
const ids = Object.keys(scenarios) as OperationId[];
const byId = scenarios as unknown as Record<OperationId, Scenario<OperationId>>;

/** Long enough for an operation that works, short enough to wait for in vain. One that is refused ends by itself. */
const faultyMs = 900;

async function run(stage: Stage, id: OperationId, deadlineMs = 10_000) {
  const { arrange, verify } = byId[id];
  const { input, world, file } = await arrange(stage);
  return {
    go: async () => (await stage.session.run(id, input, deadlineMs, file)) as OperationOutput<OperationId>,
    verify: (output: OperationOutput<OperationId>) => verify(stage, world, output),
  };
}

const codeOf = async (work: Promise<unknown>): Promise<{ code: string; effect: unknown; details?: unknown }> => {
  try {
    await work;
    return { code: 'SUCCESS', effect: null };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { code: error.code, effect: error.details['effect'] ?? null, details: error.details };
  }
};

/** Of the functions that an operation needs, those that do more than read. */
function carriersOf(id: OperationId): Record<string, string[]> {
  const reads = /^(can|fetch|find|get|query)|\.(can|find|get|search)|^load|^(Stream|WAWebNewsletterCollection)\./;
  const functions = needsOf(id).flatMap(({ module, functions: names }) => names.map((name) => [module, name] as const));
  const carrying = functions.filter(([, name]) => !reads.test(name));
  return Object.fromEntries(
    carrying.map(([module]) => [module, carrying.flatMap(([of, name]) => (of === module ? [name] : []))]),
  );
}

let stage: Stage;
const begin = (build: BuildName) => async (): Promise<void> => {
  const rig = await startRig(build);
  stage = { rig, ...(await link(rig)) };
  await online(rig);
};

const carried = ids.filter((id) => byId[id].line !== null);
/** Runs an operation while the line to WhatsApp's server fails. */
async function faulty(id: OperationId, mode: 'fail' | 'drop' | 'dropReply') {
  const { client } = stage.rig.simulator;
  const { go } = await run(stage, id, mode === 'fail' ? undefined : faultyMs);
  await client.fault({ op: byId[id].line!, mode, count: 20, status: 403 });
  const answered = await codeOf(go());
  await client.clearFaults();
  return { answered };
}

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('on build %s', (build) => {
  beforeAll(begin(build), 60_000);
  afterAll(async () => stage?.rig.close());

  test.each(ids)(
    'the effect of %s is seen',
    async (id) => {
      const { go, verify } = await run(stage, id);
      await verify(await go());
    },
    20_000,
  );

  test.each(carried)(
    'WhatsApp refuses %s',
    async (id) => {
      const { answered } = await faulty(id, 'fail');
      const { refusedAs = 'WHATSAPP_REFUSED' } = byId[id];
      assert.equal(answered.code, refusedAs === null ? 'SUCCESS' : refusedAs, JSON.stringify(answered));
    },
    20_000,
  );

  test('no operation asked for a module that the page does not have', async () => {
    const since2026_09 = ['WAWebGroupMutationParticipantUtils', 'WAWebVoipBackendLoadable'];
    // Asked for only if the page has it; in 2026-09b it comes some time after the page.
    const known: Record<BuildName, string[]> = {
      classic: since2026_09,
      '2026-07': since2026_09,
      '2026-09': [],
      '2026-09b': ['WAWebCallCollection'],
    };
    const missing = await stage.rig.simulator.client.missing();
    assert.equal(missing.filter((module) => !known[build].includes(module)).join(), '');
  });
});

describe('when something fails', () => {
  beforeAll(begin('2026-09b'), 60_000);
  afterAll(async () => stage?.rig.close());
  test.each(carried)(
    'the answer to %s is lost: never called a failure',
    async (id) => {
      const { answered } = await faulty(id, 'dropReply');
      const unknown = operations[id].effect === 'read' ? 'none' : 'unknown';
      assert.ok(
        answered.code === 'SUCCESS' ||
          (answered.code === 'OPERATION_TIMEOUT' && [unknown, 'seen'].includes(String(answered.effect))),
        JSON.stringify(answered),
      );
    },
    20_000,
  );

  test.each(carried)(
    'nothing answers %s: unknown',
    async (id) => {
      const { answered } = await faulty(id, 'drop');
      const effect = operations[id].effect === 'read' ? 'none' : 'unknown';
      assert.deepEqual([answered.code, answered.effect], ['OPERATION_TIMEOUT', effect], JSON.stringify(answered));
    },
    20_000,
  );

  const changing = ids.filter((id) => operations[id].effect === 'write' && byId[id].hollow !== null);
  test.each(changing)(
    'what WhatsApp’s page calls a success of %s, without an effect, is not one',
    async (id) => {
      const { client } = stage.rig.simulator;
      const { go } = await run(stage, id, faultyMs);
      await client.hollow({ functions: byId[id].hollow ?? carriersOf(id) });
      const answered = await codeOf(go());
      const called = await client.hollow({ functions: {} });
      assert.notDeepEqual(called, [], `${id} reached none of its functions.`);
      const { hollowAs = operations[id].support === 'degraded' ? 'SUCCESS' : 'OPERATION_TIMEOUT' } = byId[id];
      assert.deepEqual(
        [answered.code, answered.effect],
        [hollowAs, hollowAs === 'SUCCESS' ? null : 'unknown'],
        JSON.stringify({ answered, called }),
      );
    },
    20_000,
  );

  test.each(ids.filter((id) => byId[id].without !== null))(
    'the page has no module for %s',
    async (id) => {
      const module = byId[id].without ?? needsOf(id)[0]!.module;
      const { go } = await run(stage, id);
      await stage.rig.simulator.client.withoutModules({ names: [module] });
      // The page hears of it before it gets the answer to this, if it can still ask.
      await codeOf(stage.session.run('contacts.check', { numbers: [ana] }, 5_000));
      const answered = await codeOf(go());
      await stage.rig.simulator.client.withoutModules({ names: [] });
      assert.equal(answered.code, 'NOT_SUPPORTED_BY_WHATSAPP', JSON.stringify(answered));
      assert.match(JSON.stringify(answered.details), new RegExp(module));
    },
    20_000,
  );
});
