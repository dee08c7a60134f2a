import type { Browser, Page } from 'puppeteer';
import { EngineError } from '../engine.js';
import { addSerialized, installBridge } from './bridge.js';
import { currentUserAgent } from './browser.js';
import { patches } from './compat/index.js';
import { isOver, pageOf, reportGone, reportUnreadable, type GoneReason, type SessionContext } from './context.js';
import { guardHandlers } from './guard.js';
import { wordsOf } from './launch-error.js';
import type { LibraryClient } from './library.js';
import { replaceListeners } from './own-listeners.js';
import { installConsoleLimit } from './page/console-limit.js';
import { pageScripts } from './page/index.js';

/**
 * Attaches a session to the page of the library's client. The library emits no event before the page navigates or when it is loaded, so two of
 * its steps are replaced: `prepare` runs in place of `initWebVersionCache`, before the page navigates, and `armPage` runs when the library calls
 * `setDeviceName` on the loaded page (see `client.ts`).
 */
export function attach(context: SessionContext): void {
  const { client } = context;
  client.initWebVersionCache = () => prepare(context);
  // In some states the library closes the browser itself without waiting for it. Only `close` closes the browser.
  client.destroy = async () => undefined;
  if (context.config.compat !== false) replaceListeners(context);
  guardInject(
    client,
    () => isOver(context),
    (error) => reportGone(context, 'PAGE_CRASHED', wordsOf(error)),
  );
}

export const cancelled = (): EngineError => new EngineError('USER_STOPPED', 'The start was cancelled.');

/** Installs everything in the page, which exists and has not navigated yet. */
async function prepare(context: SessionContext): Promise<void> {
  const { client, config, options, listener, state } = context;
  const browser = client.pupBrowser!;
  state.browser = browser;
  const page = pageOf(context);
  watchBrowser(context, browser);
  watchPage(context, page);
  if (options.abort.aborted) throw cancelled();
  await page.setUserAgent(currentUserAgent(await browser.userAgent()));
  guardHandlers(page, {
    onChat: listener.chatChanged,
    onNotice: listener.messageCreated,
    onFailure: (name, error, args) => onInnerFailure(context, name, error, args),
  });
  const fromPage = pageReports(context);
  await page.exposeFunction('chasquiNotify', (kind: string, payload: never) => {
    addSerialized(payload);
    fromPage[kind]?.(payload);
  });
  await page.evaluateOnNewDocument(installConsoleLimit);
  for (const script of Object.values(pageScripts)) await page.evaluateOnNewDocument(script);
  if (config.compat === false) return;
  installBridge(page, () => undefined);
  for (const patch of patches) await page.evaluateOnNewDocument(patch.install);
}

function watchBrowser(context: SessionContext, browser: Browser): void {
  const crashed = (detail: string): void => reportGone(context, 'BROWSER_CRASHED', detail);
  browser.on('disconnected', () => crashed('The browser ended.'));
  // Some systems start the browser through a script that remains its parent. Only the exit of that process is reliable: other processes may keep a pipe open.
  const child = browser.process();
  // A pipe may emit an error when its other end closes. Without a listener that error would end the whole worker.
  for (const pipe of child?.stdio ?? []) pipe?.on('error', (error: Error) => crashed(error.message));
  child?.once('exit', () => crashed('The browser’s process ended.'));
}

function watchPage(context: SessionContext, page: Page): void {
  page.on('error', (error) => reportGone(context, 'PAGE_CRASHED', error.message));
  page.on('close', () => reportGone(context, 'PAGE_CRASHED', 'The page was closed.'));
  // An open dialog blocks the page, and no person can answer it. The question whether to leave the page is confirmed, all others are dismissed.
  page.on('dialog', (dialog) => {
    const answer = dialog.type() === 'beforeunload' ? dialog.accept() : dialog.dismiss();
    answer.catch(() => undefined); // The dialog has already closed.
  });
}

/** The handlers of reports with `chasqui.notify`, by kind. Other kinds are ignored. */
function pageReports(context: SessionContext): Record<string, (payload: never) => void> {
  const { options, listener, probe, reports, state } = context;
  return {
    state: (payload: { state: string }) => onState(context, payload.state),
    logout: () => {
      if (!state.isLoggingOut) reportGone(context, 'LOGGED_OUT_BY_PHONE', 'The page reported a logout.');
    },
    ban: (ban: { seconds: unknown }) =>
      reportGone(context, 'ACCOUNT_TEMPORARILY_BANNED', 'WhatsApp banned this account for a time.', banEnd(ban)),
    passkey: () => options.onSignal({ type: 'passkey_required' }),
    asked_phone: () => context.config.onAskedPhone?.(),
    canary: ({ nonce }: { nonce: string }) => probe.received(nonce),
    patch: (payload: Record<string, unknown>) => reports.set(payload['patch'], payload['state'], payload['detail']),
    contacts: ({ ids }: Record<string, unknown>) => {
      // Before `ready` the page synchronises the address book, and no name has been read yet.
      if (state.wasReady) listener.contactsChanged(ids);
    },
    presence: (report: unknown) => listener.presenceChanged(report),
    message: ({ message }: Record<string, unknown>) => {
      // Messages from before `ready` are found by the backfill.
      if (state.wasReady) listener.messageCreated(message);
    },
    history: ({ message }: Record<string, unknown>) => listener.historyCreated(message),
    event_change: ({ message }: Record<string, unknown>) => listener.calendarEventChanged(message),
    marks: (report: Record<string, unknown>) => listener.marksChanged(report),
    unreadable: ({ what, detail }: Record<string, unknown>) =>
      options.onSignal({ type: 'unreadable', what: String(what).slice(0, 100), detail: String(detail).slice(0, 100) }),
  };
}

