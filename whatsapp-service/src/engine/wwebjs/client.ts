import { mkdir } from 'node:fs/promises';
import type { Browser, Page } from 'puppeteer';
import { EngineError, type Engine, type EngineSession, type EngineSignal, type LaunchOptions } from '../engine.js';
import { createBackfill } from './backfill.js';
import { addSerialized, callPage, installBridge } from './bridge.js';
import { closeBrowser, currentUserAgent, launchOptions, processTree, type BrowserConfig } from './browser.js';
import { patches } from './compat/index.js';
import { within } from './deadline.js';
import { downloadMedia } from './download.js';
import { guardHandlers } from './guard.js';
import { createIdentities } from './identities.js';
import { launchError, wordsOf } from './launch-error.js';
import { findSandboxProblem } from './sandbox.js';
import { library, type AuthStrategy, type LibraryClient } from './library.js';
import { listen } from './listen.js';
import { runOperation } from './operations/index.js';
import { readIdentity } from './own-identity.js';
import { installCore } from './page/core.js';
import { installDownload } from './page/download.js';
import { installModels } from './page/models.js';
import { installConsoleLimit } from './page/console-limit.js';
import { installRead } from './page/read.js';
import { installSend } from './page/send.js';
import { installWatch } from './page/watch.js';
import { createProbe } from './probe.js';
import { createReports } from './reports.js';
import { createSending } from './send.js';
import { idText } from './translate.js';

export interface EngineConfig {
  browser: BrowserConfig;
  /** The deadline for loading the page. */
  loadTimeoutMs: number;
  /** The maximum size of a media file in bytes, when a download does not set one. */
  maxFileSize?: number;
  /** Receives failures that do not affect the caller, for the log. Never content, numbers or codes. */
  onWarning?: (sentence: string, fields: Record<string, unknown>) => void;
  /** Off only in tests that prove that the patches are needed. */
  compat?: boolean;
}

/** The engine that drives whatsapp-web.js in Chromium. */
export const createEngine = (config: EngineConfig): Engine => ({ launch: (options) => launch(config, options) });

const cancelled = (): EngineError => new EngineError('USER_STOPPED', 'The start was cancelled.');

/** The default of MAX_FILE_SIZE. */
const defaultMaxFileSize = 10 * 1024 * 1024;

/** The name of an error, without its message, which may contain message content. */
const detailOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error);

type Gone = Extract<EngineSignal, { type: 'gone' }>['reason'];

async function launch(config: EngineConfig, options: LaunchOptions): Promise<EngineSession> {
  if (options.abort.aborted) throw cancelled();
  await mkdir(options.profileDir, { recursive: true, mode: 0o700 });
  const { Client, LocalAuth } = library();
  const auth = keepLogin(new LocalAuth({ clientId: options.sessionId, dataPath: options.profileDir }));
  const client = new Client({
    authStrategy: auth,
    puppeteer: { ...launchOptions(config.browser), signal: options.abort },
    userAgent: false,
    webVersionCache: { type: 'none' },
    authTimeoutMs: config.loadTimeoutMs,
    qrMaxRetries: 0,
    takeoverOnConflict: false,
    ...(options.deviceName ? { deviceName: options.deviceName } : {}),
  });
  const session = createSession(config, options, client);
  await session.begin();
  return session;
}

/** On a logout by the phone the library would delete the login while the browser runs. The worker deletes it after the browser has closed. */
function keepLogin(auth: AuthStrategy): AuthStrategy {
  auth.logout = async () => undefined;
  return auth;
}

/** States in which WhatsApp refuses this login. The library would close the browser; the worker reports the reason instead. */
const refusals: Record<string, { reason: Gone; detail: string }> = {
  CONFLICT: { reason: 'CONFLICT', detail: 'WhatsApp Web was opened elsewhere.' },
  TOS_BLOCK: { reason: 'ACCOUNT_BANNED', detail: 'WhatsApp blocked this account (TOS_BLOCK).' },
  SMB_TOS_BLOCK: { reason: 'ACCOUNT_RESTRICTED', detail: 'WhatsApp blocked this business account (SMB_TOS_BLOCK).' },
  PROXYBLOCK: { reason: 'NETWORK_BLOCKED', detail: 'WhatsApp refuses this network or proxy (PROXYBLOCK).' },
  DEPRECATED_VERSION: { reason: 'PAGE_CRASHED', detail: 'WhatsApp requires a newer page (DEPRECATED_VERSION); it is reloaded.' },
};

