import { SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { runProcess } from '@chasqui/shared/process';
import { startWorker } from './app/app.js';
import { UnfinishedRestoreError } from './app/foundation.js';
import { extractConfig } from './config.js';
import { errorFields } from './log.js';
import { DamagedStoreError } from './store.js';
import { LockHeldError, LockUnavailableError } from './sessions/profile-lock.js';

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
// Only the user of this process may read the files that it and its browsers create, even in a folder that other users can enter.
process.umask(0o077);

/** Returns what an operator can do about an error at start; null for a bug. */
function explain(error: unknown): string | null {
  if (error instanceof SettingsError) return error.message;
  if (error instanceof LockUnavailableError || error instanceof DamagedStoreError) return error.message;
  if (error instanceof UnfinishedRestoreError) return error.message;
  if (error instanceof LockHeldError) {
    const owner = error.holder ? ` (process ${error.holder.pid} on ${error.holder.host})` : '';
    return `Another worker${owner} uses this DATA_DIR. Stop it, or set another DATA_DIR for this worker.`;
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'The port is in use. Stop the program that uses it, or set WORKER_PORT to another port.';
  return null;
}

await runProcess({
  name: 'worker',
  start: async () => startWorker(extractConfig(process.env, process.cwd())),
  explain,
  errorFields,
});
