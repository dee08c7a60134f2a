import type { Page } from 'puppeteer';
import type { EngineSignal } from '../engine.js';
import { callPage } from './bridge.js';
import type { Identities } from './identities.js';
import { chatIdOf, isNotice, observe, personOf, type RawMessage } from './translate.js';

const deadlineMs = 30_000;

/** Scans the chats that were active after `since` for messages newer than it, oldest first. */
export function createBackfill(page: () => Page, identities: Identities) {
  return async ({ since, perChat }: { since: Date; perChat: number }, onSignal: (signal: EngineSignal) => void) => {
    const from = Math.floor(since.getTime() / 1000) - 1;
    const chats = await callPage<string[]>(page(), 'chatsSince', { since: from }, deadlineMs);
    let messages = 0;
    let truncated = false;
    for (const chatId of chats) {
      const part = await callPage<{ messages: RawMessage[]; truncated: boolean }>(
        page(),
        'messagesSince',
        { chatId, since: from, limit: perChat },
        deadlineMs,
      );
      truncated ||= part.truncated;
      const found = part.messages.filter((raw) => !isNotice(raw));
      await identities.learn([chatId, ...found.map(personOf)]);
      for (const raw of found) {
        messages += 1;
        onSignal({
          type: 'event',
          event: 'message.observed',
          payload: {
            message: observe(raw, identities.contact, (id) => identities.name(id) ?? (id === chatIdOf(raw) ? null : id)),
            origin: 'backfill',
          },
        });
      }
    }
    return { chats: chats.length, messages, truncated };
  };
}
