import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isJobName, parseUrl, readSettings, settings, SettingsError, type Setting, type Settings } from '../src/index.js';

/**
 * A value is used, or it stops the start with a sentence that names its setting: none is accepted and then has no effect. `effects` says for
 * every setting what "is used" means; a new setting without an entry does not compile.
 */

type Name = keyof Settings;
/** Whether the value that the programs get can do what its text says. */
type Effect<N extends Name> = (value: NonNullable<Settings[N]>, text: string) => boolean;

/** As an operator means it: digits, perhaps with blanks around them. */
const number: Effect<Name> = (value, text) => /^\s*-?\d+(\.\d+)?\s*$/.test(text) && value === Number(text);
const verbatim: Effect<Name> = (value, text) => value === text;
const flag: Effect<Name> = (value, text) => value === /^(true|1|yes|on|y|enabled)$/i.test(text);
const url: Effect<Name> = (value, text) =>
  typeof value === 'string' &&
  /^https?:$/.test(new URL(value).protocol) &&
  new URL(`${value}/x`).href.startsWith(value) &&
  text.trim().toLowerCase().startsWith(new URL(value).protocol);
const host: Effect<Name> = (value) =>
  typeof value === 'string' && new URL(`http://${value.includes(':') ? `[${value}]` : value}`).host !== '';
const everyEntry =
  (isUsed: (entry: string) => boolean): Effect<Name> =>
  (value, text) =>
    Array.isArray(value) &&
    value.length > 0 &&
    new Set(value).size === value.length &&
    value.every(isUsed) &&
    // No entry was dropped, except what says the same again.
    value.length <= text.split(',').filter((entry) => entry.trim()).length;
/** What a browser sends as `Origin` is compared as text. */
const isOrigin = (entry: string): boolean =>
  entry === '*' || (/^https?:/.test(entry) ? new URL(entry).origin === entry : /^[a-z-]+:\/\/[a-z0-9._-]+(:\d+)?$/.test(entry));
const isNetwork = (entry: string): boolean => {
  const [address = '', bits = '0', ...rest] = entry.split('/');
  const most = address.includes(':') ? 128 : 32;
  return (
    rest.length === 0 &&
    parseUrl(`http://${most === 128 ? `[${address}]` : address}`) !== null &&
    Number(bits) <= most &&
    /^\d+$/.test(bits)
  );
};
const keysOf = (text: string): string[] => text.split(',').map((entry) => entry.trim());

