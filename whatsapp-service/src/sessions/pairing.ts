import { AppError } from '@chasqui/shared';
import type { EngineSession } from '../engine/engine.js';
import { errorFields } from '../log.js';
import type { BrowserRun } from './browser-run.js';
import { background, type SessionState } from './session-state.js';

/**
 * Pairing codes, which link the account without a QR code: those that are requested, and those that a session with a number of its own requests by
 * itself while it waits to be linked.
 */

/** Each code notifies the phone and keeps the session waiting, so a session that is not linked requests this many codes after a start. */
const maxOwnCodes = 3;
const ownDeadlineMs = 20_000;

/** Requests a pairing code and emits it. A request for a number for which one runs already joins it. */
export async function requestCode(
  state: SessionState,
  engine: EngineSession,
  phoneNumber: string,
  deadlineMs: number,
  isOwn = false,
): Promise<unknown> {
  const running = state.pairing.request;
  if (running?.phoneNumber === phoneNumber) return running.output;
  const output = (async () => {
    // The page shows one code at a time.
    await running?.output.catch(() => undefined);
    return requestNow(state, engine, phoneNumber, deadlineMs, isOwn);
  })();
  const request = { phoneNumber, output };
  state.pairing.request = request;
  try {
    return await output;
  } finally {
    if (state.pairing.request === request) state.pairing.request = null;
  }
}

async function requestNow(
  state: SessionState,
  engine: EngineSession,
  phoneNumber: string,
  deadlineMs: number,
  isOwn: boolean,
): Promise<unknown> {
  const { deps, browser, pairing } = state;
  const output = await engine.run('session.pairingCode', { phoneNumber }, deadlineMs);
  const { code, expiresAt } = output as { code: string; expiresAt: string };
  if (browser) browser.codes = 0;
  pairing.code = { run: browser, phoneNumber, expiresAt: Date.parse(expiresAt), isOwn };
  deps.emit({ event: 'session.pairing_code', payload: { code, expiresAt, phoneNumber } });
  return output;
}

/**
 * Requests a code for the session's number, unless a code is valid. Called with each QR code that the page shows: so a code that expired or failed,
 * or whose number was changed, is followed by another one. The QR codes stay usable.
 */
export function requestOwnCode(state: SessionState, run: BrowserRun): void {
  const { deps, pairing } = state;
  const phoneNumber = deps.pairingNumber();
  if (phoneNumber === null || pairing.request || hasCode(state, run, phoneNumber)) return;
  if (pairing.tries.phoneNumber !== phoneNumber) pairing.tries = { phoneNumber, count: 0 };
  if (pairing.tries.count >= maxOwnCodes) return;
  pairing.tries.count += 1;
  background(state, 'pairing code', requestWhenLaunched(state, run, phoneNumber));
}

/** Whether a pairing code can still be typed. */
export const hasValidCode = ({ deps, pairing: { code } }: SessionState, run: BrowserRun): boolean =>
  code?.run === run && code.expiresAt > deps.clock.now();

/** A code that somebody requested is not replaced by one for the session's number before it expires. */
function hasCode(state: SessionState, run: BrowserRun, phoneNumber: string): boolean {
  const { code } = state.pairing;
  return hasValidCode(state, run) && (code?.isOwn === false || code?.phoneNumber === phoneNumber);
}

async function requestWhenLaunched(state: SessionState, run: BrowserRun, phoneNumber: string): Promise<void> {
  // A QR code may arrive before the launch has returned the page.
  await run.launched;
  if (!run.isCurrent || !run.session || state.status !== 'qr_pending') return;
  try {
    await requestCode(state, run.session, phoneNumber, ownDeadlineMs, true);
  } catch (error) {
    // The QR code links the account as well, and the next one tries again.
    const cause = error instanceof AppError ? { code: error.code } : errorFields(error);
    state.deps.log.warn('WhatsApp returned no pairing code for the number of the session.', { sessionId: state.id, ...cause });
  }
}
