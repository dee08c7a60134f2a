import { SettingsError, unknownSettings } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { runProcess } from '@chasqui/shared/process';
import type { FirstAdmin } from './accounts/accounts.js';
import { startBackend, type Backend } from './app/app.js';
import { firstLinkOf, readConfig, type Config } from './config.js';
import { errorFields } from './lib/log.js';
import { StartProblem } from './lib/start-problem.js';

armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
// Every file that this process creates is for its own user only, also in a folder that others may enter.
process.umask(0o077);

/**
 * Prints the password of the first admin as one JSON line. The start script removes this line from the log and shows it once. A pipe has it
 * before the call returns. If the output is stored, as a container's is, it may contain the one-time password, which must be changed at the
 * first login, but not a permanent key.
 */
const showFirstAdminPassword = ({ apiKey, linkToken, ...first }: FirstAdmin, config: Config): void => {
  const link = linkToken && config.PANEL_ENABLED ? { link: firstLinkOf(config, linkToken) } : {};
  const shown = { ...first, ...link, ...(config.SHOW_FIRST_API_KEY ? { apiKey } : {}) };
  process.stdout.write(`${JSON.stringify({ chasqui: 'first-admin', ...shown })}\n`);
};

async function start(): Promise<Backend> {
  const config = readConfig(process.env, process.cwd());
  const misspelled = unknownSettings(Object.keys(process.env)).filter(({ meant }) => meant !== null);
  // AdminJS takes longer to load than all other modules.
  const panel = config.PANEL_ENABLED ? await import('./admin/panel.js') : {};
  const backend = await startBackend(config, {
    ...panel,
    showFirstAdminPassword: (first) => showFirstAdminPassword(first, config),
  });
  // Not an error: the variable may belong to another program.
  for (const { name, meant } of misspelled)
    backend.log.warn('An environment variable looks like a misspelled setting and has no effect.', { name, meant });
  return backend;
}

/** Returns what a person can do about an error of the start. Null: it is a bug. */
function explain(error: unknown): string | null {
  if (error instanceof SettingsError || error instanceof StartProblem) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'The port is in use. Stop the program that uses it, or set PORT to another port.';
  return null;
}

await runProcess({ name: 'backend', start, explain, errorFields });