const effects: { [N in Name]: Effect<N> } = {
  PORT: number,
  HOST: host,
  WORKER_PORT: number,
  WORKER_HOST: host,
  WORKER_URLS: everyEntry((entry) => url(entry, entry)),
  BACKEND_URL: url,
  WORKER_URL: url,
  PUBLIC_URL: (value, text) => url(value, text) && new URL(value).origin === value,
  TRUST_PROXY: (value, text) =>
    typeof value === 'number'
      ? number(value, text)
      : everyEntry((entry) => isNetwork(entry) || (!/^-?\d+$/.test(entry) && host(entry, entry)))(value, text),
  DATA_DIR: verbatim,
  DATABASE_URL: (value) => /^postgres(ql)?:\/\//i.test(value) && parseUrl(value) !== null,
  REDIS_URL: (value) => /^rediss?:\/\/./i.test(value) && parseUrl(value) !== null,
  MAX_FILE_SIZE: number,
  MAX_INBOUND_FILE_SIZE: number,
  ALLOWED_FILE_TYPES: everyEntry((entry) => /^[^\s/]+\/[^\s/]+$/.test(entry) && entry === entry.toLowerCase()),
  INTERACTIVE_MODE: verbatim,
  FFMPEG_PATH: verbatim,
  BACKUP_DIR: verbatim,
  BACKUP_KEY: verbatim,
  BACKUP_SCHEDULE: (value, text) => value === text && /^(?:[\da-z*/,-]+ +){4}[\da-z*/,-]+$/i.test(text.trim()),
  BACKUP_KEEP: number,
  PANEL_ENABLED: flag,
  REGISTRATION: verbatim,
  ADMIN_EMAIL: verbatim,
  ADMIN_PASSWORD: verbatim,
  SERVICE_API_KEY: verbatim,
  JWT_SECRET: verbatim,
  COOKIE_SECRET: verbatim,
  ENCRYPTION_KEYS: (value) => {
    const entries = keysOf(value).map((entry) => entry.split(':'));
    const bytes = entries.map(([, key]) => Buffer.from(key ?? '', 'base64').length);
    return bytes.every((length) => length === 32) && new Set(entries.map(([id]) => id)).size === entries.length;
  },
  SHOW_FIRST_API_KEY: flag,
  JWT_EXPIRES_IN: (value, text) => {
    const [, count, unit] = /^\s*(\d+)([mhd])\s*$/.exec(text) ?? [];
    return count !== undefined && Math.abs(value - Number(count) * { m: 1 / 60, h: 1, d: 24 }[unit as 'm' | 'h' | 'd']) < 1e-9;
  },
  BROWSER_PATH: verbatim,
  BROWSER_PROFILE: verbatim,
  BROWSER_ARGS: (value) => value.every((argument) => /^--\w/.test(argument)),
  MAX_SESSIONS: number,
  START_CONCURRENCY: number,
  WORKER_MEMORY_LIMIT_MB: number,
  INIT_TIMEOUT_MS: number,
  QR_MAX_RETRIES: number,
  SEND_WAIT_MS: number,
  INIT_WAIT_MS: number,
  SEND_DEADLINE_MS: number,
  UNCERTAIN_GRACE_MS: number,
  SCHEDULE_GRACE_MINUTES: number,
  SEND_RATE_PER_MINUTE: number,
  BULK_MAX_FAILED_PERCENT: number,
  MAX_QUEUED_PER_SESSION: number,
  MESSAGE_MAX_RETRIES: number,
  MESSAGE_RETRY_INTERVAL: number,
  IDEMPOTENCY_HOURS: number,
  MESSAGE_CONTENT_STORAGE: verbatim,
  MESSAGE_RETENTION_DAYS: number,
  MEDIA_RETENTION_DAYS: number,
  EVENT_RETENTION_DAYS: number,
  DEFAULT_COUNTRY_CODE: (value, text) => value === text && /^[1-9]\d{0,2}$/.test(value),
  API_KEY_RATE_LIMIT: number,
  API_KEY_RATE_WINDOW: number,
  IP_RATE_LIMIT: number,
  IP_RATE_WINDOW: number,
  IP_RATE_AUTHENTICATED_FACTOR: number,
  DEFAULT_DAILY_MESSAGE_LIMIT: number,
  QUOTA_TIMEZONE: verbatim,
  MAX_KEYS_PER_SESSION: number,
  KEY_EXPIRY_DAYS: number,
  KEY_AUTO_ROTATION: flag,
  KEY_EXPIRY_NOTICE_DAYS: number,
  WEBHOOK_TIMEOUT: number,
  WEBHOOK_RETRY_DELAYS: (value) => value.split(',').every((delay) => /^\d+$/.test(delay) && Number(delay) <= 2_592_000_000),
  WEBHOOK_RETRY_WINDOW_HOURS: number,
  WEBHOOK_MAX_RETRIES: number,
  WEBHOOK_CONCURRENCY: number,
  WEBHOOK_DISABLE_AFTER_DAYS: number,
  WEBHOOK_LOG_RETENTION_DAYS: number,
  MAX_WEBHOOKS_PER_SESSION: number,
  MAX_WEBHOOKS_PER_ACCOUNT: number,
  JOB_SCHEDULES: (value, text) => {
    const entries = text.split(';').filter((entry) => entry.trim());
    const names = Object.keys(value);
    const isForm = (cron: string | null): boolean => cron === null || cron.trim().split(/ +/).length === 5;
    return names.length === entries.length && names.every(isJobName) && Object.values(value).every(isForm);
  },
  JOB_TIMEZONE: verbatim,
  LEASE_SECONDS: number,
  HEARTBEAT_SECONDS: number,
  PROBE_SECONDS: number,
  DISK_WARN_MB: number,
  RECYCLE_ABOVE_MB: number,
  COPY_LOGIN_MINUTES: number,
  ASK_PHONE_FOR_UNDECRYPTED: flag,
  MAX_RECONNECT_ATTEMPTS: number,
  CORS_ORIGINS: everyEntry(isOrigin),
  MAX_STREAMS_PER_KEY: number,
  EGRESS_ALLOW: everyEntry(isNetwork),
  SECURE_COOKIES: flag,
  LOG_LEVEL: verbatim,
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_HEADERS: (value, text) =>
    Object.keys(value).length === text.split(',').length &&
    Object.values(value).every((header) => new Headers([['x', header]]).get('x') === header),
  OTEL_SERVICE_NAME: verbatim,
  METRICS_TOKEN: verbatim,
  NODE_ENV: verbatim,
};

