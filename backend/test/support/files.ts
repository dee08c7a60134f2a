import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Every file below a folder. */
export async function filesUnder(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Which of the texts stand in which files, as those lie there: free pages and journals included, and as base64 and hex too. */
export async function textsIn(files: readonly string[], texts: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const file of files) {
    const bytes = await readFile(file).catch(() => Buffer.alloc(0)); // Taken away meanwhile.
    for (const text of texts) {
      const forms = [text, Buffer.from(text).toString('base64').slice(2, -4), Buffer.from(text).toString('hex')];
      if (forms.some((form) => bytes.includes(form))) found.push(`${text} in ${file}`);
    }
  }
  return found;
}
