import type { SessionReason } from '@chasqui/shared';
import { EngineError } from '../engine.js';
import type { BrowserConfig } from './browser.js';
import { DeadlineError } from './deadline.js';

/** Returns the message of an error, or the string that was thrown: the library also throws plain strings. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Why a browser did not start or a page did not load. Chromium and puppeteer report it only as text: the codes of Chromium's network
 * stack (net_error_list.h) and the first lines that the browser writes before it ends. The first matching row applies.
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
 * Finds the reason of a failed launch. A browser that ended while it started was either killed, and a retry may succeed, or has no sandbox, and no
 * retry can succeed. `findSandboxProblem` tells which: it returns null if the sandbox is not the cause. Never rejects.
 */
export async function launchError(
  error: unknown,
  config: BrowserConfig,
  findSandboxProblem: (config: BrowserConfig) => Promise<string | null>,
): Promise<EngineError> {
  if (error instanceof EngineError) return error;
  if (error instanceof DeadlineError) return new EngineError('PAGE_LOAD_TIMEOUT', error.message);
  const message = wordsOf(error);
  const reason = causes.find(([pattern]) => pattern.test(message))?.[1] ?? 'BROWSER_CRASHED';
  if (reason === 'BROWSER_CRASHED') {
    const problem = await findSandboxProblem(config);
    if (problem !== null) return new EngineError('SANDBOX_UNAVAILABLE', problem);
  }
  return new EngineError(
    reason,
    reason === 'BROWSER_NOT_FOUND' ? `${message} (BROWSER_PATH: ${config.path ?? 'not set'})` : message,
  );
}
