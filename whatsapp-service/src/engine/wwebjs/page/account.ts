/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** Reads what WhatsApp allows the account, and answers dialogs that would end a session. */
function installAccount(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['account']) return;
  core.calls['account'] = () => readAccount(core);
  core.calls['answerNews'] = () => answerNews(core);
  core.calls['knowsChat'] = ({ id }: { id: string }) => knowsChat(core, id);
}

/** What WhatsApp allows the account. Null: the page does not report it. */
export interface PageAccount {
  /** Whether WhatsApp does not let the account write to people who have not written to it. */
  reachOutLocked: boolean | null;
  /** Whether the page has just asked WhatsApp for it. Otherwise it is what the page had. */
  isFresh: boolean;
  /** When the lock ends. Milliseconds. */
  reachOutUntil: number | null;
  /** Linked devices, without the phone. */
  linkedDevices: number | null;
}

async function readAccount(core: PageCore): Promise<PageAccount> {
  const isFresh = await refreshLock(core);
  return {
    isFresh,
    reachOutLocked: await reachOutLocked(core),
    reachOutUntil: reachOutUntil(core),
    linkedDevices: await countDevices(core),
  };
}

/** Has the page ask WhatsApp whether the account is locked, for four seconds: the page hears of a lock late, or not at all. Returns whether it did. */
async function refreshLock(core: PageCore): Promise<boolean> {
  const job = core.moduleIfAny('WAWebGetReachoutTimelockJob');
  if (typeof job?.fetchReachoutTimelock !== 'function') return false;
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 4_000));
  const asked = (async () => {
    await job.fetchReachoutTimelock();
    return true;
  })();
  return Promise.race([asked.catch(() => false), late]);
}

async function reachOutLocked(core: PageCore): Promise<boolean | null> {
  try {
    const isLocked = await core.moduleIfAny('WAWebReachoutTimelockUtils')?.isUserReachoutTimelocked?.();
    return typeof isLocked === 'boolean' ? isLocked : null;
  } catch {
    return null;
  }
}

function reachOutUntil(core: PageCore): number | null {
  try {
    const key = core.moduleIfAny('WAWebReachoutTimelockUtils')?.REACHOUT_TIMELOCK_IDB_KEY;
    const lock = key && core.moduleIfAny('WAWebUserPrefsIndexedDBStorage')?.userPrefsIdb?.get?.(key);
    const ends = Number(lock?.time_enforcement_ends);
    return Number.isFinite(ends) && ends > 0 ? ends : null;
  } catch {
    return null;
  }
}

async function countDevices(core: PageCore): Promise<number | null> {
  try {
    const own = core.me()[0];
    const [found] = (await core.moduleIfAny('WAWebApiDeviceList')?.getDeviceIds?.([own])) ?? [];
    const devices = found?.devices;
    // The phone itself is the device with the id 0.
    return Array.isArray(devices) ? devices.filter((device: any) => Number(device?.id) !== 0).length : null;
  } catch {
    return null;
  }
}

/**
 * Closes the dialog "What's new" and the notice of a new look. If they are not answered, WhatsApp logs a new device out some minutes after it was
 * linked. Returns the names of those that were answered.
 */
function answerNews(core: PageCore): string[] {
  const answered: string[] = [];
  const attempt = (name: string, answer: () => boolean): void => {
    try {
      if (answer()) answered.push(name);
    } catch (error: any) {
      core.notify('unreadable', { what: `dialog ${name}`, detail: String(error?.name ?? error) });
    }
  };
  attempt('whats_new', () => {
    const news = core.moduleIfAny('WAWebWhatsNewNux')?.createWhatsNewNux?.();
    if (!news?.shouldShow?.()) return false;
    news.dismiss();
    core.moduleIfAny('WAWebModalManager')?.ModalManager?.close?.();
    return true;
  });
  attempt('new_look', () => {
    const prefs = core.moduleIfAny('WAWebUserPrefsUiRefresh');
    if (typeof prefs?.setUiRefreshNuxAcked !== 'function' || prefs.getUiRefreshNuxAcked?.() === true) return false;
    prefs.setUiRefreshNuxAcked(true);
    return true;
  });
  return answered;
}

/** Whether the chat with this person has a message from either side. A message that WhatsApp refused does not count. */
function knowsChat(core: PageCore, id: string): boolean {
  const wid = core.widOf(id);
  const { Chat } = core.collections();
  const other = core.otherIdOf(wid);
  return [Chat.get(wid), other && Chat.get(other)].filter(Boolean).some((chat: any) => {
    const messages: any[] = chat.msgs?.getModelsArray?.() ?? [];
    return messages.length === 0 ? Boolean(chat.t) : messages.some((msg) => !msg.id?.fromMe || (msg.ack ?? 0) >= 1);
  });
}

export const accountScript = pageScript(installAccount, [
  readAccount,
  refreshLock,
  reachOutLocked,
  reachOutUntil,
  countDevices,
  answerNews,
  knowsChat,
]);
