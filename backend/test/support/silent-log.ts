import type { Log } from '../../src/lib/log.js';

/** A log that keeps nothing, for tests that look at something else. */
export const silentLog: Log = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  isDebug: false,
};
