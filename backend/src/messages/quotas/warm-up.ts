import type { WarmUp } from '@chasqui/shared';

const dayMs = 86_400_000;
/** As high as the highest daily limit. */
const maxLimit = 100_000_000;

/** Returns how many messages the plan allows on a day (`2026-11-21`); null before its first day and after its last. */
export function warmUpLimit({ startedOn, messagesPerDay, growth, until }: WarmUp, day: string): number | null {
  if (day < startedOn || (until !== undefined && day > until)) return null;
  const days = Math.round((Date.parse(`${day}T00:00:00Z`) - Date.parse(`${startedOn}T00:00:00Z`)) / dayMs);
  return Math.min(maxLimit, Math.floor(messagesPerDay * growth ** days));
}
