import { createHash, randomBytes } from 'node:crypto';

/** A file that is generated during its download, so that it can have any size. */
export interface MadeFile {
  size: number;
  /** Whether the server announces the size before the first byte. */
  announced: boolean;
  /** The number of bytes that were written to connections so far. */
  sent: number;
}

/** Files by their path. Nothing is encrypted; hashes are computed from the bytes. */
export function createMedia() {
  const files = new Map<string, Buffer>();
  const made = new Map<string, MadeFile>();
  return {
    files,
    made,
    /** Creates a file of zeros and returns its path and hash. */
    make(size: number, announced: boolean): { directPath: string; filehash: string } {
      const name = randomBytes(12);
      const directPath = `/mms/${name.toString('hex')}`;
      made.set(directPath, { size, announced, sent: 0 });
      return { directPath, filehash: createHash('sha256').update(name).digest('base64') };
    },
    get: (path: string): Buffer | undefined => files.get(path),
    /** Stores bytes and returns their path and hash, as WhatsApp's upload does. */
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
