import type { ResentView } from '../../src/admin/views/delivery.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';

/** Says what a resend has done, and what each endpoint waits for. */
export function resentText({ queued, unchanged, wiped, isCut, endpoints }: ResentView): Notice {
  const now = Date.now();
  const sentences = [`${count(queued)} queued, under the same ids.`];
  for (const { title, isActive, openUntil } of endpoints.filter((endpoint) => endpoint.queued > 0)) {
    if (!isActive) sentences.push(`${title} is off: nothing is sent until it is switched on.`);
    else if (openUntil !== null && openUntil > now)
      sentences.push(`${title} is failing and is tried again in ${Math.ceil((openUntil - now) / 1000)} s.`);
  }
  if (unchanged > 0) sentences.push(`${count(unchanged)} waited already.`);
  if (wiped > 0) sentences.push(`${count(wiped)} cannot be sent: retention has removed the event.`);
  if (isCut) sentences.push('More deliveries fit the filters: resend again when these are sent.');
  return { tone: queued > 0 ? 'good' : 'bad', text: sentences.join(' ') };
}
