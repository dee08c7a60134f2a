import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { PasskeyAnswer, PasskeyRequest } from '@chasqui/shared';

/** A passkey as an authenticator holds it: signs requests as WebAuthn says (level 2, sections 5.8.1 and 6.1). */
export function makePasskey(id = randomBytes(16).toString('base64url')) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    id,
    /** SPKI in DER, base64. */
    publicKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
    sign({ challenge, rpId, extensions }: PasskeyRequest): PasskeyAnswer {
      const clientData = Buffer.from(JSON.stringify({ type: 'webauthn.get', challenge, origin: 'https://web.whatsapp.com' }));
      const userPresentAndVerified = 0b101;
      const authenticatorData = Buffer.concat([
        createHash('sha256').update(rpId!).digest(),
        Buffer.from([userPresentAndVerified, 0, 0, 0, 0]),
      ]);
      const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientData).digest()]);
      return {
        id,
        response: {
          clientDataJSON: clientData.toString('base64url'),
          authenticatorData: authenticatorData.toString('base64url'),
          signature: sign('sha256', signed, privateKey).toString('base64url'),
          userHandle: null,
        },
        authenticatorAttachment: 'platform',
        ...(extensions ? { clientExtensionResults: { prf: { results: { first: 'b3V0cHV0' } } } } : {}),
      };
    },
  };
}
