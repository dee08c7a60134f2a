import { createHash } from 'node:crypto';
import type { ObservedMessage } from '@chasqui/shared';
import type { Store } from '../store.js';
import type { WorkerEvent } from './worker-event.js';

/**
 * A record of which messages were emitted to the backend, and in which state. A message that arrives both live and by backfill is emitted once; one
 * that was edited, deleted, completed, reacted to or starred in between is emitted again. Phone numbers in the key are hashed, so the file names no person.
 */
export interface SeenMessage {
  key: string;
  /** Null: the event changes the state of a message that was emitted before. */
  state: string | null;
  origin: 'live' | 'backfill' | 'asked' | 'compare';
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** Returns a key that includes the direction and the sender, because a sender chooses the key of a message and may choose one that is in use. */
const keyOf = ({ key, whatsappId, fromMe }: { key: string; whatsappId: string; fromMe?: boolean | undefined }): string =>
  `${key} ${digest(whatsappId || String(fromMe))}`;

const keyIn = (seenKey: string): string => seenKey.slice(0, seenKey.lastIndexOf(' '));

/**
 * Returns a digest of the state. It starts with `r` while the message has reactions or a star, with `p` while its content is missing, otherwise with
 * `-`.
 */
function stateOf({ content, editedAt, revokedAt, reactions, starred, fromMe, ack }: ObservedMessage): string {
  const type = content.type === 'withheld' ? content.of : content.type;
  const isPlaceholder =
    content.type === 'withheld' ? content.of === 'unknown' : content.type === 'unknown' && content.placeholder !== undefined;
  const reactionTexts = (reactions ?? []).map(({ contact, emoji }) => `${contact?.id ?? ''} ${emoji}`).sort();
  const marks = starred ? ['starred'] : [];
  const kind = isPlaceholder ? 'placeholder' : type;
  const rest = [kind, editedAt ?? null, Boolean(revokedAt), reactionTexts, fromMe ? ack : null, ...marks];
  return `${isPlaceholder ? 'p' : starred || reactionTexts.length > 0 ? 'r' : '-'}${digest(JSON.stringify(rest))}`;
}
const isMarked = ({ editedAt, revokedAt, reactions, starred }: ObservedMessage): boolean =>
  Boolean(editedAt ?? revokedAt) || starred === true || (reactions ?? []).length > 0;

/** Returns the message that an event is about, and its state; null for other events. */
export function seenIn(event: WorkerEvent): SeenMessage | null {
  switch (event.event) {
    case 'message.observed': {
      const { message, origin } = event.payload;
      // An older message without edit, deletion, reaction or star is compared only if it was emitted before.
      const state = `${stateOf(message)}${origin === 'compare' && !isMarked(message) ? '?' : ''}`;
      return { key: keyOf(message), state, origin };
    }
    case 'message.edited':
    case 'message.revoked':
    case 'message.reaction':
      return { key: keyOf(event.payload), state: null, origin: 'live' };
    case 'message.marked':
      // A pin is not part of the state: no scan compares it.
      return event.payload.starred === undefined ? null : { key: keyOf(event.payload), state: null, origin: 'live' };
    default:
      return null;
  }
}

export interface SeenMessages {
  /** Records the message of an event, in the transaction that stores the event. Returns whether the event is new. */
  note(sessionId: string, seen: SeenMessage, now: number): boolean;
  /**
   * Keys of the messages that had a reaction, a star or a change since `since` (milliseconds), or whose content was missing, newest first. The next
   * scan compares their state.
   */
  watched(sessionId: string, since: number): string[];
}

const maxWatched = 2_000;

export function createSeenMessages(store: Store): SeenMessages {
  const read = store.prepare<[string, string], { state: string }>(
    'SELECT state FROM seen_messages WHERE session_id = ? AND key = ?',
  );
  const write = store.prepare(
    `INSERT INTO seen_messages (session_id, key, seen_at, state) VALUES (?, ?, ?, ?)
     ON CONFLICT (session_id, key) DO UPDATE SET state = excluded.state, seen_at = excluded.seen_at`,
  );
  const changed = store.prepare<[string, number, number], { key: string }>(
    `SELECT key FROM seen_messages WHERE session_id = ? AND seen_at >= ? AND state NOT LIKE '-%' ORDER BY seen_at DESC LIMIT ?`,
  );
  return {
    note(sessionId, { key, state, origin }, now) {
      const known = read.get(sessionId, key);
      if (state === null) {
        write.run(sessionId, key, now, '');
        return true;
      }
      const isUnmarked = state.endsWith('?');
      const storedState = isUnmarked ? state.slice(0, -1) : state;
      if (origin !== 'asked' && (known?.state === storedState || (!known && isUnmarked))) return false;
      write.run(sessionId, key, now, storedState);
      return true;
    },
    watched: (sessionId, since) => changed.all(sessionId, since, maxWatched).map(({ key }) => keyIn(key)),
  };
}
