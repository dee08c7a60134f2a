import { mkdir } from 'node:fs/promises';
import { EngineError, type Engine, type EngineSession, type LaunchOptions } from '../engine.js';
import { armPage, attach, cancelled } from './attach.js';
import { callPage } from './bridge.js';
import { closeBrowser, launchOptions, processTree } from './browser.js';
import { createContext, pageOf, reportGone, type EngineConfig, type SessionContext } from './context.js';
import { within } from './deadline.js';
import { downloadMedia } from './download.js';
import { launchError, wordsOf } from './launch-error.js';
import { library, type AuthStrategy } from './library.js';
import { runOperation } from './operations/index.js';
import { findSandboxProblem } from './sandbox.js';

export type { EngineConfig } from './context.js';

/** The engine that drives whatsapp-web.js in Chromium. */
export const createEngine = (config: EngineConfig): Engine => ({ launch: (options) => launch(config, options) });

/** The default of MAX_FILE_SIZE. */
const defaultMaxFileSize = 10 * 1024 * 1024;
const storageMs = 3_000;

async function launch(config: EngineConfig, options: LaunchOptions): Promise<EngineSession> {
  if (options.abort.aborted) throw cancelled();
  await mkdir(options.profileDir, { recursive: true, mode: 0o700 });
  const { Client, LocalAuth } = library();
  const auth = keepLogin(new LocalAuth({ clientId: options.sessionId, dataPath: options.profileDir }));
  const client = new Client({
    authStrategy: auth,
    puppeteer: { ...launchOptions(config.browser, options.proxyPort), signal: options.abort },
    userAgent: false,
    webVersionCache: { type: 'none' },
    authTimeoutMs: config.loadTimeoutMs,
    qrMaxRetries: 0,
    takeoverOnConflict: false,
    ...(options.deviceName ? { deviceName: options.deviceName } : {}),
  });
  const context = createContext(config, options, client);
  attach(context);
  await begin(context);
  return createSession(context);
}

/** On a logout by the phone the library would delete the login while the browser runs. The worker deletes it after the browser has closed. */
function keepLogin(auth: AuthStrategy): AuthStrategy {
  auth.logout = async () => undefined;
  return auth;
}

/** Resolves when the page has loaded. Later failures are reported by a signal; signals may arrive earlier. */
async function begin(context: SessionContext): Promise<void> {
  const { client, config, options } = context;
  const { abort } = options;
  const setDeviceName = client.setDeviceName.bind(client);
  const loaded = new Promise<void>((resolve) => {
    client.setDeviceName = () => armPage(context, setDeviceName).then(resolve);
  });
  const aborted = new Promise<never>((_resolve, reject) => {
    abort.addEventListener('abort', () => reject(cancelled()), { once: true });
  });
  const running = client.initialize();
  try {
    await within(Promise.race([loaded, running, aborted]), config.loadTimeoutMs, 'Loading WhatsApp Web');
    await requireStorage(context);
  } catch (error) {
    await close(context);
    // A launch that is still running ends by `abort`, with its browser, or by a failure. No process remains.
    await within(running, 5000, 'The end of the start').catch(() => undefined);
    await close(context);
    throw abort.aborted ? cancelled() : await launchError(error, config.browser, findSandboxProblem);
  }
  running.catch((error: unknown) => reportGone(context, 'PAGE_CRASHED', wordsOf(error)));
  abort.addEventListener('abort', () => void close(context));
}

/**
 * Throws `PROFILE_CORRUPT` if the page cannot open its databases, in which WhatsApp Web keeps the login. Chromium replaces most damaged databases by
 * empty ones. One that it cannot open stays, and WhatsApp Web shows neither a code nor the account. A page that does not answer is left to the
 * limits of the session.
 */
async function requireStorage(context: SessionContext): Promise<void> {
  const failure = (): Promise<string | null> =>
    indexedDB.databases().then(
      () => null,
      (error: unknown) => String(error),
    );
  const found = await within(pageOf(context).evaluate(failure), storageMs, 'Opening the databases').catch(() => null);
  if (found !== null) throw new EngineError('PROFILE_CORRUPT', `The page cannot open its databases: ${found}`);
}

async function close({ client, state }: SessionContext): Promise<void> {
  state.isClosed = true;
  const open = state.browser ?? client.pupBrowser;
  if (open) await closeBrowser(open);
}

function createSession(context: SessionContext): EngineSession {
  const { client, config, options, identities, registered, presence, sending, account, probe, backfill, reports, state } =
    context;
  return {
    send: sending.send,
    run: (operation, input, deadlineMs, file = null) =>
      runOperation(operation, input, { page: pageOf(context), client, identities, registered, presence, deadlineMs, file }),
    probe,
    backfill: async (request) => backfill(request, options.onSignal),
    async reload(deadlineMs) {
      // The navigation ends later, with `ready`; this only waits until the browser accepts the command.
      const reloading = pageOf(context).reload({ waitUntil: 'domcontentloaded', timeout: deadlineMs });
      await within(reloading, deadlineMs, 'Reloading the page');
    },
    account: account.read,
    compat: reports.all,
    pids: async () => (state.browser && !state.isClosed ? processTree(state.browser) : []),
    downloadMedia: (whatsappId, deadlineMs, maxBytes = config.maxFileSize ?? defaultMaxFileSize) =>
      downloadMedia(() => pageOf(context), { whatsappId, maxBytes, deadlineMs }),
    async logout() {
      state.isLoggingOut = true;
      await callPage(pageOf(context), 'logout', {}, 10_000);
    },
    close: () => close(context),
  };
}
