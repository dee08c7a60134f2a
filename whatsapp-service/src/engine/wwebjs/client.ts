import { mkdir } from 'node:fs/promises';
import type { Browser, Page } from 'puppeteer';
import { EngineError, type Engine, type EngineSession, type EngineSignal, type LaunchOptions } from '../engine.js';
import { createBackfill } from './backfill.js';
import { addSerialized, callPage, installBridge } from './bridge.js';
import { closeBrowser, currentUserAgent, launchOptions, processTree, type BrowserConfig } from './browser.js';
import { mends } from './compat/index.js';
import { within } from './deadline.js';
import { downloadMedia } from './download.js';
import { guardHandlers } from './guard.js';
import { createIdentities } from './identities.js';
import { launchError, wordsOf } from './launch-error.js';
import { sandboxTrouble } from './sandbox.js';
import { library, type AuthStrategy, type LibraryClient } from './library.js';
import { listen } from './listen.js';
import { runOperation } from './operations/index.js';
import { readIdentity } from './own-identity.js';
import { installCore } from './page/core.js';
import { installDownload } from './page/download.js';
import { installModels } from './page/models.js';
import { installQuiet } from './page/quiet.js';
import { installRead } from './page/read.js';
import { installSend } from './page/send.js';
import { installWatch } from './page/watch.js';
import { createProbe } from './probe.js';
import { createReports } from './reports.js';
import { createSending } from './send.js';
import { idText } from './translate.js';

export interface EngineConfig {
  browser: BrowserConfig;
  /** How long the page may take to load. */
  loadTimeoutMs: number;
  /** Bytes of a file that a message brings, where a download does not say. */
  maxFileSize?: number;
  /** Failures that change nothing for the caller but that somebody should know of. Never content, numbers or codes. */
  onOddity?: (sentence: string, fields: Record<string, unknown>) => void;
  /** Off only in tests that show that the mends are needed. */
  compat?: boolean;
}

/** The engine that drives whatsapp-web.js in Chromium. */
export const createEngine = (config: EngineConfig): Engine => ({ launch: (options) => launch(config, options) });

const calledOff = (): EngineError => new EngineError('USER_STOPPED', 'The start was called off.');

/** As MAX_FILE_SIZE. */
const defaultMaxFileSize = 10 * 1024 * 1024;

/** The kind of an error, without what it may quote of a message. */
const detailOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error);

type Gone = Extract<EngineSignal, { type: 'gone' }>['reason'];

