import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { passkeyAnswer } from '@chasqui/shared';
import { startSimulator } from '@chasqui/simulator';
import { expect, test } from '@jest/globals';
import puppeteer from 'puppeteer';
import { signingScript } from '../src/sessions/passkeys.js';

/** The script that an owner pastes into the console of web.whatsapp.com, in a real browser with an authenticator. */
test('the script signs WhatsApp’s request with the passkey, and shows an answer that the API accepts', async () => {
  const simulator = await startSimulator();
  const executablePath = process.env['BROWSER_PATH'];
  const browser = await puppeteer.launch({
    args: ['--no-sandbox', ...simulator.browserArgs],
    ...(executablePath ? { executablePath } : {}),
  });
  try {
    const page = await browser.newPage();
    await page.goto('https://web.whatsapp.com/');
    const authenticator = await page.createCDPSession();
    await authenticator.send('WebAuthn.enable');
    await authenticator.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        ...{ protocol: 'ctap2', ctap2Version: 'ctap2_1', transport: 'internal', hasResidentKey: true },
        ...{ hasUserVerification: true, isUserVerified: true, hasPrf: true },
      },
    });
    const passkey = await page.evaluate(makePasskey);
    const publicKey = createPublicKey({ key: Buffer.from(passkey.publicKey), format: 'der', type: 'spki' });
    const challenge = randomBytes(32).toString('base64url');
    const shown = new Promise<string>((resolve) => {
      page.on('dialog', (dialog) => {
        resolve(dialog.defaultValue());
        void dialog.dismiss();
      });
    });
    const allowCredentials = [{ id: passkey.id, type: 'public-key' as const }];
    const extensions = { prf: { eval: { first: Buffer.from('whatsapp-challenge').toString('base64url') } } };
    const request = {
      challenge,
      rpId: 'whatsapp.com',
      timeout: 60_000,
      userVerification: 'required',
      allowCredentials,
      extensions,
    };
    await page.evaluate(signingScript({ request, expiresAt: new Date().toISOString() }));
    const { response, clientExtensionResults } = passkeyAnswer.parse(JSON.parse(await shown));
    expect(Buffer.from(clientExtensionResults?.prf?.results?.first ?? '', 'base64url')).toHaveLength(32);
    const clientData = Buffer.from(response.clientDataJSON, 'base64url');
    expect(JSON.parse(clientData.toString())).toMatchObject({ challenge, origin: 'https://web.whatsapp.com' });
    const signed = Buffer.concat([
      Buffer.from(response.authenticatorData, 'base64url'),
      createHash('sha256').update(clientData).digest(),
    ]);
    expect(verify('sha256', signed, publicKey, Buffer.from(response.signature, 'base64url'))).toBe(true);
  } finally {
    await browser.close();
    await simulator.close();
  }
}, 60_000);

/** Runs in the page. Makes a passkey that can also compute `prf`. */
async function makePasskey(): Promise<{ id: string; publicKey: number[] }> {
  const made = (await navigator.credentials.create({
    publicKey: {
      challenge: new Uint8Array(32),
      rp: { id: 'whatsapp.com', name: 'WhatsApp' },
      user: { id: new Uint8Array([1]), name: 'shop', displayName: 'Shop' },
      pubKeyCredParams: [{ type: 'public-key', alg: -7 }],
      authenticatorSelection: { userVerification: 'required', residentKey: 'required' },
      extensions: { prf: {} },
    },
  })) as PublicKeyCredential;
  const key = (made.response as AuthenticatorAttestationResponse).getPublicKey()!;
  return { id: made.id, publicKey: [...new Uint8Array(key)] };
}
