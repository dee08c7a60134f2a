import type { SessionReason } from '@chasqui/shared';
import { EngineError } from '../engine.js';
import type { BrowserConfig } from './browser.js';
import { DeadlineError } from './deadline.js';

/** An error's words. The library throws plain strings too. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Why a browser did not start or a page did not load. Chromium and puppeteer tell it in words only: the codes of Chromium's network
 * stack (net_error_list.h) and the first lines that the browser writes before it ends. The first row that fits counts.
 */
const causes: readonly (readonly [RegExp, SessionReason])[] = [
  [/^auth timeout$|ERR_TIMED_OUT|ERR_CONNECTION_TIMED_OUT|Navigation timeout/, 'PAGE_LOAD_TIMEOUT'],
  [/ERR_(PROXY_AUTH|INVALID_AUTH|UNEXPECTED_PROXY_AUTH|MALFORMED_PROXY_AUTH)/, 'PROXY_AUTH_FAILED'],
  [/ERR_(PROXY|TUNNEL|SOCKS|NO_SUPPORTED_PROXIES|MANDATORY_PROXY)/, 'PROXY_UNREACHABLE'],
  [/ERR_(NAME|INTERNET|CONNECTION|NETWORK|ADDRESS|SSL|CERT|EMPTY_RESPONSE|DNS)/, 'NETWORK_UNREACHABLE'],
  [/ENOENT|Could not find|executablePath|Tried to find the browser/, 'BROWSER_NOT_FOUND'],
  [/user data directory is already in use|ProcessSingleton/, 'PROFILE_LOCKED'],
  [/ENOSPC|No space left/, 'DISK_FULL'],
];

/**
 * The error of a launch with its reason. A browser that ended while it started may have been killed, which is worth another try, or may
 * lack its sandbox, which is not: `sandboxTrouble` finds out, and returns null where the sandbox is not the cause. Never rejects.
 */
export async function launchError(
  error: unknown,
  config: BrowserConfig,
  sandboxTrouble: (config: BrowserConfig) => Promise<string | null>,
): Promise<EngineError> {
  if (error instanceof EngineError) return error;
  if (error instanceof DeadlineError) return new EngineError('PAGE_LOAD_TIMEOUT', error.message);
  const words = wordsOf(error);
  const reason = causes.find(([form]) => form.test(words))?.[1] ?? 'BROWSER_CRASHED';
  if (reason === 'BROWSER_CRASHED') {
    const trouble = await sandboxTrouble(config);
    if (trouble !== null) return new EngineError('SANDBOX_UNAVAILABLE', trouble);
  }
  return new EngineError(reason, reason === 'BROWSER_NOT_FOUND' ? `${words} (BROWSER_PATH: ${config.path ?? 'not set'})` : words);
}
