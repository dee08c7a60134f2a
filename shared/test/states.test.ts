import { describe, expect, test } from '@jest/globals';
import {
  ackOfStatus,
  messageMoves,
  messageReasons,
  messageSources,
  messageStatuses,
  retryableReasons,
  sessionMoves,
  sessionReasons,
  sessionSources,
  sessionStatuses,
  statusOfAck,
  type MessageStatus,
} from '../src/index.js';

/** Every status that can be reached from one, any number of moves on. */
function reachable<S extends string>(moves: Record<S, readonly S[]>, from: S): Set<S> {
  const seen = new Set<S>();
  const walk = (status: S): void => {
    for (const next of moves[status]) {
      if (seen.has(next)) continue;
      seen.add(next);
      walk(next);
    }
  };
  walk(from);
  return seen;
}

describe('messages', () => {
  test('an acknowledged message can never be sent again', () => {
    for (const status of ['sent', 'delivered', 'read', 'played'] as const) {
      const later = reachable(messageMoves, status);
      for (const never of ['queued', 'sending', 'failed', 'uncertain', 'cancelled'] as const)
        expect(later.has(never)).toBe(false);
    }
  });

  test('acks only climb', () => {
    const ranks: MessageStatus[] = ['sent', 'delivered', 'read', 'played'];
    for (const [rank, status] of ranks.entries()) expect(messageMoves[status]).toEqual(ranks.slice(rank + 1));
  });

  test('every status but the final ones leads to a final one', () => {
    for (const status of messageStatuses) {
      if (status === 'played' || status === 'cancelled') expect(messageMoves[status]).toEqual([]);
      else expect([...reachable(messageMoves, status)]).toContain('played');
    }
  });

  test('a message that was handed over cannot be cancelled, until it is proven that it did not leave', () => {
    expect(messageSources('cancelled').sort()).toEqual(['queued', 'scheduled', 'uncertain']);
  });

  test('nothing but a queued message is claimed', () => {
    expect(messageSources('sending')).toEqual(['queued']);
  });

  test('ack numbers become statuses and back', () => {
    expect([-7, -1, 0, 1, 2, 3, 4, 5].map(statusOfAck)).toEqual([
      ...[null, null, null, 'sent', 'delivered', 'read', 'played', 'sent'],
    ]);
    expect((['queued', 'sent', 'delivered', 'read', 'played'] as const).map(ackOfStatus)).toEqual([0, 1, 2, 3, 4]);
  });

  test('every retryable reason is a reason with a sentence', () => {
    for (const reason of retryableReasons) expect(messageReasons[reason]).toMatch(/\.$/);
  });
});

describe('sessions', () => {
  test('staff can suspend from anywhere, and only resuming leads out', () => {
    expect(sessionSources('suspended')).toEqual(sessionStatuses.filter((status) => status !== 'suspended'));
    expect(sessionMoves.suspended).toEqual(['disconnected']);
  });

  test('connected is reached through connecting, or after a check of the linked account', () => {
    expect(sessionSources('connected')).toEqual(['passkey_required', 'connecting']);
  });

  test('every status leads back to connected', () => {
    for (const status of sessionStatuses) expect(reachable(sessionMoves, status).has('connected')).toBe(true);
  });

  test('every reason is a whole sentence for people', () => {
    for (const sentence of Object.values(sessionReasons)) expect(sentence).toMatch(/^[A-Z].*\.$/);
  });
});