/** Pieces of which texts are made that are nearly right. */
const piece = fc.constantFrom(
  ...[
    '',
    ' ',
    ',',
    '/',
    '//',
    ':',
    '*',
    '*.',
    '.',
    '-',
    '--',
    '@',
    '?',
    '#',
    '\\',
    '\t',
    'null',
    'true',
    '0',
    '1',
    '55',
    '999',
    '1e3',
    '0x10',
  ],
  ...[
    '-1',
    '0.5',
    '30',
    '10000',
    '100000000000',
    'http:',
    'https://',
    'HTTP://A',
    'postgres://',
    'redis://h',
    'ftp://',
    'file:///',
    'htps://',
  ],
  ...[
    'localhost',
    'a.example',
    'A.Example',
    'example.com:443',
    'u:p@h',
    '[::1]',
    '::1',
    '10.0.0.0',
    '/8',
    '/33',
    '300.1.1.1',
    '127.1',
    'a.0x7f',
    '0x7f000001',
    '999999',
  ],
  ...[
    'image/*',
    'IMAGE/PNG',
    'k1:',
    Buffer.alloc(32, 7).toString('base64'),
    '["--a"]',
    '["a"]',
    '[1]',
    'America/Lima',
    'lean',
    'x'.repeat(40),
  ],
  ...['capacitor://localhost', 'chrome-extension://abc', '/path', '/', ';', '\u0000', 'ü.example', '%20', '١٢'],
);
const text = fc.oneof(
  fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join('')),
  fc.string({ maxLength: 12 }),
  fc.integer().map(String),
);

/** What the messages themselves say of addresses is no leak when it was also the wrong value. */
const fixedTexts = [' postgres://', ' redis://h'];

describe('a value is used or stops the start', () => {
  test.each(Object.keys(settings) as Name[])('%s', (name) => {
    const effect = effects[name] as Effect<Name>;
    const valid = 'x'.repeat(8) + 'abcdefghijklmnopqrstuvwxyz0123456789';
    fc.assert(
      fc.property(fc.oneof({ weight: 20, arbitrary: text }, fc.constant(valid)), (value) => {
        let read: Settings;
        try {
          read = readSettings({ [name]: value });
        } catch (error) {
          if (!(error instanceof SettingsError)) throw error;
          expect(error.problems.map((problem) => problem.name)).toEqual([name]);
          expect(error.problems[0]!.message).toMatch(/\w{3}/);
          if ((settings[name] as Setting).secret && value.trim().length > 4 && !fixedTexts.includes(value))
            expect(error.message).not.toContain(value);
          return;
        }
        if (value.trim() === '') return expect(read[name]).toEqual(readSettings({})[name]);
        expect([name, value, read[name], effect(read[name] as never, value)]).toEqual([name, value, read[name], true]);
      }),
      { numRuns: 60 },
    );
  });
});

test.each([
  ['CORS_ORIGINS', '*', ['*']],
  [
    'CORS_ORIGINS',
    'https://Slash.Example/, https://a.example:443,http://localhost:5173',
    ['https://slash.example', 'https://a.example', 'http://localhost:5173'],
  ],
  ['CORS_ORIGINS', 'https://münchen.example', ['https://xn--mnchen-3ya.example']],
  ['CORS_ORIGINS', 'capacitor://localhost,https://a.example,https://a.example/', ['capacitor://localhost', 'https://a.example']],
  ['WORKER_URLS', 'http://a:1/, http://b:2', ['http://a:1', 'http://b:2']],
  ['PUBLIC_URL', 'https://wa.example.com/', 'https://wa.example.com'],
  ['TRUST_PROXY', '2', 2],
  ['TRUST_PROXY', 'nginx, 10.0.0.0/8,::1', ['nginx', '10.0.0.0/8', '::1']],
  ['EGRESS_ALLOW', '10.0.0.0/8,127.0.0.1', ['10.0.0.0/8', '127.0.0.1']],
  ['ALLOWED_FILE_TYPES', 'IMAGE/PNG,audio/*,*', ['image/png', 'audio/*', '*/*']],
  ['DATABASE_URL', 'postgres://u:p%40ss@db:5432/chasqui?sslmode=require', 'postgres://u:p%40ss@db:5432/chasqui?sslmode=require'],
  ['SEND_RATE_PER_MINUTE', ' 12 ', 12],
  [
    'JOB_SCHEDULES',
    ' messages.cleanup = 0 2 * * SUN ;housekeeping=*/20 6-22 1,15 jan-mar *;qr.sweep=Off;',
    { 'messages.cleanup': '0 2 * * SUN', housekeeping: '*/20 6-22 1,15 jan-mar *', 'qr.sweep': null },
  ],
])('%s=%s is accepted and normalized', (name, value, expected) => {
  expect(readSettings({ [name]: value })[name as Name]).toEqual(expected);
});

