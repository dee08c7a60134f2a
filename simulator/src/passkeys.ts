import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';

/** A passkey of an account, and how WhatsApp asks for it. */
export interface Passkey {
  id: string;
  /** SPKI in base64. With it the signature is checked too. */
  publicKey: string | null;
  /** The site that it belongs to. */
  rpId?: string | undefined;
  /** How long the page waits for it. */
  timeoutMs?: number | undefined;
}

/** The argument of the page's `navigator.credentials.get`, in its JSON form (base64url). */
export interface PasskeyRequest {
  challenge: string;
  rpId: string;
  timeout: number;
  userVerification: 'required' | 'preferred';
  allowCredentials: { id: string; type: 'public-key' }[];
}

export interface Assertion {
  id: string;
  clientDataJSON: string;
  authenticatorData: string;
  signature: string;
  /** The output of the passkey's function `prf`. Null: it has none. */
  prf?: string | null;
}

export const passkeyRequest = (passkey: Passkey): PasskeyRequest => ({
  challenge: randomBytes(32).toString('base64url'),
  rpId: passkey.rpId ?? 'whatsapp.com',
  timeout: passkey.timeoutMs ?? 120_000,
  userVerification: 'required',
  allowCredentials: [{ id: passkey.id, type: 'public-key' }],
});

/** What WhatsApp requests from the page of a linked account. Any passkey of the account may answer. */
export const checkRequest = (timeoutMs: number): PasskeyRequest => ({
  challenge: randomBytes(32).toString('base64url'),
  rpId: 'whatsapp.com',
  timeout: timeoutMs,
  userVerification: 'preferred',
  allowCredentials: [],
});

/** Returns what is wrong with an assertion, or null if it answers the request. The signature is checked if the key is known. */
export function assertionFault(passkey: Passkey, request: PasskeyRequest, given: Assertion): string | null {
  if (given.id !== passkey.id) return 'another passkey';
  const clientData = Buffer.from(given.clientDataJSON, 'base64url');
  const said = JSON.parse(clientData.toString()) as { type?: string; challenge?: string; origin?: string };
  if (said.type !== 'webauthn.get' || said.challenge !== request.challenge) return 'the answer to another question';
  const authenticatorData = Buffer.from(given.authenticatorData, 'base64url');
  const rpIdHash = createHash('sha256').update(request.rpId).digest();
  if (!authenticatorData.subarray(0, 32).equals(rpIdHash)) return 'an answer for another site';
  // Bit 2 of the flags: the user was verified.
  if (((authenticatorData[32] ?? 0) & 4) === 0) return 'the user was not verified';
  if (passkey.publicKey === null) return null;
  const key = createPublicKey({ key: Buffer.from(passkey.publicKey, 'base64'), format: 'der', type: 'spki' });
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientData).digest()]);
  return verify('sha256', signed, key, Buffer.from(given.signature, 'base64url')) ? null : 'a wrong signature';
}
