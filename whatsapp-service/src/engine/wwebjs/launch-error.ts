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

const noSandbox =
  'The profile hardened wants Chromium’s sandbox, and it is not possible here: as root there is none, otherwise user namespaces must be allowed. Run as another user, or set BROWSER_PROFILE to standard or lean.';

export function launchError(error: unknown, { path, profile }: Pick<BrowserConfig, 'path' | 'profile'>): EngineError {
  if (error instanceof EngineError) return error;
  if (error instanceof DeadlineError) return new EngineError('PAGE_LOAD_TIMEOUT', error.message);
  const words = wordsOf(error);
  const reason = causes.find(([form]) => form.test(words))?.[1] ?? 'BROWSER_CRASHED';
  // Chromium writes why it will not start to a place that a start over a pipe does not show.
  if (reason === 'BROWSER_CRASHED' && profile === 'hardened')
    return new EngineError('BROWSER_NOT_FOUND', `${noSandbox} (${words})`);
  return new EngineError(reason, reason === 'BROWSER_NOT_FOUND' ? `${words} (BROWSER_PATH: ${path ?? 'not set'})` : words);
}
