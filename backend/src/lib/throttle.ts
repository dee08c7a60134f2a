import type { SessionSettings } from '@chasqui/shared';

/**
 * Slows a session down after WhatsApp has restricted its account: half its pace for an hour, three quarters for another hour, then its own pace
 * again. The stored throttle says when it began; the factor follows from the time, so nothing has to run for it to end.
 */

type Pace = SessionSettings['pacing'];
/** When a session was slowed down, and why. */
export interface Throttle {
  since: string;
  reason: string;
}

/** The factors, one after the other, each for this long. */
export const throttleSteps = [0.5, 0.75] as const;
const stepMs = 3_600_000;
/** The pace, in messages a minute, that is slowed down in sessions whose settings set no limit. */
const unlimitedPerMinute = 60;

/** When the session has its own pace again. Milliseconds. */
export const endOfThrottle = ({ since }: Throttle): number => Date.parse(since) + throttleSteps.length * stepMs;

/** The part of its own pace that a session has now; 1 without a throttle. */
export function factorAt(throttle: Throttle | null | undefined, nowMs: number): number {
  if (!throttle) return 1;
  const passed = nowMs - Date.parse(throttle.since);
  // The clock was set back: the first step counts.
  return throttleSteps[Math.max(0, Math.floor(passed / stepMs))] ?? 1;
}

/** The pace of a session under its throttle. */
export function throttledPace(pace: Pace, throttle: Throttle | null | undefined, nowMs: number): Pace {
  const factor = factorAt(throttle, nowMs);
  if (factor === 1) return pace;
  const perMinute = pace.perMinute === 0 ? unlimitedPerMinute : pace.perMinute;
  return {
    ...pace,
    perMinute: Math.max(1, Math.floor(perMinute * factor)),
    chatGapMs: Math.round(pace.chatGapMs / factor),
    jitterMs: Math.round(pace.jitterMs / factor),
  };
}
