import path from 'node:path';
import { readSettings, settings as allSettings, SettingsError, type Setting, type Settings } from '@chasqui/shared';

/** The worker's settings, with absolute paths and with defaults that depend on other settings. */
export interface WorkerConfig {
  readonly host: string;
  /** 0 means a free port, for tests. */
  readonly port: number;
  /** The URL at which backends reach this worker. */
  readonly url: string | null;
  readonly backendUrl: string;
  readonly serviceKey: string;
  /** `DATA_DIR/worker`: the SQLite file, profiles, locks and temporary files. */
  readonly dir: string;
  readonly maxFileSize: number;
  readonly maxSessions: number;
  readonly startConcurrency: number;
  readonly memoryLimitMb: number | null;
  readonly initTimeoutMs: number;
  /** How many QR codes a session shows before it fails with QR_TIMEOUT. */
  readonly maxQrCodes: number;
  readonly sendDeadlineMs: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly probeMs: number;
  readonly maxReconnectAttempts: number;
  /** Megabytes; 0: never. */
  readonly recycleAboveMb: number;
  readonly copyEveryMs: number;
  /** Whether phones are asked for messages that could not be decrypted. */
  readonly asksPhone: boolean;
  readonly diskWarnMb: number;
  readonly browser: Readonly<{ path: string | null; profile: Settings['BROWSER_PROFILE']; args: readonly string[] }>;
  /** Private networks in which proxies of sessions may be. */
  readonly egressAllow: readonly string[];
  readonly logLevel: Settings['LOG_LEVEL'];
  readonly metricsToken: string | undefined;
  /** The collector of traces. */
  readonly traces: Readonly<{ endpoint: string | undefined; headers: Readonly<Record<string, string>>; serviceName: string }>;
}

/** Throws `SettingsError`, whose message says what to do. Never shows a secret's value. */
export function readConfig(env: Readonly<Record<string, string | undefined>>, cwd: string): WorkerConfig {
  const settings = readSettings(env);
  return Object.freeze({
    host: settings.WORKER_HOST,
    port: settings.WORKER_PORT,
    url: settings.WORKER_URL ?? `http://${urlHost(settings.WORKER_HOST)}:${settings.WORKER_PORT}`,
    backendUrl: settings.BACKEND_URL ?? `http://127.0.0.1:${settings.PORT}`,
    serviceKey: strongKey(settings.SERVICE_API_KEY),
    dir: path.resolve(cwd, settings.DATA_DIR, 'worker'),
    maxFileSize: settings.MAX_FILE_SIZE,
    maxSessions: settings.MAX_SESSIONS,
    startConcurrency: settings.START_CONCURRENCY,
    memoryLimitMb: settings.WORKER_MEMORY_LIMIT_MB ?? null,
    initTimeoutMs: settings.INIT_TIMEOUT_MS,
    maxQrCodes: settings.QR_MAX_RETRIES,
    sendDeadlineMs: settings.SEND_DEADLINE_MS,
    leaseMs: settings.LEASE_SECONDS * 1000,
    heartbeatMs: settings.HEARTBEAT_SECONDS * 1000,
    probeMs: settings.PROBE_SECONDS * 1000,
    maxReconnectAttempts: settings.MAX_RECONNECT_ATTEMPTS,
    recycleAboveMb: settings.RECYCLE_ABOVE_MB,
    copyEveryMs: settings.COPY_LOGIN_MINUTES * 60_000,
    asksPhone: settings.ASK_PHONE_FOR_UNDECRYPTED,
    diskWarnMb: settings.DISK_WARN_MB,
    browser: Object.freeze({
      path: settings.BROWSER_PATH ? path.resolve(cwd, settings.BROWSER_PATH) : null,
      profile: settings.BROWSER_PROFILE,
      args: Object.freeze([...settings.BROWSER_ARGS]),
    }),
    egressAllow: Object.freeze([...settings.EGRESS_ALLOW]),
    logLevel: settings.LOG_LEVEL,
    metricsToken: settings.METRICS_TOKEN,
    traces: Object.freeze({
      endpoint: settings.OTEL_EXPORTER_OTLP_ENDPOINT,
      headers: settings.OTEL_EXPORTER_OTLP_HEADERS ?? {},
      serviceName: settings.OTEL_SERVICE_NAME,
    }),
  });
}

/** Reads the settings and deletes every secret from `env`, so that child processes do not inherit them. Throws `SettingsError`. */
export function extractConfig(env: Record<string, string | undefined>, cwd: string): WorkerConfig {
  const config = readConfig(env, cwd);
  for (const [name, { secret = false, aliases = [] }] of Object.entries<Setting>(allSettings))
    if (secret) for (const each of [name, ...aliases]) delete env[each];
  return config;
}

/** A client cannot connect to an address that means "every interface"; the loopback address replaces it. */
function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

const nextStep = 'Start with npm start, which creates a key and passes it to both processes, or set 32 random bytes in hex.';

/** The service key controls every session, so a key that can be guessed is refused. */
function strongKey(key: string | undefined): string {
  const refuse = (message: string): never => {
    throw new SettingsError([{ name: 'SERVICE_API_KEY', message: `${message} ${nextStep}` }]);
  };
  if (!key) return refuse('is not set.');
  if (new Set(key).size < 10) return refuse('repeats too few characters to be random.');
  if (/change.?me|example|sample|password|your.?(secret|key)|service.?key/i.test(key)) return refuse('looks like a sample.');
  return key;
}
