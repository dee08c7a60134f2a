import { SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { startWorker } from './app.js';
import { readConfig, type WorkerConfig } from './config.js';
import { errorFields } from './log.js';
import { LockHeldError, LockUnavailableError } from './sessions/profile-lock.js';

/** How long an orderly stop may take before the process goes all the same. */
const stopWithinMs = 30_000;

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
// Every file that this process and its browsers create is for their own user only, also in a folder that others may enter.
process.umask(0o077);

function configOrExit(): WorkerConfig {
  try {
    return readConfig(process.env, process.cwd());
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return process.exit(1);
  }
}

// The worker's timers do not keep a process alive, and until it listens nothing else does.
const awake = setInterval(() => undefined, 1_000);
const worker = await startWorker(configOrExit()).catch((error: unknown) => {
  if (error instanceof LockUnavailableError) {
    process.stderr.write(`${error.message}\n`);
    return process.exit(1);
  }
  if (!(error instanceof LockHeldError)) throw error;
  const owner = error.holder ? ` (process ${error.holder.pid} on ${error.holder.host})` : '';
  process.stderr.write(`Another worker${owner} uses this DATA_DIR. Stop it, or give this one a DATA_DIR of its own.\n`);
  return process.exit(1);
});

clearInterval(awake);

let stopping = false;
function stop(why: string, code: number): void {
  if (stopping) return;
  stopping = true;
  worker.log.info('The worker stops.', { why });
  setTimeout(() => process.exit(code || 1), stopWithinMs).unref();
  void worker.close().then(
    () => process.exit(code),
    (error: unknown) => {
      worker.log.error('The stop was not orderly.', errorFields(error));
      process.exit(1);
    },
  );
}

process.on('SIGTERM', () => stop('SIGTERM', 0));
process.on('SIGINT', () => stop('SIGINT', 0));
// The start script holds the other end: when it dies, nobody is left to stop us.
if (process.send) process.on('disconnect', () => stop('the parent is gone', 0));
process.on('unhandledRejection', (error) => {
  worker.noteTrouble();
  worker.log.error('A rejection that nobody waited for.', errorFields(error));
});
process.on('uncaughtException', (error) => {
  worker.log.error('An exception that nobody caught.', errorFields(error));
  stop('an uncaught exception', 1);
});
