/* eslint-disable max-lines -- a table, one row for each setting */
import { z } from 'zod';
import { isCallingCode } from './ids.js';
import { storageModes } from './storage-modes.js';
import { isTimezone } from './timezones.js';
import {
  browserArgs,
  cronText,
  databaseUrl,
  decimal,
  encryptionKeys,
  fileType,
  flag,
  host,
  hours,
  integer,
  jobSchedules,
  listOf,
  network,
  one,
  optional,
  origin,
  otlpHeaders,
  pageOrigin,
  port,
  proxies,
  redisUrl,
  serviceUrl,
} from './setting-kinds.js';

/** All settings of all processes, one row each. `.env.example`, the check at the start and the configuration of both processes come from it. */

export interface Setting<T extends z.ZodType = z.ZodType> {
  readonly schema: T;
  readonly doc: string;
  /** Other names that are also read; the first that is set counts. */
  readonly aliases?: readonly string[];
  /** Never logged, never shown. */
  readonly secret?: boolean;
  readonly group: string;
}

/** Whether a text is the name of a language (BCP 47), such as `en` or `pt-BR`, whose rules the runtime knows. */
export function isLanguage(name: string): boolean {
  try {
    return Intl.NumberFormat.supportedLocalesOf(name).length > 0;
  } catch {
    return false; // RangeError: the standard has no other way to ask.
  }
}

