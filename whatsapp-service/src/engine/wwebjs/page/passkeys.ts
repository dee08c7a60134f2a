/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** A call of WhatsApp's page to `navigator.credentials.get` that waits for the owner's answer. */
interface WaitingCall {
  options: any;
  resolve: (credential: unknown) => void;
  reject: (error: unknown) => void;
  expiresAt: number;
}

interface PasskeyContext {
  core: PageCore;
  /** The call of WhatsApp's page that waits for the passkey. Null: none. */
  waiting: WaitingCall | null;
}

/**
 * Lets the owner of the account answer WhatsApp's request for a passkey. WhatsApp asks the browser, and a headless browser has no passkey and would
 * refuse at once. So the call is intercepted, and waits until `answerPasskey` passes the owner's answer or WhatsApp cancels the call.
 */
function installPasskeys(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  const credentials: any = navigator.credentials;
  if (!core || !credentials || core.calls['passkey']) return;
  const context: PasskeyContext = { core, waiting: null };
  const get = credentials.get.bind(credentials);
  credentials.get = (options: any) => (options?.publicKey ? waitForAnswer(context, options) : get(options));
  core.calls['passkey'] = () => describeWaiting(context);
  core.calls['answerPasskey'] = ({ answer }: { answer: any }) => answerPasskey(context, answer);
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
  const { challenge, rpId, timeout, userVerification, allowCredentials } = waiting.options.publicKey;
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
    },
    expiresAt: new Date(waiting.expiresAt).toISOString(),
  };
}

/** Resolves the page's call with the object that a browser would return. False: no call waits. */
function answerPasskey(context: PasskeyContext, answer: any): boolean {
  const { waiting } = context;
  if (!waiting) return false;
  context.waiting = null;
  const { clientDataJSON, authenticatorData, signature, userHandle } = answer.response;
  const response = instanceOf('AuthenticatorAssertionResponse', {
    clientDataJSON: fromBase64Url(clientDataJSON),
    authenticatorData: fromBase64Url(authenticatorData),
    signature: fromBase64Url(signature),
    userHandle: userHandle ? fromBase64Url(userHandle) : null,
  });
  const json = { ...answer, rawId: answer.id, type: 'public-key', clientExtensionResults: {} };
  waiting.resolve(
    instanceOf('PublicKeyCredential', {
      id: answer.id,
      rawId: fromBase64Url(answer.id),
      type: 'public-key',
      authenticatorAttachment: answer.authenticatorAttachment ?? null,
      response,
      getClientExtensionResults: () => ({}),
      toJSON: () => json,
    }),
  );
  return true;
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
  waitForAnswer,
  describeWaiting,
  answerPasskey,
  instanceOf,
  toBase64Url,
  fromBase64Url,
]);
