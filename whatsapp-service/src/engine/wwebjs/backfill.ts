import type { Page } from 'puppeteer';
import type { EngineSignal } from '../engine.js';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';
import type { Identities } from './identities.js';
import { chatIdOf, isNotice, observeAny, personOf, type RawMessage } from './translate.js';

const deadlineMs = 30_000;

interface Part {
  messages: RawMessage[];
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

/**
 * Scans the chats that were active after `since` for messages newer than it, oldest first. A chat or a message that cannot be read stops
 * only itself; it is reported through `onUnreadable` and counted. Rejects when the list of chats cannot be had, or the page hangs.
 */
export function createBackfill(page: () => Page, identities: Identities, onUnreadable: (what: string, error: unknown) => void) {
  return async (
    { since, perChat }: { since: Date; perChat: number },
    onSignal: (signal: EngineSignal) => void,
  ): Promise<BackfillResult> => {
    const from = Math.floor(since.getTime() / 1000) - 1;
    const result: BackfillResult = { chats: 0, messages: 0, truncated: false, failedChats: 0 };

    /** Returns whether the whole chat could be read. */
    async function readChat(chatId: string): Promise<boolean> {
      const input = { chatId, since: from, limit: perChat };
      const part = await callPage<Part>(page(), 'messagesSince', input, deadlineMs);
      result.truncated ||= part.truncated;
      let whole = (part.failed ?? 0) === 0;
      const found = part.messages.filter((raw) => !isNotice(raw));
      await identities.learn([chatId, ...found.map(personOf)]);
      const nameOf = (raw: RawMessage) => (id: string) => identities.name(id) ?? (id === chatIdOf(raw) ? null : id);
      for (const raw of found) {
        try {
          const { message, error } = observeAny(raw, identities.contact, nameOf(raw));
          if (error !== null || message === null) onUnreadable('backfill', error ?? new Error('The message has no key.'));
          if (message === null) continue;
          result.messages += 1;
          onSignal({ type: 'event', event: 'message.observed', payload: { message, origin: 'backfill' } });
        } catch (error) {
          whole = false;
          onUnreadable('backfill', error);
        }
      }
      return whole;
    }

    for (const chatId of await callPage<string[]>(page(), 'chatsSince', { since: from }, deadlineMs)) {
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
