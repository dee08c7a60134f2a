import { createHash, X509Certificate } from 'node:crypto';
import { generate } from 'selfsigned';

/** Creates a key for this run. Chromium trusts it by its hash; the machine does not trust it. */
export async function makeCertificate(): Promise<{ key: string; cert: string; spki: string }> {
  const made = await generate([{ name: 'commonName', value: 'web.whatsapp.com' }], {
    keySize: 2048,
    algorithm: 'sha256',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: ['web.whatsapp.com', '*.whatsapp.com', '*.whatsapp.net'].map((value) => ({ type: 2 as const, value })),
      },
    ],
  });
  const spki = new X509Certificate(made.cert).publicKey.export({ type: 'spki', format: 'der' });
  return { key: made.private, cert: made.cert, spki: createHash('sha256').update(spki).digest('base64') };
}
