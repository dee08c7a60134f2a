import { createHash, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
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
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const id = randomBytes(16);
    const authenticator = await page.createCDPSession();
    await authenticator.send('WebAuthn.enable');
    const { authenticatorId } = await authenticator.send('WebAuthn.addVirtualAuthenticator', {
      options: { protocol: 'ctap2', transport: 'internal', hasUserVerification: true, isUserVerified: true },
    });
    await authenticator.send('WebAuthn.addCredential', {
      authenticatorId,
      credential: {
        credentialId: id.toString('base64'),
        isResidentCredential: false,
        rpId: 'whatsapp.com',
        privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
        signCount: 0,
      },
    });
    const challenge = randomBytes(32).toString('base64url');
    const shown = new Promise<string>((resolve) => {
      page.on('dialog', (dialog) => {
        resolve(dialog.defaultValue());
        void dialog.dismiss();
      });
    });
    const allowCredentials = [{ id: id.toString('base64url'), type: 'public-key' as const }];
    const request = { challenge, rpId: 'whatsapp.com', timeout: 60_000, userVerification: 'required', allowCredentials };
    await page.evaluate(signingScript({ request, expiresAt: new Date().toISOString() }));
    const { response } = passkeyAnswer.parse(JSON.parse(await shown));
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
