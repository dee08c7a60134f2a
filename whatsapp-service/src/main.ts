import { SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { runProcess } from '@chasqui/shared/process';
import { startWorker } from './app.js';
import { takeConfig } from './config.js';
import { errorFields } from './log.js';
import { DamagedStoreError } from './store.js';
import { LockHeldError, LockUnavailableError } from './sessions/profile-lock.js';

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
// Every file that this process and its browsers create is for their own user only, also in a folder that others may enter.
process.umask(0o077);

/** What a person can do about an error of the start; null for a bug. */
function explain(error: unknown): string | null {
  if (error instanceof SettingsError) return error.message;
  if (error instanceof LockUnavailableError || error instanceof DamagedStoreError) return error.message;
  if (error instanceof LockHeldError) {
    const owner = error.holder ? ` (process ${error.holder.pid} on ${error.holder.host})` : '';
    return `Another worker${owner} uses this DATA_DIR. Stop it, or give this one a DATA_DIR of its own.`;
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'The port is in use. Stop the program that uses it, or set WORKER_PORT to another port.';
  return null;
}

await runProcess({
  name: 'worker',
  start: async () => startWorker(takeConfig(process.env, process.cwd())),
  explain,
  errorFields,
});
