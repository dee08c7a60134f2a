import { z } from 'zod';

/** Every setting of every process: one row each. `.env.example`, the start-up check and both processes' configuration read it. */

export interface Setting<T extends z.ZodType = z.ZodType> {
  readonly schema: T;
  readonly doc: string;
  /** Other names that are also read; the first that is set counts. */
  readonly aliases?: readonly string[];
  /** Never logged, never shown. */
  readonly secret?: boolean;
  readonly group: string;
}

const integer = (min: number, max: number) => z.coerce.number<string | number>().int().min(min).max(max);
const port = integer(1, 65_535);
const flag = z.union([z.boolean(), z.stringbool()]);
const optional = z.string().min(1).optional();

const jsonList = z.union([z.array(z.string()), z.string()]).transform((value, context): string[] => {
  if (Array.isArray(value)) return value;
  try {
    return z.array(z.string()).parse(JSON.parse(value || '[]'));
  } catch {
    context.addIssue({
      code: 'custom',
      message: 'must be a JSON array of strings, such as ["--proxy-server=http://10.0.0.1:3128"]',
    });
    return z.NEVER;
  }
});

const commaList = z
  .union([z.array(z.string()), z.string()])
  .transform((value) => (Array.isArray(value) ? value : value.split(',')).map((item) => item.trim()).filter(Boolean));

const secretText = z.string().min(32, 'must have at least 32 characters; leave it out and one is made').optional();

function setting<T extends z.ZodType>(
  group: string,
  schema: T,
  doc: string,
  more: { aliases?: readonly string[]; secret?: boolean } = {},
): Setting<T> {
  return { group, schema, doc, ...more };
}

