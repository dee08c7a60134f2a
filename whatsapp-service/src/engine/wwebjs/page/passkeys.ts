/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { Need, PageCore, PageWindow } from './world.js';

/** A call of WhatsApp's page to `navigator.credentials.get` that waits for the owner's answer. */
interface WaitingCall {
  options: any;
  resolve: (credential: unknown) => void;
  reject: (error: unknown) => void;
  expiresAt: number;
}

/** A request for the passkey of a linked account, and WhatsApp's verdict on the answer. Rejects when WhatsApp refuses or cannot be asked. */
interface Checkpoint {
  challenge: string;
  call: WaitingCall | null;
  verdict: Promise<void>;
}

interface PasskeyContext {
  core: PageCore;
  /** The call of WhatsApp's page that waits for the passkey. Null: none. */
  waiting: WaitingCall | null;
  checkpoint: Checkpoint | null;
}

/**
 * Lets the owner of the account answer WhatsApp's request for a passkey. WhatsApp asks the browser, and a headless browser has no passkey and would
 * refuse at once. So the call is intercepted, and waits until `answerPasskey` passes the owner's answer or WhatsApp cancels the call.
 *
 * While a phone is linked, WhatsApp's page makes the call by itself. For a check of a linked account it shows a dialog instead, with one button that
 * makes the call and one that logs the device out. Neither is pressed: `passkey` makes the call with WhatsApp's own function, and the answer is
 * submitted as the dialog does it.
 */
function installPasskeys(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  const credentials: any = navigator.credentials;
  if (!core || core.calls['challenge']) return;
  core.calls['challenge'] = () => storedChallenge(core);
  if (!credentials) return;
  const context: PasskeyContext = { core, waiting: null, checkpoint: null };
  const get = credentials.get.bind(credentials);
  credentials.get = (options: any) => (options?.publicKey ? waitForAnswer(context, options) : get(options));
  core.calls['passkey'] = async ({ needs }: { needs: readonly Need[] }) => {
    await openCheckpoint(context, needs);
    return describeWaiting(context);
  };
  core.calls['answerPasskey'] = ({ answer }: { answer: any }) => answerPasskey(context, answer);
}

/** A check of the linked account that the page has stored, and for which it shows a dialog at each start. `passkey`: its challenge. Null: none. */
function storedChallenge(core: PageCore): { kind: 'passkey'; challenge: string } | { kind: 'other' } | null {
  try {
    const key = core.moduleIfAny('WAWebIntegrityChallengeUtils')?.INTEGRITY_CHALLENGE_IDB_KEY;
    const stored = key && core.moduleIfAny('WAWebUserPrefsIndexedDBStorage')?.userPrefsIdb?.get?.(key);
    if (stored === undefined || stored === null || stored === '') return null;
    const challenge = stored.challenge_type === 'PASSKEY' ? stored.passkey_challenge_base64 : null;
    return typeof challenge === 'string' && challenge !== '' ? { kind: 'passkey', challenge } : { kind: 'other' };
  } catch {
    return null;
  }
}

/** Makes the call for a check of the linked account, unless it waits already. Refuses when this build lacks a function that the answer needs. */
async function openCheckpoint(context: PasskeyContext, needs: readonly Need[]): Promise<void> {
  const { core } = context;
  const isWaiting = (challenge: string): boolean =>
    context.waiting !== null && context.checkpoint?.call === context.waiting && context.checkpoint.challenge === challenge;
  const before = storedChallenge(core);
  if (before?.kind !== 'passkey' || isWaiting(before.challenge)) return;
  const missing = await core.load(needs);
  if (missing.length > 0)
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: `WhatsApp Web has no ${missing.join(', ')}.`, missing });
  // WhatsApp may have sent another challenge while the modules were loaded, or another request may have made the call.
  const stored = storedChallenge(core);
  if (stored?.kind !== 'passkey' || isWaiting(stored.challenge)) return;
  const { challenge } = stored;
  const earlier = context.waiting;
  const verdict = submitAssertion(core, challenge);
  verdict.catch(() => undefined); // `answerPasskey` reports it. An expired call is made again by the next request.
  for (let tries = 0; tries < 40 && context.waiting === earlier; tries += 1) await new Promise((next) => setTimeout(next, 25));
  // Without a call, what WhatsApp's function threw is the answer.
  if (context.waiting === earlier) await verdict;
  context.checkpoint = { challenge, call: context.waiting, verdict };
}

