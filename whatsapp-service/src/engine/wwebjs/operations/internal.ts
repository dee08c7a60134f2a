import type { internalOperations } from '@chasqui/shared';
import { AppError, validationError } from '@chasqui/shared';
import type { z } from 'zod';
import { within } from '../deadline.js';
import { lazyNeed, need, type OperationContext } from './context.js';

/** The internal operations that use the page: looking up a message under its reserved id, pairing codes and passkeys. */

type Input<K extends keyof typeof internalOperations> = z.output<(typeof internalOperations)[K]['input']>;

/** A lookup reads at most this many pages of a chat's history, 50 messages each, and uses at most this share of its deadline. */
const pages = 100;
const readingShare = 0.7;
/** The maximum difference between WhatsApp's clock and ours. */
const skewMs = 600_000;

/** Looks for an own message under its reserved id. The result says whether its absence is proven. */
export async function lookUp(
  { reservedId, chatId, since }: Input<'session.lookup'>,
  { call, identities, deadlineMs }: OperationContext,
): Promise<unknown> {
  await identities.learn([chatId]);
  const { id, lid } = identities.contact(chatId);
  const chatIds = [...new Set([chatId, id, lid].filter((candidate) => candidate !== null))];
  const oldest = since === null ? null : Math.floor((Date.parse(since) - skewMs) / 1_000);
  const input = { key: reservedId, chatIds, pages, since: oldest, readingMs: deadlineMs * readingShare };
  return call('lookup', input);
}

/** WhatsApp's pairing codes are valid for about three minutes. */
const codeLifeMs = 180_000;

/** Requests a code that links the account without a QR code. Throws SESSION_STATE_CONFLICT unless the session waits for a link. */
export async function pairingCode(
  { phoneNumber }: Input<'session.pairingCode'>,
  { client, call, inPage, deadlineMs }: OperationContext,
): Promise<unknown> {
  const { state } = await call<{ state: string | null }>('state', {});
  if (state !== 'UNPAIRED' && state !== 'UNPAIRED_IDLE') throw new AppError('SESSION_STATE_CONFLICT', { state });
  const code = await within(client.requestPairingCode(phoneNumber, true, codeLifeMs), deadlineMs, 'The pairing code');
  // When the code expires, the library would request another one, which notifies the phone and is reported to no caller.
  await inPage(stopCodeTimer);
  if (typeof code !== 'string' || code.length < 8) throw new AppError('WHATSAPP_ERROR', { operation: 'session.pairingCode' });
  return { code, expiresAt: new Date(Date.now() + codeLifeMs).toISOString() };
}

/** Runs in the page. */
function stopCodeTimer(): void {
  const timers = window as unknown as { codeInterval?: number | undefined };
  clearInterval(timers.codeInterval);
  timers.codeInterval = undefined;
}

/** What the answer to a check of a linked account needs in the page. While a phone is linked, the page answers WhatsApp by itself. */
export const checkpointNeeds = [
  need('WAWebIntegrityChallengeUtils', 'performPasskeyAssertion'),
  need('WAWebUserPrefsIndexedDBStorage', 'userPrefsIdb.get', 'userPrefsIdb.remove'),
  lazyNeed(
    'WAWebMexIntegrityChallengeResponse',
    ['mexSubmitPasskeyChallengeResponse'],
    ['WAWebMexIntegrityChallengeResponse', 'WAWebIntegrityPasskeyCheckpointUtils'],
  ),
];

/**
 * Returns WhatsApp's request for a passkey. Throws SESSION_STATE_CONFLICT when it asks for none, and NOT_SUPPORTED_BY_WHATSAPP when this build lacks a
 * function that the answer needs.
 */
export async function readPasskey(_: Input<'session.passkey'>, { call }: OperationContext): Promise<unknown> {
  return (await call('passkey', { needs: checkpointNeeds })) ?? refuseWithoutRequest();
}

/**
 * Passes the answer to WhatsApp's page. Throws SESSION_STATE_CONFLICT when WhatsApp asks for no passkey, VALIDATION_FAILED for the answer to another
 * request, and WHATSAPP_REFUSED when WhatsApp refuses the answer to a check of a linked account.
 */
export async function answerPasskey({ answer }: Input<'session.answerPasskey'>, { call }: OperationContext): Promise<unknown> {
  const waiting = await call<{ request: { challenge: string } } | null>('passkey', { needs: checkpointNeeds });
  if (!waiting) return refuseWithoutRequest();
  if (challengeOf(answer.response.clientDataJSON) !== waiting.request.challenge)
    throw validationError([
      {
        path: 'response.clientDataJSON',
        code: 'OTHER_CHALLENGE',
        message: 'This answers another request. Fetch the current request and sign it.',
      },
    ]);
  return (await call<boolean>('answerPasskey', { answer })) ? { answered: true } : refuseWithoutRequest();
}

function challengeOf(clientDataJSON: string): unknown {
  try {
    return (JSON.parse(Buffer.from(clientDataJSON, 'base64url').toString()) as { challenge?: unknown } | null)?.challenge;
  } catch {
    return null; // Text that is not JSON answers no request.
  }
}

function refuseWithoutRequest(): never {
  throw new AppError('SESSION_STATE_CONFLICT', {}, 'WhatsApp asks for no passkey now.');
}
