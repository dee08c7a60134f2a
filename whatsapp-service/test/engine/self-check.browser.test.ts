import { afterEach, describe, expect, test } from '@jest/globals';
import { operationIds, selfCheck, type OperationId, type SelfCheck } from '@chasqui/shared';
import { builds, type BuildName } from '@chasqui/simulator';
import type { EngineSession, EngineSignal } from '../../src/engine/engine.js';
import { needsOf } from '../../src/engine/wwebjs/operations/index.js';
import { link, startRig, until, type Rig } from './harness.js';

/** After each `ready` the page is asked for every function that the operations call. */

let rig: Rig;
afterEach(async () => rig?.close());

const checksIn = (signals: readonly EngineSignal[]): SelfCheck[] =>
  signals.flatMap((signal) => (signal.type === 'checked' ? [signal.check] : []));
const nextCheck = (signals: readonly EngineSignal[], after: number): Promise<SelfCheck> =>
  until('a check', () => checksIn(signals)[after]);
async function reloadWithout(session: EngineSession, signals: readonly EngineSignal[], names: string[]): Promise<SelfCheck> {
  const before = checksIn(signals).length;
  await rig.simulator.client.withoutModules({ names });
  await session.reload(5_000);
  return nextCheck(signals, before);
}
const usersOf = (module: string): OperationId[] =>
  operationIds.filter((id) => needsOf(id).some((need) => need.module === module)).sort();

describe.each<BuildName>(['classic', '2026-07', '2026-09', '2026-09b'])('build %s', (build) => {
  test('has every function of every operation, and the check follows ready', async () => {
    rig = await startRig(build);
    const { session, signals } = await link(rig);
    const check = await nextCheck(signals, 0);
    expect(selfCheck.parse(check)).toMatchObject({
      missing: {},
      partial: {},
      unchecked: [],
      essential: [],
      whatsappWebVersion: builds[build],
    });
    const types = signals.map(({ type }) => type);
    expect(types.indexOf('checked')).toBeGreaterThan(types.indexOf('ready'));
    // One kind of edit that cannot work leaves the other; both together are the whole operation.
    const [forTexts, forEvents] = ['WAWebSendMessageEditAction', 'WAWebSendEventEditMsgAction'];
    const withoutEvents = await reloadWithout(session, signals, [forEvents]);
    expect([withoutEvents.partial, withoutEvents.missing]).toEqual([
      { 'messages.edit': [{ part: 'calendar events', missing: [forEvents] }] },
      {},
    ]);
    const withoutBoth = await reloadWithout(session, signals, [forTexts, forEvents]);
    expect([withoutBoth.partial, withoutBoth.missing]).toEqual([{}, { 'messages.edit': [forTexts, forEvents] }]);
  }, 90_000);
});

describe('a page that loads without a module', () => {
  test('lacks exactly the operations that call it, and has them again after the next load', async () => {
    rig = await startRig('2026-09b');
    const { session, signals } = await link(rig);
    await nextCheck(signals, 0);
    const check = await reloadWithout(session, signals, ['WAWebQueryExistsJob']);
    expect(Object.keys(check.missing).sort()).toEqual(usersOf('WAWebQueryExistsJob'));
    expect(check.missing['contacts.check']).toEqual(['WAWebQueryExistsJob']);
    expect([check.essential, check.unchecked]).toEqual([[], []]);
    expect((await reloadWithout(session, signals, [])).missing).toEqual({});
  }, 60_000);

  test('rejects calls in the way that the page has left', async () => {
    rig = await startRig('2026-09b');
    const { session, signals } = await link(rig);
    await nextCheck(signals, 0);
    const backend = 'WAWebVoipBackendLoadable';
    expect((await reloadWithout(session, signals, [backend])).missing).toEqual({});
    expect((await reloadWithout(session, signals, ['WAWap'])).missing).toEqual({});
    expect((await reloadWithout(session, signals, [backend, 'WAWap'])).missing).toEqual({ 'calls.reject': [backend] });
  }, 60_000);

  test('without the module that sends, an essential function is missing', async () => {
    rig = await startRig('2026-09b');
    const { session, signals } = await link(rig);
    expect((await nextCheck(signals, 0)).essential).toEqual([]);
    const check = await reloadWithout(session, signals, ['WAWebSendMsgChatAction']);
    expect(check.essential).toEqual(['WAWebSendMsgChatAction']);
  }, 60_000);
});
