import { AppError } from '@chasqui/shared';

/**
 * The chats whose presence a session follows. The set outlives the browser: the session keeps it, and every page subscribes again after it is ready.
 * It ends with the worker's process.
 */
export type PresenceSubscriptions = Set<string>;

/** Limited, because each subscription is a request to WhatsApp's server after every load of the page. */
const maxSubscriptions = 200;

/** Throws `VALIDATION_FAILED` when the session already follows the maximum number of chats. */
export function requireRoom(subscriptions: PresenceSubscriptions, chatId: string): void {
  if (subscriptions.has(chatId) || subscriptions.size < maxSubscriptions) return;
  throw new AppError(
    'VALIDATION_FAILED',
    {},
    `A session follows the presence of at most ${maxSubscriptions} chats. End another one.`,
  );
}

/** Subscribes again after the page was loaded. Never rejects: a chat that fails is reported, and the others are still subscribed. */
export async function renewSubscriptions(
  subscriptions: PresenceSubscriptions,
  subscribe: (chatId: string) => Promise<unknown>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  for (const chatId of subscriptions) await subscribe(chatId).catch(onFailure);
}

const states = ['available', 'unavailable', 'typing', 'recording'] as const;
/** Reads a report of the page. Null if it has another form: the page runs code that is not ours. */
export function presenceReport(report: unknown) {
  if (typeof report !== 'object' || report === null) return null;
  const { chat, person, state, lastSeen } = report as Record<string, unknown>;
  const known = states.find((one) => one === state);
  if (typeof chat !== 'string' || typeof person !== 'string' || !known) return null;
  return { chat, person, state: known, lastSeen: typeof lastSeen === 'number' ? lastSeen : null };
}
