import { AppError } from '@chasqui/shared';
import type { Browser, Page } from 'puppeteer';
import { EngineError, type Engine, type EngineSession, type EngineSignal, type Identity, type LaunchOptions } from '../engine.js';
import { createBackfill } from './backfill.js';
import { addSerialized, callPage, installBridge } from './bridge.js';
import { closeBrowser, launchOptions, processTree, type BrowserConfig } from './browser.js';
import { mends } from './compat/index.js';
import { within } from './deadline.js';
import { createIdentities } from './identities.js';
import { library, type AuthStrategy, type LibraryClient } from './library.js';
import { listen } from './listen.js';
import { runOperation } from './operations/index.js';
import type { PageIdentity } from './operations/profile.js';
import { installCore } from './page/core.js';
import { installRead } from './page/read.js';
import { installSend } from './page/send.js';
import { installWatch } from './page/watch.js';
import { createProbe } from './probe.js';
import { createReports } from './reports.js';
import { createSending } from './send.js';
import { phoneOf } from '@chasqui/shared';

export interface EngineConfig {
  browser: BrowserConfig;
  /** How long the page may take to load. */
  loadTimeoutMs: number;
  /** Off only in tests that show that the mends are needed. */
  compat?: boolean;
}

/** The engine that drives whatsapp-web.js in Chromium. */
export const createEngine = (config: EngineConfig): Engine => ({ launch: (options) => launch(config, options) });

type Gone = Extract<EngineSignal, { type: 'gone' }>['reason'];

