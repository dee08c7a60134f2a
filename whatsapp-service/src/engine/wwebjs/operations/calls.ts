/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { AppError } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, needEither, read, type OperationHandlers } from './context.js';

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
    needs: [
      need('WAWebCallCollection'),
      // Builds before July 2026 have no backend of calls, and reject by a stanza.
      needEither(
        need('WAWebVoipBackendLoadable', 'requireVoipJsBackend'),
        need('WAWap', 'wap', 'generateId'),
        need('WADeprecatedSendIq', 'deprecatedCastStanza'),
      ),
    ],
    prepare: ({ callId }) => ({ callId }),
    before: requireRinging,
    act: reject,
    effect: hasStoppedRinging,
    async done(_input, { identities }, { before: { peer, isGroup }, result }) {
      await identities.learn([peer]);
      const contact = isGroup || peer === '' ? null : identities.contact(peer);
      return { rejected: result !== 'ended', confirmed: result === 'rejected', contact };
    },
  }),
};

/** Runs in the page. */
async function callLink(core: PageCore, { seconds, type }: { seconds: number; type: string }): Promise<string> {
  const link = await core.module('WAWebGenerateEventCallLink').createEventCallLink(seconds, type);
  return typeof link === 'string' ? link : '';
}

/** Runs in the page. Refuses with `CALL_NOT_FOUND` unless an incoming call with this id is ringing. Returns who calls. */
function requireRinging(core: PageCore, { callId }: { callId: string }): { peer: string; isGroup: boolean } {
  const module = core.module('WAWebCallCollection');
  const collection = module.CallCollection ?? module;
  const inner = Object.values(collection).find((value) => value instanceof Map) as Map<string, any> | undefined;
  const call = [collection.activeCall, collection.get?.(callId), inner?.get(callId)].find((one) => one?.id === callId);
  const state = String(call?.getState?.() ?? call?.state ?? 'ring');
  if (!call || !/ring/i.test(state) || call.outgoing) core.refuse('CALL_NOT_FOUND', { callId });
  return { peer: core.serialized(call.peerJid), isGroup: Boolean(call.isGroup) };
}

/** How a call stopped ringing: `ended`: the caller hung up, or it was accepted or rejected on the phone. Null: the page does not say. */
type CallEnd = 'rejected' | 'ended' | null;

/** Runs in the page. Returns how the call stopped ringing, for which it waits two seconds. */
async function reject(core: PageCore, { callId }: { callId: string }, { peer }: { peer: string }): Promise<CallEnd> {
  const module = core.module('WAWebCallCollection');
  const collection = module.CallCollection ?? module;
  const inner = Object.values(collection).find((value) => value instanceof Map) as Map<string, any> | undefined;
  // The page forgets a call that has stopped ringing, so its model is read here.
  const call = [collection.activeCall, collection.get?.(callId), inner?.get(callId)].find((one) => one?.id === callId);
  const state = (): string => String(call?.getState?.() ?? call?.state ?? 'ring');
  if (!/ring/i.test(state())) return 'ended';
  const ask = async (): Promise<void> => {
    // Since July 2026 WhatsApp handles calls in a module that it loads on demand. Its functions act on the active call.
    const loadable = core.moduleIfAny('WAWebVoipBackendLoadable');
    if (loadable) {
      const voip = await loadable.requireVoipJsBackend();
      await (voip?.initialize ?? voip?.init)?.call(voip);
      const stack = await core.moduleIfAny('WAWebVoipStackInterface')?.getVoipStackInterface?.();
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
  };
  await ask();
  for (let waited = 0; /ring/i.test(state()) && waited < 2_000; waited += 50) await new Promise((next) => setTimeout(next, 50));
  if (/ring/i.test(state())) return null;
  return /reject/i.test(state()) ? 'rejected' : 'ended';
}

/** Runs in the page. */
function hasStoppedRinging(core: PageCore, { callId }: { callId: string }): boolean {
  const module = core.module('WAWebCallCollection');
  const collection = module.CallCollection ?? module;
  const inner = Object.values(collection).find((value) => value instanceof Map) as Map<string, any> | undefined;
  const call = [collection.activeCall, collection.get?.(callId), inner?.get(callId)].find((one) => one?.id === callId);
  return !call || !/ring/i.test(String(call.getState?.() ?? call.state ?? 'ring'));
}
