import type { Page } from 'puppeteer';
import type { BackfillRequest, EngineSignal } from '../engine.js';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';
import type { Identities } from './identities.js';
import type { PageMissed } from './page/history.js';
import { record } from './raw.js';
import { chatIdOf, observeAny, peopleIn, type RawMessage } from './translate.js';

const deadlineMs = 30_000;
/** The maximum number of older messages of a chat that are checked for changes. */
const comparedPerChat = 200;

interface HistoryPage {
  messages: RawMessage[];
  /** Older messages with an edit, a deletion, a reaction or a star. */
  older?: RawMessage[];
  /** The number of messages that the page could not read. */
  failed?: number;
  truncated: boolean;
}

export interface BackfillResult {
  chats: number;
  messages: number;
  truncated: boolean;
  /** The number of chats that could not be read completely. */
  failedChats: number;
}

/**
 * Scans the chats that were active after `since` for newer messages, oldest first, and for changes of older ones, and has the page report pins since then.
 * A chat or a message
 * that cannot be read is reported, counted and skipped. Rejects when the list of chats cannot be read, or when the page hangs.
 */
export type Backfill = (request: BackfillRequest, onSignal: (signal: EngineSignal) => void) => Promise<BackfillResult>;

interface BackfillContext {
  page: () => Page;
  identities: Identities;
  /** Called when a chat or a message could not be read, completely or in part. */
  onUnreadable: (what: string, error: unknown) => void;
}

/** One run of a backfill. */
interface Scan extends BackfillContext {
  request: BackfillRequest;
  onSignal: (signal: EngineSignal) => void;
  /** Counted while the scan runs. */
  result: BackfillResult;
}

export function createBackfill(
  page: () => Page,
  identities: Identities,
  onUnreadable: (what: string, error: unknown) => void,
): Backfill {
  return (request, onSignal) => {
    const result: BackfillResult = { chats: 0, messages: 0, truncated: false, failedChats: 0 };
    return scanChats({ page, identities, onUnreadable, request, onSignal, result });
  };
}

async function scanChats(scan: Scan): Promise<BackfillResult> {
  const { page, request, result } = scan;
  const since = secondsOf(request.compareSince ?? request.since);
  for (const chatId of await callPage<string[]>(page(), 'chatsSince', { since }, deadlineMs)) {
    result.chats += 1;
    try {
      if (!(await readChat(scan, chatId))) result.failedChats += 1;
    } catch (error) {
      // With a page that hangs, each further chat would wait for its whole deadline. The scan is repeated.
      if (error instanceof DeadlineError) throw error;
      result.failedChats += 1;
      scan.onUnreadable('backfill', error);
    }
  }
  await reportPins(scan);
  return result;
}

/** Lets the page report what was pinned meanwhile. Without an answer the messages of the scan count all the same. */
async function reportPins({ page, request, onUnreadable }: Scan): Promise<void> {
  try {
    await callPage(page(), 'reportPins', { since: secondsOf(request.since) }, deadlineMs);
  } catch (error) {
    if (error instanceof DeadlineError) throw error;
    onUnreadable('pins', error);
  }
}

/** Returns whether the whole chat could be read. */
async function readChat(scan: Scan, chatId: string): Promise<boolean> {
  const { page, request, result } = scan;
  const input: PageMissed = {
    chatId,
    since: secondsOf(request.since),
    compareSince: secondsOf(request.compareSince ?? request.since),
    limit: request.perChat,
    compareLimit: comparedPerChat,
    watched: [...(request.watched ?? [])],
  };
  const history = await callPage<HistoryPage>(page(), 'messagesSince', input, deadlineMs);
  result.truncated ||= history.truncated;
  const isCompared = await emitMessages(scan, chatId, history.older ?? [], 'compare');
  const isRead = await emitMessages(scan, chatId, history.messages, request.isRequested ? 'asked' : 'backfill');
  return isRead && isCompared && (history.failed ?? 0) === 0;
}

/** Emits the messages of one chat. Returns whether all of them could be read. */
async function emitMessages(
  scan: Scan,
  chatId: string,
  messages: readonly unknown[],
  origin: 'backfill' | 'asked' | 'compare',
): Promise<boolean> {
  const { identities, onUnreadable, onSignal, result } = scan;
  let isComplete = true;
  const found: RawMessage[] = messages.map(record);
  await identities.learn([chatId, ...found.flatMap(peopleIn)]);
  for (const raw of found) {
    try {
      const nameOf = (id: string): string | null => identities.name(id) ?? (id === chatIdOf(raw) ? null : id);
      const { message, error } = observeAny(raw, identities.contact, nameOf);
      if (error !== null) onUnreadable('backfill', error);
      if (origin !== 'compare') result.messages += 1;
      onSignal({ type: 'event', event: 'message.observed', payload: { message, origin } });
    } catch (error) {
      isComplete = false;
      onUnreadable('backfill', error);
    }
  }
  return isComplete;
}

const secondsOf = (date: Date): number => Math.floor(date.getTime() / 1000) - 1;
