import type { SessionSettings } from '@chasqui/shared';

type Pace = SessionSettings['pacing'];

const windowMs = 60_000;

/**
 * How fast a session may send: `perMinute` in any 60 seconds, and a gap between two messages to one chat. A single message after
 * silence leaves at once; only a stream is held. In memory: a restart forgives one minute.
 */
export function createPacing(random: () => number) {
  const sent = new Map<string, number[]>();
  /** Session → chat → until when nothing more goes to it. */
  const resting = new Map<string, Map<string, number>>();

  return {
    /** Milliseconds until this session may send anything; 0: now. */
    waitMs(sessionId: string, pace: Pace, now: number): number {
      if (pace.perMinute === 0) return 0;
      const recent = (sent.get(sessionId) ?? []).filter((at) => at > now - windowMs);
      sent.set(sessionId, recent);
      return recent.length < pace.perMinute ? 0 : recent[recent.length - pace.perMinute]! + windowMs - now;
    },
    /** Chats that got a message just now, and in how many milliseconds the first of them may get the next. */
    resting(sessionId: string, now: number): { chats: string[]; soonestMs: number } {
      const chats = resting.get(sessionId) ?? new Map<string, number>();
      for (const [chatId, until] of chats) if (until <= now) chats.delete(chatId);
      if (chats.size === 0) resting.delete(sessionId);
      return { chats: [...chats.keys()], soonestMs: Math.min(...chats.values()) - now };
    },
    note(sessionId: string, chatId: string, pace: Pace, now: number): void {
      if (pace.perMinute === 0) return;
      sent.set(sessionId, [...(sent.get(sessionId) ?? []), now]);
      const chats = resting.get(sessionId) ?? new Map<string, number>();
      resting.set(sessionId, chats.set(chatId, now + pace.chatGapMs + Math.round(random() * pace.jitterMs)));
    },
  };
}
export type Pacing = ReturnType<typeof createPacing>;