async function launch(config: EngineConfig, options: LaunchOptions): Promise<EngineSession> {
  const { Client, LocalAuth } = library();
  const auth = keepLogin(new LocalAuth({ clientId: options.sessionId, dataPath: options.profileDir }));
  const client = new Client({
    authStrategy: auth,
    puppeteer: launchOptions(config.browser),
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
  const backfill = createBackfill(page, identities);

  /** The first reason counts: what follows a crash or a logout is its echo. */
  function lose(reason: Gone, detail: string): void {
    if (gone || closed) return;
    gone = true;
    onSignal({ type: 'gone', reason, detail });
  }

  const fromPage: Record<string, (payload: never) => void> = {
    state: ({ state }: { state: string }) => onState(state),
    logout: () => {
      if (!loggingOut) lose('LOGGED_OUT_BY_PHONE', 'The page said that it was logged out.');
    },
    passkey: () => onSignal({ type: 'passkey_required' }),
    canary: ({ nonce }: { nonce: string }) => probe.heard(nonce),
    mend: ({ mend, state, detail }: { mend: string; state: never; detail: string | null }) => reports.set(mend, state, detail),
  };

  function onState(state: string): void {
    if (closed || gone) return;
    if (state === 'PAIRING' || (state === 'CONNECTED' && !wasReady)) onSignal({ type: 'authenticated' });
    else if (state === 'CONNECTED') onSignal({ type: 'line', up: true });
    else if (wasReady && (state === 'OPENING' || state === 'TIMEOUT')) onSignal({ type: 'line', up: false });
    else if (state === 'UNPAIRED_IDLE') onSignal({ type: 'qr_exhausted' });
    else if (state === 'CONFLICT') lose('CONFLICT', 'WhatsApp Web was opened elsewhere.');
    else if (wasReady && state === 'UNPAIRED') lose('LOGGED_OUT_BY_PHONE', 'The page is not linked any more.');
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
    if (abort.aborted) throw new EngineError('USER_STOPPED', 'The start was called off.');
    await current.setUserAgent((await browser!.userAgent()).replace('HeadlessChrome', 'Chrome'));
    await current.exposeFunction('chasquiNotify', (kind: string, payload: never) => {
      addSerialized(payload);
      fromPage[kind]?.(payload);
    });
    await current.evaluateOnNewDocument(installCore);
    for (const install of [installWatch, installRead, installSend]) await current.evaluateOnNewDocument(install);
    if (config.compat === false) return;
    installBridge(current, () => undefined);
    for (const mend of mends) await current.evaluateOnNewDocument(mend.install);
  }

  /** Hook 2: the page is loaded and nothing has been required; again after every reload. */
  async function arm(): Promise<void> {
    const run = (): void => (window as unknown as { chasqui: { arm(): void } }).chasqui.arm();
    await page().evaluate(run);
    await setDeviceName(deviceName ?? undefined);
  }
  const setDeviceName = client.setDeviceName.bind(client);

  client.initWebVersionCache = prepare;
  client.setDeviceName = arm;
  guardInject(
    client,
    () => closed || gone,
    (error) => lose('PAGE_CRASHED', wordsOf(error)),
  );

  async function onReady(): Promise<void> {
    const me = await callPage<PageIdentity>(page(), 'identity', {}, 10_000);
    await callPage(page(), 'checkReserved', {}, 10_000);
    wasReady = true;
    identities.forget();
    const identity: Identity = {
      phoneNumber: phoneOf(me.phone)?.slice(1) ?? null,
      lid: me.lid,
      pushName: me.pushName,
      platform: me.platform,
      whatsappWebVersion: me.version,
    };
    onSignal({ type: 'ready', identity });
  }
  listen(client, {
    identities,
    onSignal,
    isOver: () => closed || gone,
    onReady: () => onReady().catch((error: unknown) => lose('PAGE_CRASHED', wordsOf(error))),
    lose,
  });

  /** Resolves when the page is loading. What fails later is told by a signal. */
  async function begin(): Promise<void> {
    abort.addEventListener('abort', () => void close());
    const loading = new Promise<void>((resolve) => {
      client.initWebVersionCache = () => prepare().then(resolve);
    });
    const running = client.initialize();
    // A failed `initialize()` leaves its browser running, and throws strings too.
    const failure = running.then(
      () => loading,
      async (error: unknown) => {
        await close();
        throw launchError(error, config);
      },
    );
    await Promise.race([loading, failure]);
    failure.catch((error: unknown) => lose('PAGE_CRASHED', wordsOf(error)));
    if (abort.aborted) {
      await close();
      throw new EngineError('USER_STOPPED', 'The start was called off.');
    }
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
    backfill: async (since) => backfill(since, onSignal),
    compat: () => reports.all(),
    pids: async () => (browser && !closed ? processTree(browser) : []),
    async downloadMedia(whatsappId, deadlineMs) {
      const found = await callPage<{ whatsappId: string; hasMedia: boolean } | null>(
        page(),
        'locate',
        { whatsappId },
        deadlineMs,
      );
      if (!found?.hasMedia) throw new AppError('MEDIA_NOT_FOUND', { whatsappId });
      const message = await within(client.getMessageById(found.whatsappId), deadlineMs, 'Finding the message');
      const media = await within(message?.downloadMedia() ?? Promise.resolve(undefined), deadlineMs, 'The download');
      if (!media?.data) throw new AppError('MEDIA_EXPIRED', { whatsappId });
      return { bytes: Buffer.from(media.data, 'base64'), mimetype: media.mimetype, filename: media.filename ?? null };
    },
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

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function launchError(error: unknown, config: EngineConfig): EngineError {
  if (error instanceof EngineError) return error;
  const words = wordsOf(error);
  if (words === 'auth timeout' || /ERR_TIMED_OUT|Navigation timeout/.test(words))
    return new EngineError('PAGE_LOAD_TIMEOUT', words);
  if (/ERR_PROXY|ERR_TUNNEL/.test(words)) return new EngineError('PROXY_UNREACHABLE', words);
  if (/net::ERR_(NAME|INTERNET|CONNECTION|NETWORK|ADDRESS)/.test(words)) return new EngineError('NETWORK_UNREACHABLE', words);
  if (/ENOENT|Could not find|executablePath|Tried to find the browser/.test(words))
    return new EngineError('BROWSER_NOT_FOUND', `${words} (BROWSER_PATH is ${config.browser.path ?? 'not set'})`);
  if (/user data directory is already in use|ProcessSingleton/.test(words)) return new EngineError('PROFILE_LOCKED', words);
  return new EngineError('BROWSER_CRASHED', words);
}
