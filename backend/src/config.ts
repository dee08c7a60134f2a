import { isAbsolute, join, resolve } from 'node:path';
import { readSettings, type Settings } from '@chasqui/shared';
import type { DatabaseLocation } from './db/database.js';
import { ensureSecrets } from './lib/secrets.js';

/** The backend's configuration: every setting, with absolute paths and derived values. Frozen. */
export interface Config extends Readonly<Settings> {
  readonly dataDir: string;
  readonly mediaDir: string;
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
  const dataDir = isAbsolute(settings.DATA_DIR) ? settings.DATA_DIR : resolve(cwd, settings.DATA_DIR);
  const stored = ensureSecrets(dataDir);
  return Object.freeze({
    ...settings,
    dataDir,
    mediaDir: join(dataDir, 'media'),
    database: settings.DATABASE_URL ? { url: settings.DATABASE_URL } : { file: join(dataDir, 'chasqui.sqlite') },
    workerUrls: settings.WORKER_URLS.length > 0 ? settings.WORKER_URLS : [`http://127.0.0.1:${settings.WORKER_PORT}`],
    serviceKey: settings.SERVICE_API_KEY ?? stored.SERVICE_API_KEY,
    jwtSecret: settings.JWT_SECRET ?? stored.JWT_SECRET,
    cookieSecret: settings.COOKIE_SECRET ?? stored.COOKIE_SECRET,
    encryptionKeys: settings.ENCRYPTION_KEYS ?? stored.ENCRYPTION_KEYS,
  });
}
