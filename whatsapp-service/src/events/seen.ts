import { createHash } from 'node:crypto';
import type { ObservedMessage } from '@chasqui/shared';
import type { Store } from '../store.js';
import type { WorkerEvent } from './worker-event.js';

/**
 * Which messages were told to the backend, and in which state. A message that comes live and by backfill is told once; one that was edited,
 * deleted, completed or reacted to meanwhile is told again. The key says nothing about people to whoever reads the file.
 */
export interface SeenMessage {
  key: string;
  /** Null: the event is about a message that was told before, and changes its state. */
  state: string | null;
  origin: 'live' | 'backfill' | 'asked' | 'compare';
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** The direction and the writer belong to it: whoever writes a message chooses its key, and may choose one that is in use. */
const keyOf = ({ key, whatsappId, fromMe }: { key: string; whatsappId: string; fromMe?: boolean | undefined }): string =>
  `${key} ${digest(whatsappId || String(fromMe))}`;

const keyIn = (seenKey: string): string => seenKey.slice(0, seenKey.lastIndexOf(' '));

/** Begins with `r` while reactions hang on the message, with `p` while its content is missing, otherwise with `-`. */
function stateOf({ content, editedAt, revokedAt, reactions, fromMe, ack }: ObservedMessage): string {
  const type = content.type === 'withheld' ? content.of : content.type;
  const isPlaceholder =
    content.type === 'withheld' ? content.of === 'unknown' : content.type === 'unknown' && content.placeholder !== undefined;
  const hanging = (reactions ?? []).map(({ contact, emoji }) => `${contact?.id ?? ''} ${emoji}`).sort();
  const rest = [isPlaceholder ? 'placeholder' : type, editedAt ?? null, Boolean(revokedAt), hanging, fromMe ? ack : null];
  return `${isPlaceholder ? 'p' : hanging.length > 0 ? 'r' : '-'}${digest(JSON.stringify(rest))}`;
}
const isMarked = ({ editedAt, revokedAt, reactions }: ObservedMessage): boolean =>
  Boolean(editedAt ?? revokedAt) || (reactions ?? []).length > 0;

/** What an event says of a message; null for every other event. */
export function seenIn(event: WorkerEvent): SeenMessage | null {
  switch (event.event) {
    case 'message.observed': {
      const { message, origin } = event.payload;
      // An older message on which nothing hangs is compared only if it was told before.
      const state = `${stateOf(message)}${origin === 'compare' && !isMarked(message) ? '?' : ''}`;
      return { key: keyOf(message), state, origin };
    }
    case 'message.edited':
    case 'message.revoked':
    case 'message.reaction':
      return { key: keyOf(event.payload), state: null, origin: 'live' };
    default:
      return null;
  }
}

export interface SeenMessages {
  /** Notes what an event says of a message, inside the transaction that stores the event. Returns whether the event is news. */
  note(sessionId: string, seen: SeenMessage, now: number): boolean;
  /**
   * Keys of the messages that had a reaction or a change since `since` (milliseconds), or whose content was missing then, the newest
   * first: what became of them is compared at the next scan.
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
      const told = isUnmarked ? state.slice(0, -1) : state;
      if (origin !== 'asked' && (known?.state === told || (!known && isUnmarked))) return false;
      write.run(sessionId, key, now, told);
      return true;
    },
    watched: (sessionId, since) => changed.all(sessionId, since, maxWatched).map(({ key }) => keyIn(key)),
  };
}
