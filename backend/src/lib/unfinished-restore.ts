import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StartProblem } from './start-problem.js';

/** The folder in DATA_DIR that exists while a restore is not finished. */
export const restoringFolder = '.restoring';

/** Throws `StartProblem` while a restore into this folder is not finished: some parts may be in their place, and others not. */
export function refuseUnfinishedRestore(dataDir: string): void {
  if (existsSync(join(dataDir, restoringFolder)))
    throw new StartProblem(
      `A restore into ${dataDir} was not finished. Run the same \`npm run restore\` again, which continues it. To give it up, name another DATA_DIR.`,
    );
}
