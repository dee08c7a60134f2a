import { isAbsolute, join, resolve } from 'node:path';
import { readSettings, SettingsError, type Settings } from '@chasqui/shared';
import type { DatabaseLocation } from './db/database.js';
import { cronTimes } from './lib/cron.js';
import { ensureSecrets } from './lib/secrets.js';
import { refuseUnfinishedRestore } from './lib/unfinished-restore.js';

/** The backend's configuration: every setting, with absolute paths and derived values. Frozen. */
export interface Config extends Readonly<Settings> {
  readonly dataDir: string;
  readonly mediaDir: string;
  readonly backupDir: string;
  readonly database: DatabaseLocation;
  readonly workerUrls: readonly string[];
  readonly serviceKey: string;
  readonly jwtSecret: string;
  readonly cookieSecret: string;
  /** `id:base64` entries; see lib/sealer.ts. */
  readonly encryptionKeys: string;
}

/** Throws `SettingsError`, which names each invalid setting. Secrets that are not in the environment are made once, under DATA_DIR. */
export function readConfig(env: Readonly<Record<string, string | undefined>>, cwd: string): Config {
  const settings = readSettings(env);
  checkSchedules(settings);
  const dataDir = isAbsolute(settings.DATA_DIR) ? settings.DATA_DIR : resolve(cwd, settings.DATA_DIR);
  refuseUnfinishedRestore(dataDir);
  const stored = ensureSecrets(dataDir);
  return Object.freeze({
    ...settings,
    dataDir,
    mediaDir: join(dataDir, 'media'),
    backupDir: settings.BACKUP_DIR ? resolve(cwd, settings.BACKUP_DIR) : join(dataDir, 'backups'),
    database: settings.DATABASE_URL ? { url: settings.DATABASE_URL } : { file: join(dataDir, 'chasqui.sqlite') },
    workerUrls: settings.WORKER_URLS.length > 0 ? settings.WORKER_URLS : [`http://127.0.0.1:${settings.WORKER_PORT}`],
    serviceKey: settings.SERVICE_API_KEY ?? stored.SERVICE_API_KEY,
    jwtSecret: settings.JWT_SECRET ?? stored.JWT_SECRET,
    cookieSecret: settings.COOKIE_SECRET ?? stored.COOKIE_SECRET,
    encryptionKeys: settings.ENCRYPTION_KEYS ?? stored.ENCRYPTION_KEYS,
  });
}

/** Throws `SettingsError` for a schedule that never occurs, such as the 31st of February. */
function checkSchedules({ JOB_SCHEDULES, JOB_TIMEZONE }: Settings): void {
  const never = Object.entries(JOB_SCHEDULES ?? {}).filter(
    ([, cron]) => cron !== null && cronTimes(cron, JOB_TIMEZONE).after(new Date()) === null,
  );
  if (never.length === 0) return;
  throw new SettingsError(
    never.map(([name]) => ({ name: 'JOB_SCHEDULES', message: `has a schedule for ${name} that never occurs` })),
  );
}

/** The link of a token (accounts/first-link.ts), below `PUBLIC_URL` or this machine's address. */
export function firstLinkOf({ PUBLIC_URL, HOST, PORT }: Pick<Config, 'PUBLIC_URL' | 'HOST' | 'PORT'>, token: string): string {
  const host = ['0.0.0.0', '::', '::1'].includes(HOST) ? '127.0.0.1' : HOST;
  return `${PUBLIC_URL ?? `http://${host}:${PORT}`}/admin/first?token=${token}`;
}
