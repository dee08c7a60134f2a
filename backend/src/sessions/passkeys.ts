import { AppError, type PasskeyAnswer, type PasskeyRequest } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import { auditSession, type SessionContext } from './context.js';
import type { Session } from './session.entity.js';

/**
 * Relays WhatsApp's request for the passkey of an account: to link it, or because WhatsApp checks an account that is linked. WhatsApp asks the session's
 * browser for the passkey, which it does not have. The owner signs the request in a browser of their own and sends the answer. A passkey signs only on
 * a page of its own site (`rpId`), so no page of ours can ask for it: the owner pastes `signingScript` into the console of web.whatsapp.com.
 */
export interface PasskeyWaiting {
  request: PasskeyRequest;
  /** When WhatsApp's page stops waiting. A session that is being linked then shows a QR code again; for a linked account a new request is made. */
  expiresAt: string;
}

/** See `Sessions.passkey`. */
export async function readPasskey({ gateway }: SessionContext, session: Session): Promise<PasskeyWaiting> {
  requireRequested(session);
  return gateway.passkey(session);
}

/** See `Sessions.answerPasskey`. */
export async function answerPasskey(
  context: SessionContext,
  caller: Caller,
  session: Session,
  answer: PasskeyAnswer,
): Promise<void> {
  requireRequested(session);
  await context.gateway.answerPasskey(session, answer);
  await context.database.write.run((tx) => auditSession(context, tx, caller, 'session.passkey', session));
}

function requireRequested({ status }: Session): void {
  if (status === 'passkey_required') return;
  throw new AppError('SESSION_STATE_CONFLICT', { status }, 'WhatsApp asks for no passkey now.');
}

/** A script for the console of web.whatsapp.com in the owner's browser. It asks for the passkey and shows the answer as JSON. */
export const signingScript = ({ request }: PasskeyWaiting): string => `(async () => {
  const request = ${JSON.stringify(request)};
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const { challenge, rpId, timeout, userVerification, allowCredentials, extensions } = request;
  const found = await navigator.credentials.get({
    publicKey: {
      challenge: bytes(challenge),
      ...(rpId ? { rpId } : {}),
      ...(timeout ? { timeout } : {}),
      ...(userVerification ? { userVerification } : {}),
      allowCredentials: allowCredentials.map((one) => ({ ...one, id: bytes(one.id) })),
      ...(extensions ? { extensions: { prf: { eval: { first: bytes(extensions.prf.eval.first) } } } } : {}),
    },
  });
  const { clientDataJSON, authenticatorData, signature, userHandle } = found.response;
  const prf = found.getClientExtensionResults().prf?.results?.first;
  const answer = {
    id: found.id,
    response: {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
    authenticatorAttachment: found.authenticatorAttachment,
    ...(prf ? { clientExtensionResults: { prf: { results: { first: text(prf) } } } } : {}),
  };
  prompt('Copy this answer into Chasqui:', JSON.stringify(answer));
})();
`;
