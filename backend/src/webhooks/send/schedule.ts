import type { WebhookRetry } from '../webhook.entity.js';

export interface Schedule {
  /** Milliseconds before each retry. */
  delays: readonly number[];
  /** Whether the last delay repeats until the window ends, or the list is all. */
  repeats: boolean;
  maxRetries: number | null;
  windowMs: number;
}

const withRetries = (list: readonly number[], maxRetries: number): number[] => {
  const delays = list.slice(0, maxRetries);
  // Longer than the list: each further delay is three times the one before.
  while (delays.length < maxRetries && delays.length > 0) delays.push(delays.at(-1)! * 3);
  return delays;
};

/** An endpoint's own list and number count before the installation's. */
export function scheduleOf(installation: Schedule, own: WebhookRetry | null): Schedule {
  const delays = own?.delaysMs ?? installation.delays;
  const repeats = own?.delaysMs ? false : installation.repeats;
  return { ...installation, delays, repeats, maxRetries: own?.maxRetries ?? (own?.delaysMs ? null : installation.maxRetries) };
}

/**
 * When a delivery is tried again that has failed `attempts` times; null: never. Jitter of 20 % keeps those that failed together from
 * coming back together; what the receiver asked for (`retryAfterMs`, at maxRetries twelve hours) is a lower bound.
 */
export function nextAttempt(
  schedule: Schedule,
  {
    attempts,
    since,
    now,
    retryAfterMs,
    random,
  }: { attempts: number; since: number; now: number; retryAfterMs: number; random: () => number },
): number | null {
  const { maxRetries, repeats, windowMs } = schedule;
  const delays = maxRetries === null ? schedule.delays : withRetries(schedule.delays, maxRetries);
  const delay = delays[attempts - 1] ?? (repeats && maxRetries === null ? delays.at(-1) : undefined);
  if (delay === undefined) return null;
  const wait = Math.max(delay * (0.8 + 0.4 * random()), Math.min(retryAfterMs, 12 * 3_600_000));
  const at = now + wait;
  // The window alone would count a clock that was set, and days in which nothing could be tried: those attempts are made all the same.
  return at > since + windowMs && attempts >= attemptsIn(windowMs, delays) ? null : at;
}

/** How many attempts a delivery that fails from its beginning has had when so much time is over, by the list alone. */
function attemptsIn(windowMs: number, delays: readonly number[]): number {
  let sum = 0;
  const index = delays.findIndex((delay) => (sum += delay) > windowMs);
  return index === -1 ? delays.length : index;
}