function createSession(config: EngineConfig, { deviceName, abort, onSignal }: LaunchOptions, client: LibraryClient) {
  const reports = createReports(config.compat === false ? [] : patches);
  let gone = false;
  let closed = false;
  let loggingOut = false;
  let wasReady = false;
  let browser: Browser | null = null;

  const page = (): Page => {
    if (!client.pupPage || closed) throw new Error('The browser of this session is closed.');
    return client.pupPage;
  };
  const identities = createIdentities(page);
  const sending = createSending(page);
  const probe = createProbe(page);
  const backfill = createBackfill(page, identities, unreadable);

  /** Only the first reason is reported: later ones are consequences of the same crash or logout. */
  function reportGone(reason: Gone, detail: string): void {
    if (gone || closed) return;
    gone = true;
    onSignal({ type: 'gone', reason, detail });
  }

  function unreadable(what: string, error: unknown): void {
    onSignal({ type: 'unreadable', what, detail: detailOf(error) });
  }

  const fromPage: Record<string, (payload: never) => void> = {
    state: ({ state }: { state: string }) => onState(state),
    logout: () => {
      if (!loggingOut) reportGone('LOGGED_OUT_BY_PHONE', 'The page reported a logout.');
    },
    passkey: () => onSignal({ type: 'passkey_required' }),
    canary: ({ nonce }: { nonce: string }) => probe.received(nonce),
    patch: ({ patch, state, detail }: Record<string, unknown>) => reports.set(patch, state, detail),
    contacts: ({ ids }: Record<string, unknown>) => {
      // Before `ready` the page synchronises the address book, and no name has been read yet.
      if (wasReady) contactsChanged(ids);
    },
    message: ({ message }: Record<string, unknown>) => {
      // Messages from before `ready` are found by the backfill.
      if (wasReady) messageCreated(message);
    },
    unreadable: ({ what, detail }: Record<string, unknown>) =>
      onSignal({ type: 'unreadable', what: String(what).slice(0, 100), detail: String(detail).slice(0, 100) }),
  };

  function onState(state: string): void {
    if (closed || gone) return;
    const refusal = refusals[state];
    if (refusal) reportGone(refusal.reason, refusal.detail);
    // PAIRING is ambiguous: the page is in it before its first code and while it waits for a passkey.
    else if (state === 'CONNECTED') onSignal(wasReady ? { type: 'line', up: true } : { type: 'authenticated' });
    else if (wasReady && (state === 'OPENING' || state === 'TIMEOUT')) onSignal({ type: 'line', up: false });
    else if (wasReady && state.startsWith('UNPAIRED')) reportGone('LOGGED_OUT_BY_PHONE', 'The page is no longer linked.');
    else if (state === 'UNPAIRED_IDLE') onSignal({ type: 'qr_exhausted' });
  }

  /** Hook 1: the page exists and has not navigated yet. */
  async function prepare(): Promise<void> {
    browser = client.pupBrowser;
    const current = page();
    browser!.on('disconnected', () => reportGone('BROWSER_CRASHED', 'The browser ended.'));
    // Some systems start the browser through a script that remains its parent. The exit of that process is reliable; a pipe may stay open in others.
    const child = browser!.process();
    // A pipe may emit an error when its other end closes. Without a listener that error would end the whole worker.
    for (const pipe of child?.stdio ?? []) pipe?.on('error', (error: Error) => reportGone('BROWSER_CRASHED', error.message));
    child?.once('exit', () => reportGone('BROWSER_CRASHED', 'The browser’s process ended.'));
    current.on('error', (error) => reportGone('PAGE_CRASHED', error.message));
    current.on('close', () => reportGone('PAGE_CRASHED', 'The page was closed.'));
    // An open dialog blocks the page, and no person can answer it. Leaving a page is always confirmed.
    current.on('dialog', (dialog) => {
      const answer = dialog.type() === 'beforeunload' ? dialog.accept() : dialog.dismiss();
      answer.catch(() => undefined); // The dialog has already closed.
    });
    if (abort.aborted) throw cancelled();
    await current.setUserAgent(currentUserAgent(await browser!.userAgent()));
    guardHandlers(current, {
      onChat: (id, change, unread) => chatChanged(id, change, unread),
      onNotice: (raw) => messageCreated(raw),
      onFailure: onInnerFailure,
    });
    await current.exposeFunction('chasquiNotify', (kind: string, payload: never) => {
      addSerialized(payload);
      fromPage[kind]?.(payload);
    });
    await current.evaluateOnNewDocument(installConsoleLimit);
    await current.evaluateOnNewDocument(installCore);
    for (const install of [installModels, installWatch, installRead, installSend, installDownload])
      await current.evaluateOnNewDocument(install);
    if (config.compat === false) return;
    installBridge(current, () => undefined);
    for (const patch of patches) await current.evaluateOnNewDocument(patch.install);
  }

  /** A handler of the library failed. If the library could not attach to the page, no event would ever arrive, so the session loses its browser. */
  function onInnerFailure(name: string, error: unknown, args: readonly unknown[]): void {
    if (closed || gone) return;
    // The library builds an object from each message first. A message for which that fails is still emitted.
    if (name === 'onAddMessageEvent') messageCreated(args[0]);
    else if (name !== 'onAppStateHasSyncedEvent') unreadable(name, error);
    config.onWarning?.('A handler of the library failed.', { handler: name, error: wordsOf(error) });
    if (name === 'onAppStateHasSyncedEvent') reportGone('PAGE_CRASHED', `The library could not attach: ${wordsOf(error)}`);
  }

  /** Hook 2: the page is loaded and no module has been required yet. Runs again after every reload. */
  async function arm(): Promise<void> {
    const run = (): void => (window as unknown as { chasqui: { arm(): void } }).chasqui.arm();
    await page().evaluate(run);
    await setDeviceName(deviceName ?? undefined);
  }
  const setDeviceName = client.setDeviceName.bind(client);

  client.initWebVersionCache = prepare;
  // In some states the library closes the browser itself without waiting for it. Only `close` closes the browser.
  client.destroy = async () => undefined;
  guardInject(
    client,
    () => closed || gone,
    (error) => reportGone('PAGE_CRASHED', wordsOf(error)),
  );

  async function onReady(): Promise<void> {
    const identity = readIdentity(await callPage<unknown>(page(), 'identity', {}, 10_000));
    await callPage(page(), 'checkReserved', {}, 10_000);
    wasReady = true;
    identities.forget();
    onSignal({ type: 'ready', identity });
  }
  const { chatChanged, contactsChanged, messageCreated } = listen(client, {
    identities,
    onSignal,
    isInFlight: sending.isInFlight,
    isOver: () => closed || gone,
    lastReceipt: async (whatsappId, ack) =>
      idText(await callPage<unknown>(page(), 'lastReceipt', { whatsappId, ack }, 3000).catch(() => null)),
    onReady: () => onReady().catch((error: unknown) => reportGone('PAGE_CRASHED', wordsOf(error))),
    onGone: reportGone,
    onUnreadable: unreadable,
  });

  /** Resolves when the page has loaded. Later failures are reported by a signal; signals may arrive earlier. */
  async function begin(): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      client.setDeviceName = () => arm().then(resolve);
    });
    const aborted = new Promise<never>((_resolve, reject) => {
      abort.addEventListener('abort', () => reject(cancelled()), { once: true });
    });
    const running = client.initialize();
    try {
      await within(Promise.race([loaded, running, aborted]), config.loadTimeoutMs, 'Loading WhatsApp Web');
    } catch (error) {
      await close();
      // A launch that is still running ends by `abort`, with its browser, or by a failure. No process remains.
      await within(running, 5000, 'The end of the start').catch(() => undefined);
      await close();
      throw abort.aborted ? cancelled() : await launchError(error, config.browser, findSandboxProblem);
    }
    running.catch((error: unknown) => reportGone('PAGE_CRASHED', wordsOf(error)));
    abort.addEventListener('abort', () => void close());
  }

  async function close(): Promise<void> {
    closed = true;
    const open = browser ?? client.pupBrowser;
    if (open) await closeBrowser(open);
  }

  const session: EngineSession & { begin(): Promise<void> } = {
    begin,
    close,
    send: (send, onHandover) => sending.send(send, onHandover),
    run: (operation, input, deadlineMs) => runOperation(operation, input, { page: page(), client, identities, deadlineMs }),
    probe,
    backfill: async (request) => backfill(request, onSignal),
    async reload(deadlineMs) {
      // The navigation ends later, with `ready`; this only waits until the browser accepts the command.
      await within(page().reload({ waitUntil: 'domcontentloaded', timeout: deadlineMs }), deadlineMs, 'Reloading the page');
    },
    compat: () => reports.all(),
    pids: async () => (browser && !closed ? processTree(browser) : []),
    downloadMedia: (whatsappId, deadlineMs, maxBytes = config.maxFileSize ?? defaultMaxFileSize) =>
      downloadMedia(page, { whatsappId, maxBytes, deadlineMs }),
    async logout() {
      loggingOut = true;
      await callPage(page(), 'logout', {}, 10_000);
    },
  };
  return session;
}

/** The library injects again after every navigation without waiting for it, so its failure would be an unhandled rejection. */
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
