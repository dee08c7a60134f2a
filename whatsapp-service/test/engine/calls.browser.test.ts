import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { AppError, type OperationId, type OperationInput, type OperationOutput } from '@chasqui/shared';
import type { BuildName } from '@chasqui/simulator';
import { link, me, online, startRig, until } from './harness.js';
import { ringing, stateOf } from './operations/calls.js';
import { bruno } from './operations/groups.js';
import type { Stage } from './operations/scenario.js';

/** Calls in the cases that the table of scenarios does not have: over, unknown, two at once, and ended while they are being rejected. */

let stage: Stage;
const run = async <Id extends OperationId>(id: Id, input: Partial<OperationInput<Id>>): Promise<OperationOutput<Id>> =>
  (await stage.session.run(id, input, 10_000)) as OperationOutput<Id>;
const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'SUCCESS';
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return error.code;
  }
};
const client = () => stage.rig.simulator.client;
const begin = (build: BuildName) => async (): Promise<void> => {
  const rig = await startRig(build);
  stage = { rig, ...(await link(rig)) };
  await online(rig);
};

describe('calls', () => {
  beforeAll(begin('2026-09b'), 60_000);
  afterAll(async () => stage?.rig.close());

  test('a call that is over, or never was, is CALL_NOT_FOUND', async () => {
    assert.equal(await codeOf(run('calls.reject', { callId: 'none' })), 'CALL_NOT_FOUND');
    const callId = await ringing(stage);
    await run('calls.reject', { callId });
    assert.equal(await codeOf(run('calls.reject', { callId })), 'CALL_NOT_FOUND');
  });

  test('with two calls, only the one that was named is rejected, or none', async () => {
    await client().createAccount({ phone: bruno, name: 'Bruno' });
    const first = await ringing(stage);
    const second = await ringing(stage, bruno);
    const code = await codeOf(stage.session.run('calls.reject', { callId: first }, 3_000));
    assert.equal(await stateOf(stage, second), 'ringing');
    assert.equal(await stateOf(stage, first), code === 'SUCCESS' ? 'rejected' : 'ringing');
    await run('calls.reject', { callId: second });
  });

  test('there is no link to a call in the past', async () => {
    const work = run('calls.link', { startsAt: '2020-01-01T00:00:00.000Z', type: 'voice' });
    assert.equal(await codeOf(work), 'WHATSAPP_REFUSED');
  });
});

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('on build %s', (build) => {
  beforeAll(begin(build), 60_000);
  afterAll(async () => stage?.rig.close());

  test('a call that the caller ends while it is being rejected is not called rejected', async () => {
    const callId = await ringing(stage);
    await client().fault({ op: 'call_reject', mode: 'delay', delayMs: 700, count: 1 });
    const answered = run('calls.reject', { callId });
    await until('the request to be on its way', async () => (await client().waitingFaults()).length === 0);
    await client().endCall({ phone: me, id: callId });
    const { rejected, confirmed } = await answered;
    assert.deepEqual([rejected, confirmed], [false, false]);
    assert.equal(await stateOf(stage, callId), 'ended');
  });
});
