import type { Page } from 'puppeteer';
import type { BackfillRequest, EngineSignal } from '../engine.js';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';
import type { Identities } from './identities.js';
import { record } from './raw.js';
import { chatIdOf, observeAny, peopleIn, type RawMessage } from './translate.js';

const deadlineMs = 30_000;
/** Messages of a chat, older than what was missed, that are looked at for changes. */
const comparedPerChat = 200;

interface Part {
  messages: RawMessage[];
  /** Older messages on which something hangs. */
  older?: RawMessage[];
  /** Messages that the page could not hand over. */
  failed?: number;
  truncated: boolean;
}

export interface BackfillResult {
  chats: number;
  messages: number;
  truncated: boolean;
  /** Chats that could not be read, wholly or in part. The others were. */
  failedChats: number;
}

const secondsOf = (date: Date): number => Math.floor(date.getTime() / 1000) - 1;

/**
 * Scans the chats that were active after `since` for messages newer than it, oldest first, and for changes of older ones. A chat or a
 * message that cannot be read stops only itself; it is reported through `onUnreadable` and counted. Rejects when the list of chats cannot
 * be had, or the page hangs.
 */
export function createBackfill(page: () => Page, identities: Identities, onUnreadable: (what: string, error: unknown) => void) {
  return async (request: BackfillRequest, onSignal: (signal: EngineSignal) => void): Promise<BackfillResult> => {
    const { since, compareSince = since, perChat, isAsked = false, watched = [] } = request;
    const result: BackfillResult = { chats: 0, messages: 0, truncated: false, failedChats: 0 };
    const input = {
      since: secondsOf(since),
      compareSince: secondsOf(compareSince),
      limit: perChat,
      compareLimit: comparedPerChat,
      watched,
    };

    /** Returns whether all of them could be read. */
    async function tell(chatId: string, given: readonly unknown[], origin: 'backfill' | 'asked' | 'compare'): Promise<boolean> {
      let whole = true;
      const found: RawMessage[] = given.map(record);
      await identities.learn([chatId, ...found.flatMap(peopleIn)]);
      for (const raw of found) {
        try {
          const nameOf = (id: string): string | null => identities.name(id) ?? (id === chatIdOf(raw) ? null : id);
          const { message, error } = observeAny(raw, identities.contact, nameOf);
          if (error !== null) onUnreadable('backfill', error);
          if (origin !== 'compare') result.messages += 1;
          onSignal({ type: 'event', event: 'message.observed', payload: { message, origin } });
        } catch (error) {
          whole = false;
          onUnreadable('backfill', error);
        }
      }
      return whole;
    }

    /** Returns whether the whole chat could be read. */
    async function readChat(chatId: string): Promise<boolean> {
      const part = await callPage<Part>(page(), 'messagesSince', { ...input, chatId }, deadlineMs);
      result.truncated ||= part.truncated;
      const compared = await tell(chatId, part.older ?? [], 'compare');
      const read = await tell(chatId, part.messages, isAsked ? 'asked' : 'backfill');
      return read && compared && (part.failed ?? 0) === 0;
    }

    for (const chatId of await callPage<string[]>(page(), 'chatsSince', { since: input.compareSince }, deadlineMs)) {
      result.chats += 1;
      try {
        if (!(await readChat(chatId))) result.failedChats += 1;
      } catch (error) {
        // A page that hangs would cost each further chat its whole deadline. The scan is repeated.
        if (error instanceof DeadlineError) throw error;
        result.failedChats += 1;
        onUnreadable('backfill', error);
      }
    }
    return result;
  };
}