async function launch(config: EngineConfig, options: LaunchOptions): Promise<EngineSession> {
  if (options.abort.aborted) throw calledOff();
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

/** The library deletes the login under the running browser when the phone logs out. The login is ours to delete, once it is closed. */
function keepLogin(auth: AuthStrategy): AuthStrategy {
  auth.logout = async () => undefined;
  return auth;
}

/** States in which WhatsApp will not have this login as it is. The library closes the browser on them; we say why instead. */
const refusals: Record<string, { reason: Gone; detail: string }> = {
  CONFLICT: { reason: 'CONFLICT', detail: 'WhatsApp Web was opened elsewhere.' },
  TOS_BLOCK: { reason: 'ACCOUNT_BANNED', detail: 'WhatsApp blocked this account (TOS_BLOCK).' },
  SMB_TOS_BLOCK: { reason: 'ACCOUNT_RESTRICTED', detail: 'WhatsApp blocked this business account (SMB_TOS_BLOCK).' },
  PROXYBLOCK: { reason: 'NETWORK_BLOCKED', detail: 'WhatsApp refuses this network or proxy (PROXYBLOCK).' },
  DEPRECATED_VERSION: { reason: 'PAGE_CRASHED', detail: 'WhatsApp wants a newer page (DEPRECATED_VERSION); it is loaded anew.' },
};

function createSession(config: EngineConfig, { deviceName, abort, onSignal }: LaunchOptions, client: LibraryClient) {
  const reports = createReports(config.compat === false ? [] : mends);
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

  /** The first reason counts: what follows a crash or a logout is its echo. */
  function lose(reason: Gone, detail: string): void {
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
      if (!loggingOut) lose('LOGGED_OUT_BY_PHONE', 'The page said that it was logged out.');
    },
    passkey: () => onSignal({ type: 'passkey_required' }),
    canary: ({ nonce }: { nonce: string }) => probe.heard(nonce),
    mend: ({ mend, state, detail }: Record<string, unknown>) => reports.set(mend, state, detail),
    contacts: ({ ids }: Record<string, unknown>) => {
      // Before, an address book is being synchronised, and nobody has asked for names yet.
      if (wasReady) contactsChanged(ids);
    },
    message: ({ message }: Record<string, unknown>) => {
      // Before, all that came is found by the scan.
      if (wasReady) messageCreated(message);
    },
    unreadable: ({ what, detail }: Record<string, unknown>) =>
      onSignal({ type: 'unreadable', what: String(what).slice(0, 100), detail: String(detail).slice(0, 100) }),
  };

  function onState(state: string): void {
    if (closed || gone) return;
    const refusal = refusals[state];
    if (refusal) lose(refusal.reason, refusal.detail);
    // PAIRING says nothing for certain: the page passes through it before its first code, and while it waits for a passkey.
    else if (state === 'CONNECTED') onSignal(wasReady ? { type: 'line', up: true } : { type: 'authenticated' });
    else if (wasReady && (state === 'OPENING' || state === 'TIMEOUT')) onSignal({ type: 'line', up: false });
    else if (wasReady && state.startsWith('UNPAIRED')) lose('LOGGED_OUT_BY_PHONE', 'The page is not linked any more.');
    else if (state === 'UNPAIRED_IDLE') onSignal({ type: 'qr_exhausted' });
  }

  /** Hook 1: the page exists and has not gone anywhere yet. */
  async function prepare(): Promise<void> {
    browser = client.pupBrowser;
    const current = page();
    browser!.on('disconnected', () => lose('BROWSER_CRASHED', 'The browser ended.'));
    // Some systems start the browser by a script that stays its parent: its end says more than a pipe that others still hold.
    const child = browser!.process();
    // A pipe whose other end dies may say so as an error; with nobody to hear it that would end the whole worker.
    for (const pipe of child?.stdio ?? []) pipe?.on('error', (error: Error) => lose('BROWSER_CRASHED', error.message));
    child?.once('exit', () => lose('BROWSER_CRASHED', 'The browser’s process ended.'));
    current.on('error', (error) => lose('PAGE_CRASHED', error.message));
    current.on('close', () => lose('PAGE_CRASHED', 'The page was closed.'));
    // An open dialog stops everything that the page runs, and nobody would ever answer it. A page that is left is left.
    current.on('dialog', (dialog) => {
      const answer = dialog.type() === 'beforeunload' ? dialog.accept() : dialog.dismiss();
      answer.catch(() => undefined); // The page has gone on without an answer.
    });
    if (abort.aborted) throw calledOff();
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
    await current.evaluateOnNewDocument(installQuiet);
    await current.evaluateOnNewDocument(installCore);
    for (const install of [installModels, installWatch, installRead, installSend, installDownload])
      await current.evaluateOnNewDocument(install);
    if (config.compat === false) return;
    installBridge(current, () => undefined);
    for (const mend of mends) await current.evaluateOnNewDocument(mend.install);
  }

  /** Linked, but the library could not hang itself into the page: it would stay silent for ever, so the page is given up. */
  function onInnerFailure(name: string, error: unknown, args: readonly unknown[]): void {
    if (closed || gone) return;
    // The library makes an object of each message first. What it cannot make one of is still a message for us.
    if (name === 'onAddMessageEvent') messageCreated(args[0]);
    else if (name !== 'onAppStateHasSyncedEvent') unreadable(name, error);
    config.onOddity?.('A handler of the library failed.', { handler: name, error: wordsOf(error) });
    if (name === 'onAppStateHasSyncedEvent') lose('PAGE_CRASHED', `The library could not attach: ${wordsOf(error)}`);
  }

  /** Hook 2: the page is loaded and nothing has been required; again after every reload. */
  async function arm(): Promise<void> {
    const run = (): void => (window as unknown as { chasqui: { arm(): void } }).chasqui.arm();
    await page().evaluate(run);
    await setDeviceName(deviceName ?? undefined);
  }
  const setDeviceName = client.setDeviceName.bind(client);

  client.initWebVersionCache = prepare;
  // The library closes the browser on its own at some states, and does not wait for it. Closing is ours alone.
  client.destroy = async () => undefined;
  guardInject(
    client,
    () => closed || gone,
    (error) => lose('PAGE_CRASHED', wordsOf(error)),
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
    onReady: () => onReady().catch((error: unknown) => lose('PAGE_CRASHED', wordsOf(error))),
    lose,
    onUnreadable: unreadable,
  });

  /** Resolves when the page has loaded. What fails later is told by a signal; signals may come before. */
  async function begin(): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      client.setDeviceName = () => arm().then(resolve);
    });
    const aborted = new Promise<never>((_resolve, reject) => {
      abort.addEventListener('abort', () => reject(calledOff()), { once: true });
    });
    const running = client.initialize();
    try {
      await within(Promise.race([loaded, running, aborted]), config.loadTimeoutMs, 'Loading WhatsApp Web');
    } catch (error) {
      await close();
      // A launch that is still under way ends by `abort`, by its browser's end, or fails: nothing of it is left behind.
      await within(running, 5000, 'The end of the start').catch(() => undefined);
      await close();
      throw abort.aborted ? calledOff() : await launchError(error, config.browser, sandboxTrouble);
    }
    running.catch((error: unknown) => lose('PAGE_CRASHED', wordsOf(error)));
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
      // The navigation ends later and is told by `ready`; here only whether the browser takes the order counts.
      await within(page().reload({ waitUntil: 'domcontentloaded', timeout: deadlineMs }), deadlineMs, 'Loading the page anew');
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

/** The library injects again after every navigation and does not wait for it: its failure would be nobody's. */
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