const secretText = z.string().min(32, 'must have at least 32 characters; leave it out and one is created').optional();

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
    one(host, 'must be an IP address or a host name, without scheme and port').default('127.0.0.1'),
    'Address the backend listens on. 0.0.0.0 opens it to the network: put a proxy with TLS in front of it.',
  ),
  WORKER_PORT: setting('Addresses', port.default(3000), 'Port of the worker.'),
  WORKER_HOST: setting(
    'Addresses',
    one(host, 'must be an IP address or a host name, without scheme and port').default('127.0.0.1'),
    'Address the worker listens on. It is internal: never open it to the outside.',
  ),
  WORKER_URLS: setting(
    'Addresses',
    listOf(serviceUrl, 'an address such as http://worker:3000').default([]),
    'Addresses of the workers, comma separated. Default: the one on WORKER_PORT.',
    { aliases: ['NODE_SERVICE_URL'] },
  ),
  BACKEND_URL: setting(
    'Addresses',
    one(serviceUrl, 'must be an address such as http://backend:8000').optional(),
    'Where the worker reports to. Default: the backend on PORT.',
  ),
  WORKER_URL: setting(
    'Addresses',
    one(serviceUrl, 'must be an address such as http://worker:3000').optional(),
    'Where backends reach this worker. Default: WORKER_PORT on this machine.',
  ),
  PUBLIC_URL: setting(
    'Addresses',
    one(origin, 'must be an address without a path, such as https://wa.example.com').optional(),
    'Public address, such as https://wa.example.com: the start prints it, the OpenAPI document names it as its server, and nginx redirects plain HTTP to it.',
  ),
  TRUST_PROXY: setting(
    'Addresses',
    proxies.default(0),
    'Reverse proxies whose X-Forwarded-For is trusted: their number, or their addresses as a comma-separated list of networks, addresses and host names. 0: none.',
  ),

  DATA_DIR: setting(
    'Storage',
    z.string().min(1).default('./data'),
    'Folder of the database, logins, media, secrets and logs. Back it up.',
  ),
  DATABASE_URL: setting(
    'Storage',
    databaseUrl.optional(),
    'postgres://user:password@host:5432/name for PostgreSQL. Unset: an SQLite file in DATA_DIR.',
    { secret: true },
  ),
  REDIS_URL: setting(
    'Storage',
    redisUrl.optional(),
    'redis://host:6379, optional: with it several backends count their limits together. Redis holds no data that matters; losing it is safe.',
    { secret: true },
  ),
  MAX_FILE_SIZE: setting(
    'Storage',
    integer(1024, 2_147_483_647).default(10_485_760),
    'Largest file that is accepted, in bytes. The picture of a sticker, a profile, a group or a channel has at most 10 MiB in any case.',
  ),
  MAX_INBOUND_FILE_SIZE: setting(
    'Storage',
    integer(1024, 2_147_483_647).default(67_108_864),
    'Largest file of a received message that is fetched and stored, in bytes. Larger ones are reported as failed.',
  ),
  ALLOWED_FILE_TYPES: setting(
    'Storage',
    listOf(fileType, 'a type such as image/png or image/*').default([
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

  FFMPEG_PATH: setting(
    'Storage',
    z.string().min(1).default('ffmpeg'),
    'Name or path of ffmpeg, which turns sound into voice notes. Without it they are sent as they are, with a warning.',
  ),

  BACKUP_DIR: setting(
    'Backups',
    optional,
    'Folder of the backups, on another disk if possible. Unset: `backups` in DATA_DIR. Several backends need a folder that they share.',
  ),
  BACKUP_KEY: setting(
    'Backups',
    optional,
    'Key of the backups: an age identity (AGE-SECRET-KEY-1…), or a recipient (age1…), which can only write them. `npm run backup -- --new-key` makes one. Store it elsewhere: without it no backup can be opened.',
    { secret: true },
  ),
  BACKUP_SCHEDULE: setting(
    'Backups',
    cronText.optional(),
    'When backups are made by themselves, in five fields of cron, such as `0 3 * * *`, in the time zone JOB_TIMEZONE. Unset: never.',
  ),
  BACKUP_KEEP: setting(
    'Backups',
    integer(1, 1_000).default(7),
    'How many backups that were made by themselves are stored; older ones are deleted. Others stay until they are deleted.',
  ),

  PANEL_ENABLED: setting(
    'Accounts',
    flag.default(true),
    'The panel at /admin. Off, a backend that serves programs alone starts in a fraction of the time.',
  ),
  REGISTRATION: setting(
    'Accounts',
    z.enum(['closed', 'open']).default('closed'),
    'open: anyone who reaches the API may create an account. closed: only staff may.',
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
  SERVICE_API_KEY: setting('Accounts', secretText, 'Shared by backend and worker. Unset: created once and stored in DATA_DIR.', {
    aliases: ['NODE_SERVICE_API_KEY'],
    secret: true,
  }),
  JWT_SECRET: setting('Accounts', secretText, 'Signs the login tokens. Unset: created once and stored in DATA_DIR.', {
    secret: true,
  }),
  COOKIE_SECRET: setting('Accounts', secretText, 'Signs the cookies of the panel. Unset: created once and stored in DATA_DIR.', {
    secret: true,
  }),
  ENCRYPTION_KEYS: setting(
    'Accounts',
    encryptionKeys.optional(),
    'Keys for secrets at rest, `id:base64` comma separated. The first one encrypts. A minute after a start everything is encrypted with it; then the others can be removed. Unset: created once and stored in DATA_DIR.',
    { secret: true },
  ),
  SHOW_FIRST_API_KEY: setting(
    'Accounts',
    flag.default(true),
    'Whether the very first start prints an API key beside the one-time password. false where the output is stored, as in the images: create a key in the panel.',
  ),
  JWT_EXPIRES_IN: setting('Accounts', hours(0.05, 720).default(24), 'How long a login token is valid, such as 90m, 24h or 7d.'),

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
  BROWSER_ARGS: setting('Browser', browserArgs.default([]), 'More arguments for the browser, a JSON array.'),
  ASK_PHONE_FOR_UNDECRYPTED: setting(
    'Browser',
    flag.default(true),
    'Asks the phone for received messages that WhatsApp Web could not decrypt, each once. Off: they stay unreadable unless WhatsApp delivers them again. Users suspect that many requests harm an account.',
  ),
  MAX_SESSIONS: setting('Browser', integer(1, 500).default(50), 'Maximum number of sessions on one worker.'),
  START_CONCURRENCY: setting(
    'Browser',
    integer(1, 20).default(3),
    'How many browsers start at once; one more for a session that was connected.',
  ),
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
    'How long WhatsApp may take to acknowledge one send, in milliseconds. A file extends it by 4 s for each MB, for its upload.',
  ),
  UNCERTAIN_GRACE_MS: setting(
    'Messages',
    integer(0, 3_600_000).default(60_000),
    'How long after a session has reconnected a missing message counts as not sent, in milliseconds.',
  ),
  SCHEDULE_GRACE_MINUTES: setting(
    'Messages',
    integer(1, 10_080).default(60),
    'How late a scheduled message may still be sent, for example after a stop, in minutes. Later, it fails with MISSED.',
  ),
  SEND_RATE_PER_MINUTE: setting(
    'Messages',
    integer(0, 100_000).default(30),
    'Pace of a session unless its own settings say otherwise. 0: no pacing; it endangers the number.',
  ),
  BULK_MAX_FAILED_PERCENT: setting(
    'Messages',
    integer(0, 99).default(20),
    'A bulk job pauses by itself when more than this share of its messages failed since its start, after 20 outcomes. 0: never.',
  ),
  MAX_QUEUED_PER_SESSION: setting('Messages', integer(1, 10_000_000).default(10_000), 'Longest queue of a session.'),
  MESSAGE_MAX_RETRIES: setting(
    'Messages',
    integer(0, 20).default(3),
    'How often a message that was certainly not sent is retried.',
  ),
  MESSAGE_RETRY_INTERVAL: setting(
    'Messages',
    decimal(0.01, 1440).default(15),
    'Minutes until the first of those retries; each further one waits twice as long.',
  ),
  IDEMPOTENCY_HOURS: setting('Messages', integer(1, 720).default(72), 'How long the reply to an Idempotency-Key is stored.'),
  MESSAGE_CONTENT_STORAGE: setting(
    'Messages',
    z.enum(storageModes).default('full'),
    'What is stored of messages: full, or metadata (who wrote when to whom; no body, file or name). Accounts and sessions may be stricter.',
  ),
  MESSAGE_RETENTION_DAYS: setting(
    'Messages',
    integer(0, 36_500).default(90),
    'After how many days messages that are final are deleted, by the job messages.cleanup. 0: never. Counts stay.',
  ),
  MEDIA_RETENTION_DAYS: setting(
    'Messages',
    integer(0, 36_500).default(30),
    'After how many days the files and thumbnails of messages are deleted, by the job media.cleanup. 0: with the message.',
  ),
  EVENT_RETENTION_DAYS: setting('Messages', integer(1, 36_500).default(30), 'For how many days events can be read again.'),
  DEFAULT_COUNTRY_CODE: setting(
    'Messages',
    z.string().refine(isCallingCode, 'must be a calling code such as 55').optional(),
    'Calling code for numbers that begin with 0. Unset: they are refused.',
  ),
  INTERACTIVE_MODE: setting(
    'Messages',
    z.enum(['fallback', 'reject']).default('fallback'),
    'Lists and buttons, which WhatsApp no longer delivers. fallback: sent as a text with numbered options. reject: refused. A session may have its own.',
  ),

  API_KEY_RATE_LIMIT: setting(
    'Limits',
    integer(0, 100_000_000).default(1_000),
    'Requests of one key within API_KEY_RATE_WINDOW, unless the key has a limit of its own. 0: none.',
  ),
  API_KEY_RATE_WINDOW: setting(
    'Limits',
    integer(1_000, 86_400_000).default(3_600_000),
    'The sliding window of that limit, in milliseconds.',
  ),
  IP_RATE_LIMIT: setting(
    'Limits',
    integer(0, 100_000_000).default(100),
    'Requests of one address without a valid credential within IP_RATE_WINDOW. 0: none.',
  ),
  IP_RATE_WINDOW: setting(
    'Limits',
    integer(1_000, 86_400_000).default(900_000),
    'The sliding window of that limit, in milliseconds.',
  ),
  IP_RATE_AUTHENTICATED_FACTOR: setting(
    'Limits',
    integer(1, 10_000).default(10),
    'How many times as many requests an address may make with valid credentials.',
  ),
  DEFAULT_DAILY_MESSAGE_LIMIT: setting(
    'Limits',
    integer(0, 100_000_000).default(1_000),
    'Messages of one session a day, unless the session has a limit of its own. 0: none; it endangers the number.',
  ),
  QUOTA_TIMEZONE: setting(
    'Limits',
    z.string().default('UTC').refine(isTimezone, 'must be a time zone such as America/Lima'),
    'Time zone of new accounts: where their days and months begin.',
  ),
  MAX_KEYS_PER_SESSION: setting('Limits', integer(1, 100_000).default(10), 'Maximum number of keys bound to one session.'),
  KEY_EXPIRY_DAYS: setting(
    'Limits',
    integer(0, 36_500).default(365),
    'Days after which a new key expires, unless it says when. 0: never.',
  ),
  KEY_AUTO_ROTATION: setting(
    'Limits',
    flag.default(false),
    'Whether new keys get a successor before they expire, unless they say otherwise.',
  ),
  KEY_EXPIRY_NOTICE_DAYS: setting(
    'Limits',
    integer(1, 365).default(14),
    'How many days before a key expires this is announced and its successor is created.',
  ),

  WEBHOOK_TIMEOUT: setting(
    'Webhooks',
    integer(100, 30_000).default(15_000),
    'How long a receiver may take to answer, in milliseconds.',
  ),
  WEBHOOK_RETRY_DELAYS: setting(
    'Webhooks',
    z
      .string()
      .regex(/^\d{1,10}(,\d{1,10})*$/, 'must be milliseconds, separated by commas, such as 1000,5000,15000')
      .refine(
        (list) => list.split(',').every((delay) => Number(delay) <= 2_592_000_000),
        'holds a delay of more than 30 days, which no delivery waits for',
      )
      .optional(),
    'Delays before the retries of a delivery, in milliseconds; the list is the whole schedule. Unset: 0.2 s, 0.5 s, 1 s, 2 s, 5 s, 8 s, 12 s, 30 s, 2 min, 15 min, 1 h, 6 h, 12 h, and every 12 h until the window ends.',
  ),
  WEBHOOK_RETRY_WINDOW_HOURS: setting('Webhooks', integer(1, 720).default(168), 'For how long a delivery is retried.'),
  WEBHOOK_MAX_RETRIES: setting(
    'Webhooks',
    integer(0, 100).optional(),
    'Number of retries: shortens the list, or lengthens it, each further delay three times the one before.',
  ),
  WEBHOOK_CONCURRENCY: setting(
    'Webhooks',
    integer(1, 64).default(4),
    'Attempts to one endpoint at once, of different sessions, over all backends.',
  ),
  WEBHOOK_DISABLE_AFTER_DAYS: setting(
    'Webhooks',
    integer(1, 365).default(5),
    'An endpoint whose deliveries all failed for this many days is switched off.',
  ),
  WEBHOOK_LOG_RETENTION_DAYS: setting(
    'Webhooks',
    integer(1, 365).default(30),
    'For how long deliveries and their attempts are stored.',
  ),
  MAX_WEBHOOKS_PER_SESSION: setting('Webhooks', integer(1, 1_000).default(10), 'Maximum number of endpoints of one session.'),
  MAX_WEBHOOKS_PER_ACCOUNT: setting('Webhooks', integer(1, 10_000).default(50), 'Maximum number of endpoints of one account.'),

  JOB_SCHEDULES: setting(
    'Jobs',
    jobSchedules.optional(),
    'Other schedules of jobs: entries of a job and a cron expression or `off`, separated by semicolons, such as `messages.cleanup=0 2 * * *; qr.sweep=off`.',
  ),
  JOB_TIMEZONE: setting(
    'Jobs',
    z.string().default('UTC').refine(isTimezone, 'must be a time zone such as America/Lima'),
    'Time zone in which the schedules of jobs are read.',
  ),

  LEASE_SECONDS: setting(
    'Timing',
    integer(5, 600).default(20),
    'How long a worker may run a session without hearing from a backend.',
  ),
  HEARTBEAT_SECONDS: setting('Timing', decimal(0.2, 60).default(5), 'How often a worker reports.'),
  PROBE_SECONDS: setting('Timing', decimal(0.5, 300).default(5), 'How often a session is proven alive.'),
  DISK_WARN_MB: setting(
    'Timing',
    integer(0, 1_000_000).default(500),
    'With less free disk space than this (MB) a worker reports that it is degraded, before anything fails.',
  ),
  RECYCLE_ABOVE_MB: setting(
    'Timing',
    integer(0, 100_000).default(600),
    'A browser above this much memory (PSS, in MB) is restarted as soon as its session has nothing to send. 0: never.',
  ),
  COPY_LOGIN_MINUTES: setting(
    'Timing',
    decimal(0, 10_080).default(360),
    'How often the login of an idle session is copied on the worker’s disk. The copy is used once when a login is damaged. 0: only at a stop.',
  ),
  MAX_RECONNECT_ATTEMPTS: setting(
    'Timing',
    integer(0, 100).default(5),
    'Attempts to reconnect a lost session before its status is error.',
  ),

  CORS_ORIGINS: setting(
    'Security',
    listOf(pageOrigin, 'an origin such as https://app.example.com, or *').default([]),
    'Origins of web pages that may call the API, comma separated. *: every page; credentials are then never sent by browsers on their own.',
  ),
  MAX_STREAMS_PER_KEY: setting(
    'Security',
    integer(1, 10_000).default(20),
    'Maximum number of event streams (SSE and WebSocket) that one key or login may keep open on a backend.',
  ),
  EGRESS_ALLOW: setting(
    'Security',
    listOf(network, 'a network such as 10.0.0.0/8 or an address').default([]),
    'Networks (CIDR) that media URLs, webhooks and proxies of sessions may reach although they are private, comma separated. The workers need it for proxies.',
  ),
  SECURE_COOKIES: setting(
    'Security',
    flag.default(false),
    'Send the panel’s cookie over HTTPS only. Set it when a proxy in front of the backend adds TLS.',
  ),
  LOG_LEVEL: setting('Logs', z.enum(['error', 'warn', 'info', 'debug']).default('info'), 'How much is logged.'),
  METRICS_TOKEN: setting(
    'Logs',
    z.string().min(32, 'must have at least 32 characters, such as the output of openssl rand -hex 32').optional(),
    'Secret that reads GET /metrics of both processes as a bearer token, and nothing else. The service key reads them as well.',
    { secret: true },
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: setting(
    'Logs',
    one(serviceUrl, 'must be an address such as http://otel-collector:4318').optional(),
    'Collector of OpenTelemetry traces, such as http://otel-collector:4318. They are sent to its path /v1/traces as JSON. Unset: no traces.',
  ),
  OTEL_EXPORTER_OTLP_HEADERS: setting(
    'Logs',
    otlpHeaders.optional(),
    'Further headers for the collector, such as Authorization=Bearer%20token: name=value, comma separated, with special characters percent-encoded.',
    { secret: true },
  ),
  OTEL_SERVICE_NAME: setting(
    'Logs',
    z
      .string()
      .regex(/^[\w.-]{1,64}$/, 'must have at most 64 letters, digits, dots, dashes and underscores')
      .default('chasqui'),
    'Name of this installation in traces. The processes append -backend and -worker.',
  ),
  NODE_ENV: setting(
    'Logs',
    z.enum(['production', 'development', 'test']).default('production'),
    'production refuses weak secrets, and webhooks without https.',
  ),
} as const;

export type Settings = { [K in keyof typeof settings]: z.output<(typeof settings)[K]['schema']> };

/** Thrown for wrong settings, with one sentence for each. */
export class SettingsError extends Error {
  constructor(readonly problems: { name: string; message: string }[]) {
    super(
      `Wrong settings:\n${problems.map((problem) => `  ${problem.name} ${problem.message}`).join('\n')}\nCorrect them in the environment or in .env and start again.`,
    );
    this.name = 'SettingsError';
  }
}

/** `Must be a number.` → `must be a number`: the name of the setting comes before it. */
const asClause = (sentence: string): string =>
  sentence
    .replace(/^Must /, 'must ')
    .replace(/^Required/, 'is required')
    .replace(/\.$/, '');

/** Reads all settings; an empty or blank value counts as unset. Throws `SettingsError` that names every wrong one, never a secret's value. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Readonly<Settings> {
  const problems: { name: string; message: string }[] = [];
  const result: Record<string, unknown> = {};
  for (const [name, row] of Object.entries(settings) as [string, Setting][]) {
    const from = [name, ...(row.aliases ?? [])].find((candidate) => (env[candidate] ?? '').trim() !== '');
    const parsed = row.schema.safeParse(from === undefined ? undefined : env[from]);
    if (parsed.success) result[name] = parsed.data;
    else problems.push({ name: from ?? name, message: parsed.error.issues.map(({ message }) => asClause(message)).join('; ') });
  }
  if (result['NODE_ENV'] === 'production') problems.push(...weakSecrets(result));
  if (problems.length > 0) throw new SettingsError(problems);
  return Object.freeze(result) as Settings;
}

/** Finds secrets that could be guessed: copied from a document, or one character repeated. */
function weakSecrets(values: Readonly<Record<string, unknown>>): { name: string; message: string }[] {
  return (['SERVICE_API_KEY', 'JWT_SECRET', 'COOKIE_SECRET'] as const).flatMap((name) => {
    const value = values[name];
    if (typeof value !== 'string' || !isWeakSecret(value)) return [];
    return [
      { name, message: 'can be guessed: use 32 random bytes (openssl rand -hex 32), or leave it empty and one is created' },
    ];
  });
}

export const isWeakSecret = (secret: string): boolean =>
  secret.length < 32 ||
  new Set(secret).size < 10 ||
  /change.?me|example|sample|password|your.?(secret|key)|service.?key/i.test(secret);
