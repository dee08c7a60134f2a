/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

interface TypingAsked {
  chatId: string;
  state: 'typing' | 'recording' | null;
  forMs: number;
}
/** The timers of a chat that shows a state. */
interface Shown {
  repeat: ReturnType<typeof setInterval>;
  end: ReturnType<typeof setTimeout>;
}

/** Shows the account as typing or recording in a chat, for as long as was asked. */
function installTyping(): void {
  const core = (window as unknown as PageWindow).chasqui;
  if (!core || core.calls['showTyping']) return;
  const shown = new Map<string, Shown>();
  core.calls['showTyping'] = (asked: TypingAsked) => setTyping(core, shown, asked);
}

/** Replaces the state of the chat. Rejects if WhatsApp does not take it; then nothing is repeated. */
async function setTyping(
  core: PageCore,
  shown: Map<string, Shown>,
  { chatId, state, forMs }: TypingAsked,
): Promise<{ lapsesAt: number }> {
  const repeatMs = 10_000;
  const { id } = core.requireChat(chatId);
  const key = core.serialized(id);
  endTyping(shown, key);
  await sendState(core, id, state);
  if (state === null) return { lapsesAt: Date.now() };
  // Closes: a second call replaced the state while this one waited.
  endTyping(shown, key);
  // A repetition that fails is followed by the next one; the other side stops showing the state meanwhile.
  const repeat = setInterval(() => void sendState(core, id, state).catch(() => undefined), repeatMs);
  const end = setTimeout(() => {
    endTyping(shown, key);
    void sendState(core, id, null).catch(() => undefined);
  }, forMs);
  shown.set(key, { repeat, end });
  return { lapsesAt: Date.now() + forMs };
}

function endTyping(shown: Map<string, Shown>, key: string): void {
  const known = shown.get(key);
  if (!known) return;
  clearInterval(known.repeat);
  clearTimeout(known.end);
  shown.delete(key);
}

async function sendState(core: PageCore, id: any, state: TypingAsked['state']): Promise<void> {
  const bridge = core.module('WAWebChatStateBridge');
  if (state === 'typing') await bridge.sendChatStateComposing(id);
  else if (state === 'recording') await bridge.sendChatStateRecording(id);
  else await bridge.sendChatStatePaused(id);
}

export const typingScript = pageScript(installTyping, [setTyping, endTyping, sendState]);
