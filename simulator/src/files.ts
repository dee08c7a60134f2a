import { createHash, randomBytes } from 'node:crypto';

/** Keeps bytes and gives their place, as WhatsApp's upload does. */
export function storeMedia(media: Map<string, Buffer>, bytes: Buffer): { directPath: string; filehash: string } {
  const directPath = `/mms/${randomBytes(12).toString('hex')}`;
  media.set(directPath, bytes);
  return { directPath, filehash: createHash('sha256').update(bytes).digest('base64') };
}