export const settings = {
  PORT: setting('Addresses', port.default(8000), 'Port of the backend: REST API and panel.'),
  HOST: setting(
    'Addresses',
    z.string().default('127.0.0.1'),
    'Address the backend listens on. 0.0.0.0 opens it to the network: put TLS before it.',
  ),
  WORKER_PORT: setting('Addresses', port.default(3000), 'Port of the worker.'),
  WORKER_HOST: setting(
    'Addresses',
    z.string().default('127.0.0.1'),
    'Address the worker listens on. It is internal: never open it to the outside.',
  ),
  WORKER_URLS: setting(
    'Addresses',
    commaList.default([]),
    'Addresses of the workers, comma separated. Default: the one on WORKER_PORT.',
    { aliases: ['NODE_SERVICE_URL'] },
  ),
  BACKEND_URL: setting('Addresses', z.url().optional(), 'Where the worker reports to. Default: the backend on PORT.'),
  WORKER_URL: setting('Addresses', z.url().optional(), 'Where backends reach this worker. Default: WORKER_PORT on this machine.'),
  PUBLIC_URL: setting('Addresses', z.url().optional(), 'Address in links and documents, such as https://wa.example.com.'),
  TRUST_PROXY: setting(
    'Addresses',
    integer(0, 10).default(0),
    'Number of reverse proxies before the backend whose X-Forwarded-For is believed.',
  ),

  DATA_DIR: setting(
    'Storage',
    z.string().min(1).default('./data'),
    'Folder of the database, logins, media, secrets and logs. Back it up.',
  ),
  DATABASE_URL: setting(
    'Storage',
    optional,
    'postgres://user:password@host:5432/name for PostgreSQL. Unset: an SQLite file in DATA_DIR.',
    { secret: true },
  ),
  REDIS_URL: setting('Storage', optional, 'Redis, optional.', { secret: true }),
  MAX_FILE_SIZE: setting('Storage', integer(1024, 2_147_483_647).default(10_485_760), 'Largest file that is accepted, in bytes.'),
  ALLOWED_FILE_TYPES: setting(
    'Storage',
    commaList.default([
      'image/*',
      'audio/*',
      'video/*',
      'application/pdf',
      'application/msword',
      'application/vnd.ms-excel',
      'application/vnd.ms-powerpoint',
      'application/vnd.openxmlformats-officedocument.*',
      'application/vnd.oasis.opendocument.*',
      'application/zip',
      'text/*',
    ]),
    'Types of files that are accepted, comma separated, with * as wildcard.',
  ),

  ADMIN_EMAIL: setting(
    'Accounts',
    z.email().default('admin@localhost.localdomain'),
    'E-mail address of the first admin, used at the first start only.',
  ),
  ADMIN_PASSWORD: setting(
    'Accounts',
    z.string().min(12).max(128).optional(),
    'Password of the first admin. Unset: a one-time password is printed at the first start.',
    { secret: true },
  ),
  SERVICE_API_KEY: setting('Accounts', secretText, 'Shared by backend and worker. Unset: made once and kept in DATA_DIR.', {
    aliases: ['NODE_SERVICE_API_KEY'],
    secret: true,
  }),
  JWT_SECRET: setting('Accounts', secretText, 'Signs the login tokens. Unset: made once and kept in DATA_DIR.', { secret: true }),
  COOKIE_SECRET: setting('Accounts', secretText, 'Signs the cookies of the panel. Unset: made once and kept in DATA_DIR.', {
    secret: true,
  }),
  ENCRYPTION_KEYS: setting(
    'Accounts',
    optional,
    'Keys for secrets at rest, `id:base64` comma separated, the first one writes. Unset: made once and kept in DATA_DIR.',
    { secret: true },
  ),
  JWT_EXPIRES_IN_HOURS: setting('Accounts', integer(1, 720).default(24), 'How long a login token is valid, in hours.'),

  BROWSER_PATH: setting(
    'Browser',
    optional,
    'Chromium, Chrome or the headless shell to use. Unset: searched, otherwise downloaded.',
    { aliases: ['CHROME_PATH', 'PUPPETEER_EXECUTABLE_PATH'] },
  ),
  BROWSER_PROFILE: setting(
    'Browser',
    z.enum(['lean', 'standard', 'hardened']).default('lean'),
    'lean: least memory, no sandbox. standard: Chromium’s own defaults, sandbox where the user may. hardened: sandbox always, or no start.',
  ),
  BROWSER_ARGS: setting('Browser', jsonList.default([]), 'More arguments for the browser, a JSON array.'),
  MAX_SESSIONS: setting('Browser', integer(1, 500).default(50), 'Most sessions on one worker.'),
  START_CONCURRENCY: setting('Browser', integer(1, 20).default(3), 'How many browsers start at once.'),
  WORKER_MEMORY_LIMIT_MB: setting(
    'Browser',
    integer(128, 10_000_000).optional(),
    'No further session is started above this memory of all browsers.',
  ),
  INIT_TIMEOUT_MS: setting(
    'Browser',
    integer(1000, 600_000).default(60_000),
    'How long a page may take to load and to sync, in milliseconds.',
  ),
  QR_MAX_RETRIES: setting(
    'Browser',
    integer(1, 100).default(6),
    'How many QR codes are shown before the session gives up with QR_TIMEOUT.',
  ),

  SEND_WAIT_MS: setting(
    'Messages',
    integer(0, 120_000).default(10_000),
    'How long a send waits for its outcome before it answers 202, in milliseconds.',
  ),
  INIT_WAIT_MS: setting(
    'Messages',
    integer(0, 120_000).default(15_000),
    'How long sessions/init waits for a QR before it answers 202, in milliseconds.',
  ),
  SEND_DEADLINE_MS: setting(
    'Messages',
    integer(1000, 300_000).default(45_000),
    'How long WhatsApp may take to acknowledge one send, in milliseconds.',
  ),
  UNCERTAIN_GRACE_MS: setting(
    'Messages',
    integer(0, 3_600_000).default(60_000),
    'How long after its return a session is given before an absent message counts as absent, in milliseconds.',
  ),
  SEND_RATE_PER_MINUTE: setting(
    'Messages',
    integer(0, 100_000).default(30),
    'Pace of a session unless its own settings say otherwise. 0: no pacing; it endangers the number.',
  ),
  MAX_QUEUED_PER_SESSION: setting('Messages', integer(1, 10_000_000).default(10_000), 'Longest queue of a session.'),
  MESSAGE_MAX_RETRIES: setting(
    'Messages',
    integer(0, 20).default(3),
    'How often a send that certainly did not leave is tried again.',
  ),
  MESSAGE_RETRY_INTERVAL: setting('Messages', integer(1, 1440).default(15), 'Minutes between those tries.'),
  IDEMPOTENCY_HOURS: setting('Messages', integer(1, 720).default(72), 'How long the reply to an Idempotency-Key is kept.'),
  DEFAULT_COUNTRY_CODE: setting(
    'Messages',
    z
      .string()
      .regex(/^[1-9]\d{0,2}$/, 'must be a calling code such as 55')
      .optional(),
    'Calling code for numbers that begin with 0. Unset: they are refused.',
  ),

  LEASE_SECONDS: setting(
    'Timing',
    integer(5, 600).default(20),
    'How long a worker may run a session without hearing from a backend.',
  ),
  HEARTBEAT_SECONDS: setting(
    'Timing',
    z.coerce.number<string | number>().min(0.2).max(60).default(5),
    'How often a worker reports.',
  ),
  PROBE_SECONDS: setting(
    'Timing',
    z.coerce.number<string | number>().min(0.5).max(300).default(5),
    'How often a session is proven alive.',
  ),
  MAX_RECONNECT_ATTEMPTS: setting(
    'Timing',
    integer(0, 100).default(5),
    'Attempts to bring a lost session back before it is an error.',
  ),

  CORS_ORIGINS: setting('Security', commaList.default([]), 'Origins of web pages that may call the API, comma separated.'),
  EGRESS_ALLOW: setting(
    'Security',
    commaList.default([]),
    'Networks (CIDR) that media URLs may reach although they are private, comma separated.',
  ),
  SECURE_COOKIES: setting(
    'Security',
    flag.default(false),
    'Send the panel’s cookie over HTTPS only. Set it when TLS stands before the backend.',
  ),
  LOG_LEVEL: setting('Logs', z.enum(['error', 'warn', 'info', 'debug']).default('info'), 'How much is logged.'),
  NODE_ENV: setting(
    'Logs',
    z.enum(['production', 'development', 'test']).default('production'),
    'production refuses weak secrets.',
  ),
} as const;

export type Settings = { [K in keyof typeof settings]: z.output<(typeof settings)[K]['schema']> };

/** What is wrong with the environment, one sentence a setting. */
export class SettingsError extends Error {
  constructor(readonly problems: { name: string; message: string }[]) {
    super(
      `Wrong settings:\n${problems.map((problem) => `  ${problem.name} ${problem.message}`).join('\n')}\nMend them in the environment or in .env and start again.`,
    );
    this.name = 'SettingsError';
  }
}

/** Reads all settings; an empty value counts as unset. Throws `SettingsError` that names every wrong one, never a secret's value. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Readonly<Settings> {
  const problems: { name: string; message: string }[] = [];
  const result: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(settings) as [string, Setting][]) {
    const from = [name, ...(row.aliases ?? [])].find((candidate) => env[candidate] !== undefined && env[candidate] !== '');
    const parsed = row.schema.safeParse(from === undefined ? undefined : env[from]);
    if (parsed.success) result[name] = parsed.data;
    else problems.push({ name: from ?? name, message: parsed.error.issues.map((issue) => issue.message).join('; ') });
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return Object.freeze(result) as Settings;
}
