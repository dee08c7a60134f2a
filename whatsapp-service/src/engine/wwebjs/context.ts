import type { Browser, Page } from 'puppeteer';
import type { EngineSignal, LaunchOptions } from '../engine.js';
import { createAccountLimits, type AccountLimits } from './account.js';
import { createBackfill, type Backfill } from './backfill.js';
import { callPage } from './bridge.js';
import type { BrowserConfig } from './browser.js';
import { patches } from './compat/index.js';
import { createIdentities, type Identities } from './identities.js';
import { wordsOf } from './launch-error.js';
import type { LibraryClient } from './library.js';
import { listen, type Listener } from './listen.js';
import { createNumberCache, type NumberCache } from './number-cache.js';
import { readIdentity } from './own-identity.js';
import { renewSubscriptions, type PresenceSubscriptions } from './presence.js';
import { createProbe, type Probe } from './probe.js';
import { createReports, type Reports } from './reports.js';
import { createSelfCheck } from './self-check.js';
import { createSending } from './send.js';
import { idText } from './translate.js';

export interface EngineConfig {
  browser: BrowserConfig;
  /** The deadline for loading the page. */
  loadTimeoutMs: number;
  /** The maximum size of a media file in bytes, when a download does not set one. */
  maxFileSize?: number;
  /** Whether the phone is asked for messages that could not be decrypted. By default it is. */
  asksPhone?: boolean;
  /** Called when the phone was asked for one. */
  onAskedPhone?: () => void;
  /** Receives failures that do not affect the caller, for the log. Never content, numbers or codes. */
  onWarning?: (sentence: string, fields: Record<string, unknown>) => void;
  /** False only in tests that prove that the patches are needed. */
  compat?: boolean;
}

export type GoneReason = Extract<EngineSignal, { type: 'gone' }>['reason'];

/** One browser with its page, from its launch until it is closed. */
export interface SessionContext {
  readonly config: EngineConfig;
  readonly options: LaunchOptions;
  readonly client: LibraryClient;
  readonly identities: Identities;
  readonly registered: NumberCache;
  readonly presence: PresenceSubscriptions;
  readonly sending: ReturnType<typeof createSending>;
  readonly account: AccountLimits;
  readonly probe: Probe;
  readonly backfill: Backfill;
  readonly reports: Reports;
  /** Checks after `ready` what the page has. */
  readonly selfCheck: ReturnType<typeof createSelfCheck>;
  /** Converts the library's events and the page's reports to signals. */
  readonly listener: Listener;
  state: SessionState;
}

export interface SessionState {
  /** Null until the browser has started. */
  browser: Browser | null;
  /** A `gone` signal was emitted. */
  isGone: boolean;
  /** `close` was called. */
  isClosed: boolean;
  /** We unlink the device ourselves, so the page's logout is expected. */
  isLoggingOut: boolean;
  /** A `ready` signal was emitted. The page may be loading again. */
  wasReady: boolean;
}

/** Builds what one session consists of and subscribes to the library's events. Nothing runs before `client.initialize()`. */
export function createContext(config: EngineConfig, options: LaunchOptions, client: LibraryClient): SessionContext {
  const state: SessionState = { browser: null, isGone: false, isClosed: false, isLoggingOut: false, wasReady: false };
  const page = (): Page => pageOf(context);
  const onUnreadable = (what: string, error: unknown): void => reportUnreadable(context, what, error);
  const identities = createIdentities(page);
  const account = createAccountLimits(page);
  const sending = createSending(page, account);
  const presence = options.presence ?? new Set<string>();
  const listener = listen(client, {
    identities,
    onSignal: options.onSignal,
    presence,
    isInFlight: sending.isInFlight,
    isOver: () => isOver(context),
    lastReceipt: async (whatsappId, ack) =>
      idText(await callPage<unknown>(page(), 'lastReceipt', { whatsappId, ack }, 3000).catch(() => null)),
    onReady: () => onReady(context).catch((error: unknown) => reportGone(context, 'PAGE_CRASHED', wordsOf(error))),
    onGone: (reason, detail) => reportGone(context, reason, detail),
    onUnreadable,
  });
  const context: SessionContext = {
    config,
    options,
    client,
    identities,
    registered: createNumberCache(),
    presence,
    sending,
    account,
    probe: createProbe(page),
    backfill: createBackfill(page, identities, onUnreadable),
    selfCheck: createSelfCheck({
      page,
      isOver: () => isOver(context),
      onChecked: (check) => options.onSignal({ type: 'checked', check }),
      onFailure: (error) => config.onWarning?.('The functions of WhatsApp Web could not be checked.', { error: wordsOf(error) }),
    }),
    reports: createReports(config.compat === false ? [] : patches),
    listener,
    state,
  };
  return context;
}

/** The page of the session. Throws when its browser is closed. */
export function pageOf({ client, state }: SessionContext): Page {
  if (!client.pupPage || state.isClosed) throw new Error('The browser of this session is closed.');
  return client.pupPage;
}

export const isOver = ({ state }: SessionContext): boolean => state.isClosed || state.isGone;

/** Only the first reason is reported: later ones are consequences of the same crash or logout. */
export function reportGone(context: SessionContext, reason: GoneReason, detail: string, until?: Date): void {
  if (isOver(context)) return;
  context.state.isGone = true;
  context.options.onSignal({ type: 'gone', reason, detail, ...(until ? { until } : {}) });
}

/** Reports the name of the error, without its message, which may contain message content. */
export function reportUnreadable({ options }: SessionContext, what: string, error: unknown): void {
  options.onSignal({ type: 'unreadable', what, detail: error instanceof Error ? error.name : typeof error });
}

/** Runs after each load of the page, when the library has attached to it. */
async function onReady(context: SessionContext): Promise<void> {
  const identity = readIdentity(await callPage<unknown>(pageOf(context), 'identity', {}, 10_000));
  await callPage(pageOf(context), 'checkReserved', {}, 10_000);
  context.state.wasReady = true;
  context.identities.forget();
  context.options.onSignal({ type: 'ready', identity });
  const subscribe = async (chatId: string): Promise<unknown> =>
    callPage(pageOf(context), 'subscribePresence', { chatId }, 10_000);
  void renewSubscriptions(context.presence, subscribe, (error) => {
    if (!isOver(context)) context.config.onWarning?.('A presence subscription could not be renewed.', { error: wordsOf(error) });
  });
  void context.selfCheck(identity.whatsappWebVersion);
}
