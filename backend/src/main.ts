import { SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import type { FirstAdmin } from './accounts/accounts.js';
import { startBackend } from './app.js';
import { readConfig, type Config } from './config.js';
import { errorFields } from './lib/log.js';
import { StartProblem } from './lib/start-problem.js';

/** How long an orderly stop may take before the process goes all the same. */
const stopWithinMs = 30_000;

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
// Every file that this process creates is for its own user only, also in a folder that others may enter.
process.umask(0o077);

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  return process.exit(1);
}

function configOrExit(): Config {
  try {
    return readConfig(process.env, process.cwd());
  } catch (error) {
    if (error instanceof SettingsError || error instanceof StartProblem) return fail(error.message);
    throw error;
  }
}

const config = configOrExit();
// AdminJS takes longer to load than all the rest.
const panel = config.PANEL_ENABLED ? await import('./admin/panel.js') : {};
/**
 * The start script takes this line off the log and shows it once. Into a pipe it is written before the call returns. Where the output is kept,
 * as a container's is, the one-time password may be in it, because it must be changed at the first login; a permanent key may not.
 */
const tellFirstAdmin = ({ apiKey, ...first }: FirstAdmin): void => {
  const shown = config.SHOW_FIRST_API_KEY ? { ...first, apiKey } : first;
  process.stdout.write(`${JSON.stringify({ chasqui: 'first-admin', ...shown })}\n`);
};
const backend = await startBackend(config, { ...panel, tellFirstAdmin }).catch((error: unknown) => {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return fail('The port is taken. Stop what uses it, or set PORT to another one.');
  return fail(error instanceof StartProblem ? message : `The backend cannot start: ${stack ?? String(error)}`);
});

let stopping = false;
function stop(why: string, code: number): void {
  if (stopping) return;
  stopping = true;
  backend.log.info('The backend stops.', { why });
  setTimeout(() => process.exit(code || 1), stopWithinMs).unref();
  void backend.close().then(
    () => process.exit(code),
    (error: unknown) => {
      backend.log.error('The stop was not orderly.', errorFields(error));
      process.exit(1);
    },
  );
}

process.on('SIGTERM', () => stop('SIGTERM', 0));
process.on('SIGINT', () => stop('SIGINT', 0));
// The start script holds the other end: when it dies, nobody is left to stop us.
if (process.send) process.on('disconnect', () => stop('the parent is gone', 0));
process.on('unhandledRejection', (error) => backend.log.error('A rejection that nobody waited for.', errorFields(error)));
process.on('uncaughtException', (error) => {
  backend.log.error('An exception that nobody caught.', errorFields(error));
  stop('an uncaught exception', 1);
});
