import { SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { runProcess } from '@chasqui/shared/process';
import type { FirstAdmin } from './accounts/accounts.js';
import { startBackend, type Backend } from './app.js';
import { readConfig } from './config.js';
import { errorFields } from './lib/log.js';

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);

// The start script takes this line off the log and shows it once. Into a pipe it is written before the call returns.
const tellFirstAdmin = (first: FirstAdmin): void =>
  void process.stdout.write(`${JSON.stringify({ chasqui: 'first-admin', ...first })}\n`);

async function start(): Promise<Backend> {
  const config = readConfig(process.env, process.cwd());
  // AdminJS takes longer to load than all the rest.
  const panel = config.PANEL_ENABLED ? await import('./admin/panel.js') : {};
  return startBackend(config, { ...panel, tellFirstAdmin });
}

/** What a person can do about an error of the start; null for a bug. */
function explain(error: unknown): string | null {
  if (error instanceof SettingsError) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'The port is in use. Stop the program that uses it, or set PORT to another port.';
  return message?.startsWith('Another backend') ? message : null;
}

await runProcess({ name: 'backend', start, explain, errorFields });
