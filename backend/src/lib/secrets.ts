import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { fileProblem, StartProblem } from './start-problem.js';

const secrets = z.object({
  SERVICE_API_KEY: z.string(),
  JWT_SECRET: z.string(),
  COOKIE_SECRET: z.string(),
  ENCRYPTION_KEYS: z.string(),
});
export type Secrets = z.infer<typeof secrets>;

/**
 * Returns the secrets of this installation, which are created once under DATA_DIR in the same form as by the start script. Linked into place, so
 * that of two concurrent processes one wins and both read the same, and a crash leaves a whole file or none. Throws a `StartProblem` when the folder or the
 * file cannot be used.
 */
export function ensureSecrets(dataDir: string): Secrets {
  const file = join(dataDir, 'secrets.json');
  try {
    makeSecrets(dataDir, file);
    return secrets.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError)
      throw new StartProblem(
        `${file} is damaged. It contains the keys of what is stored encrypted, so it is not replaced. Restore it from a backup.`,
      );
    throw fileProblem(error, 'The data folder', dataDir);
  }
}

function makeSecrets(dataDir: string, file: string): void {
  if (!existsSync(file)) {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const random = (): string => randomBytes(32).toString('base64url');
    const made: Secrets = {
      SERVICE_API_KEY: random(),
      JWT_SECRET: random(),
      COOKIE_SECRET: random(),
      ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    };
    // Two containers that share the folder have the same process number.
    const draft = `${file}.${randomUUID()}.new`;
    const handle = openSync(draft, 'wx', 0o600);
    try {
      try {
        writeFileSync(handle, `${JSON.stringify(made, null, 2)}\n`);
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
      linkSync(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(draft, { force: true });
    }
  }
}