/** The longest ban whose end is believed. */
const maxBanSeconds = 365 * 86_400;

const banEnd = ({ seconds }: { seconds: unknown }): Date | undefined =>
  typeof seconds === 'number' && seconds > 0 && seconds < maxBanSeconds ? new Date(Date.now() + seconds * 1_000) : undefined;

/** States in which WhatsApp refuses this login. The library would close the browser; the worker reports the reason instead. */
const refusals: Record<string, { reason: GoneReason; detail: string }> = {
  CONFLICT: { reason: 'CONFLICT', detail: 'WhatsApp Web was opened elsewhere.' },
  TOS_BLOCK: { reason: 'ACCOUNT_BANNED', detail: 'WhatsApp blocked this account (TOS_BLOCK).' },
  SMB_TOS_BLOCK: { reason: 'ACCOUNT_RESTRICTED', detail: 'WhatsApp blocked this business account (SMB_TOS_BLOCK).' },
  PROXYBLOCK: { reason: 'NETWORK_BLOCKED', detail: 'WhatsApp refuses this network or proxy (PROXYBLOCK).' },
  DEPRECATED_VERSION: {
    reason: 'OUTDATED_VERSION',
    detail: 'WhatsApp requires a newer page (DEPRECATED_VERSION); it is reloaded.',
  },
};

/** Reports a change of the page's connection to WhatsApp. */
function onState(context: SessionContext, connection: string): void {
  if (isOver(context)) return;
  const { onSignal } = context.options;
  const { wasReady } = context.state;
  const refusal = refusals[connection];
  if (refusal) reportGone(context, refusal.reason, refusal.detail);
  // PAIRING is ambiguous: the page is in it before its first code and while it waits for a passkey.
  else if (connection === 'CONNECTED') onSignal(wasReady ? { type: 'line', up: true } : { type: 'authenticated' });
  else if (wasReady && (connection === 'OPENING' || connection === 'TIMEOUT')) onSignal({ type: 'line', up: false });
  else if (wasReady && connection.startsWith('UNPAIRED'))
    reportGone(context, 'LOGGED_OUT_BY_PHONE', 'The page is no longer linked.');
  else if (connection === 'UNPAIRED_IDLE') onSignal({ type: 'qr_exhausted' });
}

/** Reports that a handler of the library failed. If the library could not attach to the page, no event would ever arrive, so the browser is given up. */
function onInnerFailure(context: SessionContext, name: string, error: unknown, args: readonly unknown[]): void {
  if (isOver(context)) return;
  // The library builds an object from each message first. A message for which that fails is still emitted.
  if (name === 'onAddMessageEvent') context.listener.messageCreated(args[0]);
  else if (name !== 'onAppStateHasSyncedEvent') reportUnreadable(context, name, error);
  context.config.onWarning?.('A handler of the library failed.', { handler: name, error: wordsOf(error) });
  if (name === 'onAppStateHasSyncedEvent') reportGone(context, 'PAGE_CRASHED', `The library could not attach: ${wordsOf(error)}`);
}

/** Arms the patches when the page is loaded and no module has been required yet. Runs again after every reload. */
export async function armPage(context: SessionContext, setDeviceName: LibraryClient['setDeviceName']): Promise<void> {
  const run = (): void => (window as unknown as { chasqui: { arm(): void } }).chasqui.arm();
  await pageOf(context).evaluate(run);
  await setDeviceName(context.options.deviceName ?? undefined);
}

/** Handles failures of `inject`. The library calls it again after every navigation and does not await it, so a failure would be an unhandled rejection. */
function guardInject(client: LibraryClient, isOver: () => boolean, onFailure: (error: unknown) => void): void {
  const injectable = client as unknown as { inject(): Promise<void> };
  const inject = injectable.inject.bind(client);
  let first = true;
  injectable.inject = async () => {
    const isFirst = first;
    first = false;
    try {
      await inject();
    } catch (error) {
      if (isFirst) throw error; // `initialize()` waits for this one.
      if (!isOver()) onFailure(error);
    }
  };
}