/** Signs the challenge with WhatsApp's own function, submits the result, and closes the dialog when WhatsApp accepts it. */
async function submitAssertion(core: PageCore, challenge: string): Promise<void> {
  const utils = core.module('WAWebIntegrityChallengeUtils');
  const assertion = await utils.performPasskeyAssertion(challenge);
  const verdict = await core.module('WAWebMexIntegrityChallengeResponse').mexSubmitPasskeyChallengeResponse(assertion);
  if (verdict?.success !== true)
    core.refuse('WHATSAPP_REFUSED', {
      whatsapp: { message: String(verdict?.error_message ?? 'The answer was not accepted.').slice(0, 300) },
    });
  const stored = storedChallenge(core);
  // Another challenge that came meanwhile stays.
  if (stored?.kind !== 'passkey' || stored.challenge !== challenge) return;
  await core.module('WAWebUserPrefsIndexedDBStorage').userPrefsIdb.remove(utils.INTEGRITY_CHALLENGE_IDB_KEY);
  core.moduleIfAny('WAWebModalManager')?.ModalManager?.close?.();
}

function waitForAnswer(context: PasskeyContext, options: any): Promise<unknown> {
  const timeoutMs = options.publicKey.timeout ?? 300_000;
  return new Promise((resolve, reject) => {
    const waiting: WaitingCall = { options, resolve, reject, expiresAt: Date.now() + timeoutMs };
    context.waiting?.reject(new DOMException('Another passkey request replaced this one.', 'AbortError'));
    context.waiting = waiting;
    const refuse = (): void => {
      if (context.waiting === waiting) context.waiting = null;
      reject(new DOMException('The passkey was not confirmed.', 'NotAllowedError'));
    };
    options.signal?.addEventListener('abort', refuse);
    setTimeout(refuse, timeoutMs);
    context.core.notify('passkey', {});
  });
}

/** Returns the request in WebAuthn's JSON form, and when WhatsApp stops waiting. Null: WhatsApp asks for no passkey. */
function describeWaiting({ waiting }: PasskeyContext): unknown {
  if (!waiting) return null;
  const { challenge, rpId, timeout, userVerification, allowCredentials, extensions } = waiting.options.publicKey;
  const prf = extensions?.prf?.eval?.first;
  return {
    request: {
      challenge: toBase64Url(challenge),
      rpId: rpId ?? null,
      timeout: timeout ?? null,
      userVerification: userVerification ?? null,
      allowCredentials: (allowCredentials ?? []).map(({ id, transports }: any) => ({
        id: toBase64Url(id),
        type: 'public-key',
        ...(transports ? { transports: [...transports] } : {}),
      })),
      ...(prf ? { extensions: { prf: { eval: { first: toBase64Url(prf) } } } } : {}),
    },
    expiresAt: new Date(waiting.expiresAt).toISOString(),
  };
}

/**
 * Resolves the page's call with the object that a browser would return. For a check of a linked account it returns after WhatsApp has accepted the
 * answer, and refuses otherwise. False: no call waits.
 */
async function answerPasskey(context: PasskeyContext, answer: any): Promise<boolean> {
  const { waiting, checkpoint } = context;
  if (!waiting) return false;
  context.waiting = null;
  waiting.resolve(credentialOf(answer));
  if (checkpoint?.call === waiting) await checkpoint.verdict;
  return true;
}

function credentialOf(answer: any): unknown {
  const { clientDataJSON, authenticatorData, signature, userHandle } = answer.response;
  const response = instanceOf('AuthenticatorAssertionResponse', {
    clientDataJSON: fromBase64Url(clientDataJSON),
    authenticatorData: fromBase64Url(authenticatorData),
    signature: fromBase64Url(signature),
    userHandle: userHandle ? fromBase64Url(userHandle) : null,
  });
  const prf = answer.clientExtensionResults?.prf?.results?.first;
  const json = {
    ...answer,
    rawId: answer.id,
    type: 'public-key',
    clientExtensionResults: prf ? { prf: { results: { first: prf } } } : {},
  };
  return instanceOf('PublicKeyCredential', {
    id: answer.id,
    rawId: fromBase64Url(answer.id),
    type: 'public-key',
    authenticatorAttachment: answer.authenticatorAttachment ?? null,
    response,
    getClientExtensionResults: () => (prf ? { prf: { results: { first: fromBase64Url(prf) } } } : {}),
    toJSON: () => json,
  });
}

/** Returns an object of a browser class that has no public constructor, with these properties. */
function instanceOf(name: string, properties: Record<string, unknown>): unknown {
  const object = Object.create((window as any)[name]?.prototype ?? Object.prototype);
  for (const [key, value] of Object.entries(properties)) Object.defineProperty(object, key, { value, enumerable: true });
  return object;
}

function toBase64Url(bytes: any): string {
  const view = ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
  const text = Array.from(view, (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function fromBase64Url(text: string): ArrayBuffer {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0)).buffer;
}

export const passkeysScript = pageScript(installPasskeys, [
  storedChallenge,
  openCheckpoint,
  submitAssertion,
  waitForAnswer,
  describeWaiting,
  answerPasskey,
  credentialOf,
  instanceOf,
  toBase64Url,
  fromBase64Url,
]);
