import type { SessionSettings } from '@chasqui/shared';

/**
 * How fast a session may send: `perMinute` in any 60 seconds, and a gap between two messages to one chat. A single message after
 * silence leaves at once; only a stream is held. In memory: a restart forgives one minute.
 */
export function createPacing(random: () => number) {
  const sent = new Map<string, number[]>();
  const lastInChat = new Map<string, number>();

  return {
    /** Milliseconds that this message still has to wait; 0: it may go now. */
    waitMs(sessionId: string, chatId: string, pacing: SessionSettings['pacing'], now: number): number {
      if (pacing.perMinute === 0) return 0;
      const recent = (sent.get(sessionId) ?? []).filter((at) => at > now - 60_000);
      sent.set(sessionId, recent);
      const forMinute = recent.length < pacing.perMinute ? 0 : recent[recent.length - pacing.perMinute]! + 60_000 - now;
      const last = lastInChat.get(`${sessionId} ${chatId}`);
      const forChat = last === undefined ? 0 : last + pacing.chatGapMs - now;
      return Math.max(0, forMinute, forChat);
    },
    note(sessionId: string, chatId: string, pacing: SessionSettings['pacing'], now: number): void {
      if (pacing.perMinute === 0) return;
      sent.set(sessionId, [...(sent.get(sessionId) ?? []), now]);
      if (lastInChat.size > 50_000) lastInChat.clear();
      lastInChat.set(`${sessionId} ${chatId}`, now + Math.round(random() * pacing.jitterMs));
    },
  };
}
export type Pacing = ReturnType<typeof createPacing>;
