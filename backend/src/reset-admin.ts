import { SettingsError } from '@chasqui/shared';
import { resetAdmin } from './accounts/reset-admin.js';
import { firstLinkOf, readConfig } from './config.js';
import { openDatabase } from './db/database.js';
import { systemClock } from './lib/clock.js';
import { StartProblem } from './lib/start-problem.js';

/**
 * `node dist/reset-admin.js [e-mail or user name]`: prints a new one-time password of an admin. Reads the same settings as the backend, which
 * may run at the same time. Started by `npm run reset-admin` and by `container.mjs reset-admin`.
 */
process.umask(0o077);
try {
  const config = readConfig(process.env, process.cwd());
  const database = await openDatabase(config.database);
  try {
    const core = { database, clock: systemClock };
    const { email, username, password, linkToken } = await resetAdmin(core, process.argv[2] ?? null, config.jwtSecret);
    const link = config.PANEL_ENABLED
      ? `Open this link within an hour to choose a password: ${firstLinkOf(config, linkToken)}\nOr sign in to the panel with the one-time password and choose another one.\n`
      : '';
    process.stdout.write(`New one-time password of ${username} (${email}): ${password}\n${link}`);
  } finally {
    await database.close();
  }
} catch (error) {
  const isExpected = error instanceof StartProblem || error instanceof SettingsError;
  process.stderr.write(
    `${isExpected ? error.message : `The password was not changed: ${String((error as Error).stack ?? error)}`}\n`,
  );
  process.exitCode = 1;
}
