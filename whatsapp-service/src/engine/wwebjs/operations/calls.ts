/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { AppError } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, read, type OperationHandlers } from './context.js';

export const calls: OperationHandlers<'calls'> = {
  'calls.link': read('calls.link', {
    needs: [need('WAWebGenerateEventCallLink', 'createEventCallLink')],
    async run({ startsAt, type }, { inPage }) {
      const url = await inPage(callLink, { seconds: Math.floor(Date.parse(startsAt) / 1_000), type });
      if (!url)
        throw new AppError('WHATSAPP_REFUSED', { operation: 'calls.link', whatsapp: { message: 'WhatsApp made no link.' } });
      return { url };
    },
  }),
  'calls.reject': change('calls.reject', {
    needs: [need('WAWebCallCollection')],
    prepare: ({ callId }) => ({ callId }),
    before: requireRinging,
    act: reject,
    effect: hasStoppedRinging,
    done: async () => ({ rejected: true as const, confirmed: true }),
  }),
};

/** Runs in the page. */
async function callLink(core: PageCore, { seconds, type }: { seconds: number; type: string }): Promise<string> {
  const link = await core.module('WAWebGenerateEventCallLink').createEventCallLink(seconds, type);
  return typeof link === 'string' ? link : '';
}

/** Runs in the page. Refuses with `CALL_NOT_FOUND` unless an incoming call with this id is ringing. Returns who calls. */
function requireRinging(core: PageCore, { callId }: { callId: string }): { peer: string } {
  const module = core.module('WAWebCallCollection');
  const collection = module.CallCollection ?? module;
  const inner = Object.values(collection).find((value) => value instanceof Map) as Map<string, any> | undefined;
  const call = [collection.activeCall, collection.get?.(callId), inner?.get(callId)].find((one) => one?.id === callId);
  const state = String(call?.getState?.() ?? call?.state ?? 'ring');
  if (!call || !/ring/i.test(state) || call.outgoing) core.refuse('CALL_NOT_FOUND', { callId });
  return { peer: core.serialized(call.peerJid) };
}

/** Runs in the page. */
async function reject(core: PageCore, { callId }: { callId: string }, { peer }: { peer: string }): Promise<void> {
  // Since July 2026 WhatsApp handles calls in a module that it loads on demand. Its functions act on the active call.
  const loadable = core.moduleIfAny('WAWebVoipBackendLoadable');
  if (loadable) {
    const voip = await loadable.requireVoipJsBackend();
    await (voip?.initialize ?? voip?.init)?.call(voip);
    const stack = await core.moduleIfAny('WAWebVoipStackInterface')?.getVoipStackInterface?.();
    const collection = core.module('WAWebCallCollection').CallCollection ?? core.module('WAWebCallCollection');
    const active = collection.activeCall;
    // Another call may have become the active one. It must not be rejected.
    if (stack?.rejectCall && (!active || active.id === callId)) {
      if (active) active.userEndedCall = true;
      await stack.rejectCall();
      return;
    }
  }
  const { wap, generateId } = core.module('WAWap');
  const child = wap('reject', { 'call-id': callId, 'call-creator': peer, count: '0' });
  const stanza = wap('call', { id: generateId(), from: core.serialized(core.me()[0]), to: peer }, [child]);
  await core.module('WADeprecatedSendIq').deprecatedCastStanza(stanza);
}

/** Runs in the page. */
function hasStoppedRinging(core: PageCore, { callId }: { callId: string }): boolean {
  const module = core.module('WAWebCallCollection');
  const collection = module.CallCollection ?? module;
  const inner = Object.values(collection).find((value) => value instanceof Map) as Map<string, any> | undefined;
  const call = [collection.activeCall, collection.get?.(callId), inner?.get(callId)].find((one) => one?.id === callId);
  return !call || !/ring/i.test(String(call.getState?.() ?? call.state ?? 'ring'));
}
