import type { TestOutcome } from '../../src/admin/verbs.js';
import type { Notice } from '../parts/NoticeLine.js';

/** The answer of a receiver to a test, for people. */
export function outcomeNotice({ ok, statusCode, durationMs, error }: TestOutcome): Notice {
  const outcome = statusCode === null ? `gave no answer (${error ?? 'unknown'})` : `answered ${statusCode}`;
  return { tone: ok ? 'good' : 'bad', text: `The receiver ${outcome} after ${durationMs} ms.` };
}
