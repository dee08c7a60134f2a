import { createHash, randomBytes } from 'node:crypto';

/** Files by their path. Nothing is encrypted; hashes are of the bytes themselves. */
export function createMedia() {
  const files = new Map<string, Buffer>();
  return {
    files,
    get: (path: string): Buffer | undefined => files.get(path),
    /** Keeps bytes and gives their place, as WhatsApp's upload does. */
    put(bytes: Buffer): { directPath: string; filehash: string; handle: string } {
      const directPath = `/mms/${randomBytes(12).toString('hex')}`;
      files.set(directPath, bytes);
      return {
        directPath,
        filehash: createHash('sha256').update(bytes).digest('base64'),
        handle: randomBytes(8).toString('hex'),
      };
    },
  };
}
export type Media = ReturnType<typeof createMedia>;
