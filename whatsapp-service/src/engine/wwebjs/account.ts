import type { Page } from 'puppeteer';
import type { AccountState } from '../engine.js';
import { callPage } from './bridge.js';
import type { PageAccount } from './page/account.js';

/** What WhatsApp allows the linked account. */
export interface AccountLimits {
  /** Reads it from the page, and answers dialogs of WhatsApp that would end the session. Rejects if the page does not answer. */
  read(deadlineMs: number): Promise<AccountState>;
  /** Records that WhatsApp has refused a message because the account may not start new chats. */
  refused(): void;
  /** Whether a message to this person would be refused because it starts a new chat. False if the page does not answer. */
  isNewChatLocked(chatId: string): Promise<boolean>;
}

/** How long the lock is assumed after a refusal, for pages that do not report it or cannot ask WhatsApp. */
const assumedLockMs = 3_600_000;
const chatMs = 3_000;
/** A larger number is not plausible, because WhatsApp allows fewer linked devices. */
const maxDevices = 100;
const maxLockMs = 365 * 86_400_000;

/** The page's time as text; null if it is none, or a year and more ahead. */
function timeOf(ms: unknown): string | null {
  const isTime = typeof ms === 'number' && Number.isFinite(ms) && Math.abs(ms - Date.now()) < maxLockMs;
  return isTime ? new Date(ms).toISOString() : null;
}

export function createAccountLimits(page: () => Page): AccountLimits {
  let refusedAt = -Infinity;
  let reportedLock: boolean | null = null;
  const isRefused = (): boolean => performance.now() - refusedAt < assumedLockMs;
  const isLocked = (): boolean => reportedLock ?? isRefused();
  return {
    async read(deadlineMs) {
      await callPage(page(), 'answerNews', {}, deadlineMs);
      const answer = await callPage<Partial<PageAccount> | null>(page(), 'account', {}, deadlineMs);
      // A page that could not ask WhatsApp may not know of a lock, so it does not contradict a refusal.
      const isBelieved = answer?.reachOutLocked === true || answer?.isFresh === true || !isRefused();
      reportedLock = isBelieved && typeof answer?.reachOutLocked === 'boolean' ? answer.reachOutLocked : null;
      const devices = answer?.linkedDevices;
      const isCount = typeof devices === 'number' && Number.isInteger(devices) && devices >= 0 && devices <= maxDevices;
      const reachOutLocked = isLocked();
      const reachOutUntil = reachOutLocked ? timeOf(answer?.reachOutUntil) : null;
      return { reachOutLocked, reachOutUntil, linkedDevices: isCount ? devices : null };
    },
    refused() {
      refusedAt = performance.now();
      // Until the page is read again, the refusal counts.
      reportedLock = null;
    },
    async isNewChatLocked(chatId) {
      if (!isLocked()) return false;
      try {
        return !(await callPage<boolean>(page(), 'knowsChat', { id: chatId }, chatMs));
      } catch {
        return false; // The message is sent, and WhatsApp decides.
      }
    },
  };
}
