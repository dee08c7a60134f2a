import { sleep } from '../clock.js';
import type { SessionState } from './session-state.js';

/** Copies of a session's login, made while its browser runs. A copy is tried when the login is damaged. */

/** A copy of the login that failed, because the browser was writing, is tried again after this time. */
const copyTriesMs = 60_000;
/** How often, and after which pauses, a copy that was asked for is tried. */
const copyAttempts = 5;
const copyAttemptMs = 500;

/** Copies the login while the session is connected and nothing is sent, so that the copy is of a moment without writes. */
export async function copyWhenIdle(state: SessionState): Promise<void> {
  const { id, deps, lane, browser } = state;
  const now = deps.clock.monotonic();
  if (deps.copyEveryMs === 0 || now - state.copyTriedAt < copyTriesMs) return;
  if (state.status !== 'connected' || !browser?.isSound || lane.depth() > 0) return;
  state.copyTriedAt = now;
  const copiedAt = await deps.profiles.copiedAt(id);
  if (copiedAt !== null && deps.clock.now() - copiedAt < deps.copyEveryMs) return;
  const isSaved = await deps.profiles.saveCopy(id, browser.abort.signal);
  if (isSaved) deps.log.debug('The login was copied.', { sessionId: id });
}

/**
 * Copies the login of a connected session now. Returns whether there is a copy of this moment: not while messages are sent, and not if the
 * browser writes to its databases during each of the attempts.
 */
export async function copyNow(state: SessionState): Promise<boolean> {
  const { id, deps, browser } = state;
  for (let attempt = 0; attempt < copyAttempts; attempt += 1) {
    if (attempt > 0) await sleep(deps.clock, copyAttemptMs);
    if (state.status !== 'connected' || !browser?.isSound || state.browser !== browser) return false;
    if (state.lane.depth() === 0 && (await deps.profiles.saveCopy(id, browser.abort.signal))) return true;
  }
  return false;
}