test.each([
  [
    'CORS_ORIGINS',
    ['app.example', 'https://*.example.com', 'https://a.example/path', 'null', ',', 'htps://a.example', 'https://u:p@a.example'],
  ],
  ['TRUST_PROXY', ['-1', '11', '1.5', '10.0.0.0/33', 'http://nginx', '1,nginx', 'true']],
  ['EGRESS_ALLOW', ['10.0.0.0/33', 'intranet', '10.0.0', '::1/129', 'http://10.0.0.1']],
  ['WORKER_URLS', ['worker:3000', 'http://', 'ftp://a', 'http://u:p@a', 'http://a?b=c']],
  ['PUBLIC_URL', ['wa.example.com', 'https://a.example/chasqui', 'https://a.example?x', 'javascript:alert(1)']],
  ['DATABASE_URL', ['mysql://a/b', 'postgres', 'sqlite:./x', 'postgres://u:p#ss word@h/db']],
  ['REDIS_URL', ['localhost:6379', 'http://redis', 'redis://']],
  ['ALLOWED_FILE_TYPES', ['png', 'image/', 'image png', '.pdf', 'image/png;x']],
  ['BROWSER_ARGS', ['["a"]', '["--user-data-dir=/x"]', '["--remote-debugging-port=9222"]', '["-x"]']],
  [
    'ENCRYPTION_KEYS',
    ['k1', 'k1:short', `k1:${Buffer.alloc(31).toString('base64')}`, `a:${'A'.repeat(43)}=,a:${'B'.repeat(43)}=`],
  ],
  [
    'BACKUP_SCHEDULE',
    [
      'daily',
      '@daily',
      '0 3 * *',
      '0 3 * * * *',
      '60 3 * * *',
      '0 24 * * *',
      '0 3 0 * *',
      '0 3 * 13 *',
      '*/0 * * * *',
      '5-1 * * * *',
      '0 3 * MON *',
    ],
  ],
  ['DEFAULT_COUNTRY_CODE', ['0', '999', '+55', 'br']],
  ['HOST', ['http://0.0.0.0', '0.0.0.0:8000', '300.1.1.1', 'a b']],
  [
    'JOB_SCHEDULES',
    [
      ...['off', ';', 'nothing=0 2 * * *', 'toString=off', 'messages.cleanup', 'messages.cleanup=', 'messages.cleanup=daily'],
      ...['60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '*/0 * * * *', '5/10 * * * *', '9-5 * * * *']
        .concat(['* * * * * *', '@daily', '0 2 * *', '1,,2 * * * *', '* * * * sunday', '-1 * * * *'])
        .map((cron) => `messages.cleanup=${cron}`),
      'qr.sweep=off;qr.sweep=* * * * *',
    ],
  ],
  ['JOB_TIMEZONE', ['Nowhere/City', 'UTC+27']],
  ['SEND_RATE_PER_MINUTE', ['0x10', '1e3', '1_000', 'ten']],
])('%s stops the start for what would have no effect', (name, values) => {
  for (const value of values) expect(() => readSettings({ [name]: value })).toThrow(new RegExp(`\\n {2}${name} \\w`));
});

test('blanks count as unset: they are no number, and 0 would switch a limit off', () => {
  expect(readSettings({ SEND_RATE_PER_MINUTE: '  ', IP_RATE_LIMIT: '\t' })).toMatchObject({
    SEND_RATE_PER_MINUTE: 30,
    IP_RATE_LIMIT: 100,
  });
});

test.each(['SERVICE_API_KEY', 'JWT_SECRET', 'COOKIE_SECRET'])('production refuses a %s that can be guessed', (name) => {
  for (const weak of ['x'.repeat(40), 'change-me-please-0123456789-abcdefghij', 'abababababababababababababababababab']) {
    expect(() => readSettings({ [name]: weak })).toThrow(`${name} can be guessed`);
    expect(() => readSettings({ [name]: weak, NODE_ENV: 'development' })).not.toThrow();
    expect(() => readSettings({ [name]: weak })).not.toThrow(new RegExp(weak));
  }
});
