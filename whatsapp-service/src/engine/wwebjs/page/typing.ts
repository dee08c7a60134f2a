/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

interface TypingInput {
  chatId: string;
  state: 'typing' | 'recording' | null;
  forMs: number;
}
/** The timers of a chat in which the account is shown as typing or recording. */
interface Shown {
  repeat: ReturnType<typeof setInterval>;
  end: ReturnType<typeof setTimeout>;
}

/** Shows the account as typing or recording in a chat for a while. */
function installTyping(): void {
  const core = (window as unknown as PageWindow).chasqui;
  if (!core || core.calls['showTyping']) return;
  const shown = new Map<string, Shown>();
  core.calls['showTyping'] = (input: TypingInput) => setTyping(core, shown, input);
}

/** Replaces the state of the chat. Rejects, and repeats nothing, if WhatsApp does not accept it. */
async function setTyping(
  core: PageCore,
  shown: Map<string, Shown>,
  { chatId, state, forMs }: TypingInput,
): Promise<{ lapsesAt: number }> {
  const repeatMs = 10_000;
  const { id } = core.requireChat(chatId);
  const key = core.serialized(id);
  endTyping(shown, key);
  await sendState(core, id, state);
  if (state === null) return { lapsesAt: Date.now() };
  // Closes: a second call replaced the state while this one waited.
  endTyping(shown, key);
  // If a repetition fails, others may see the state end until the next repetition.
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

async function sendState(core: PageCore, id: any, state: TypingInput['state']): Promise<void> {
  const bridge = core.module('WAWebChatStateBridge');
  if (state === 'typing') await bridge.sendChatStateComposing(id);
  else if (state === 'recording') await bridge.sendChatStateRecording(id);
  else await bridge.sendChatStatePaused(id);
}

export const typingScript = pageScript(installTyping, [setTyping, endTyping, sendState]);
