import { z } from 'zod';
import { isCron, isJobName, type JobSchedules } from './jobs.js';
import { parseUrl } from './url.js';

/**
 * The kinds of values of settings. Each parser returns the value in the spelling that the programs compare with, and refuses a value that would have
 * no effect. Messages complete the sentence "NAME …" and never contain a secret.
 */

/** A number in digits. `Number()` would also accept blanks (0), `0x10` and `1e3`, and a limit of 0 often means "no limit". */
const digits = z.union(
  [
    z.number(),
    z
      .string()
      .trim()
      .regex(/^-?\d+(\.\d+)?$/)
      .transform(Number),
  ],
  {
    error: 'must be a number in digits',
  },
);
export const decimal = (min: number, max: number) => digits.pipe(z.number().min(min).max(max));
export const integer = (min: number, max: number) => digits.pipe(z.number().int().min(min).max(max));
export const port = integer(1, 65_535);
const hoursPerUnit = { m: 1 / 60, h: 1, d: 24 } as const;
/** A time with its unit, such as 90m, 24h or 7d; as hours. */
export const hours = (min: number, max: number) =>
  z
    .union([z.number(), z.string().trim()])
    .transform((value, context): number => {
      if (typeof value === 'number') return value;
      const [, count, unit] = /^(\d+)([mhd])$/.exec(value) ?? [];
      if (count !== undefined) return Number(count) * hoursPerUnit[unit as keyof typeof hoursPerUnit];
      context.addIssue({ code: 'custom', message: 'must be a time with its unit, such as 90m, 24h or 7d' });
      return z.NEVER;
    })
    .pipe(z.number().min(min).max(max));
export const flag = z.union([z.boolean(), z.stringbool()], { error: 'must be true or false' });
export const optional = z.string().min(1).optional();

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

/** Returns the canonical spelling of a value, or null when the value would have no effect. */
type Canonical = (text: string) => string | null;

/** A comma-separated list. Every entry must have an effect; duplicates are dropped. `shape` completes "holds X, which is not …". */
export const listOf = (canonical: Canonical, shape: string) =>
  z.union([z.array(z.string()), z.string()]).transform((value, context): string[] => {
    const entries = (Array.isArray(value) ? value : value.split(',')).map((entry) => entry.trim()).filter(Boolean);
    const found = entries.map((entry) => [entry, canonical(entry)] as const);
    for (const [entry, text] of found)
      if (text === null) context.addIssue({ code: 'custom', message: `holds ${JSON.stringify(entry)}, which is not ${shape}` });
    if (entries.length === 0 && !Array.isArray(value))
      context.addIssue({ code: 'custom', message: 'holds no entry; leave it empty to use the default' });
    return [...new Set(found.flatMap(([, text]) => text ?? []))];
  });

/** One value that is stored in its canonical spelling. */
export const one = (canonical: Canonical, message: string) =>
  z.string().transform((value, context): string => {
    const text = canonical(value.trim());
    if (text !== null) return text;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });

/** Parses a URL as operators write it. Blanks, wildcards and backslashes are refused, because `URL` would drop or change them. */
const plainUrl = (text: string): URL | null => (/[\s\p{Cc}*\\]/u.test(text) ? null : parseUrl(text));

/** A URL of scheme, host, port and, if allowed, a path. It refuses other parts, which would be dropped silently. */
function httpUrl(text: string, allowPath: boolean): string | null {
  const url = plainUrl(text);
  if (!url || !/^https?:\/\//i.test(text) || !/^https?:$/.test(url.protocol) || !isHost(url.hostname)) return null;
  if (url.username || url.password || url.search || url.hash || /[?#]/.test(text)) return null;
  if (url.pathname !== '/' && !allowPath) return null;
  let path = url.pathname;
  while (path.endsWith('/')) path = path.slice(0, -1);
  return `${url.origin}${path}`;
}
/** Without a slash at the end, so that a path can be appended. */
export const serviceUrl: Canonical = (text) => httpUrl(text, true);
export const origin: Canonical = (text) => httpUrl(text, false);

const isIp = (text: string): boolean => z.ipv4().safeParse(text).success || z.ipv6().safeParse(text).success;
const hostName = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;
/** A name whose last label is a number, `0x10` included, is read as an IPv4 address: https://url.spec.whatwg.org/#ends-in-a-number-checker */
const endsInNumber = (name: string): boolean => /^(\d+|0x[0-9a-f]*)$/i.test(name.replace(/\.$/, '').split('.').at(-1) ?? '');
const isHostName = (text: string): boolean => text.length <= 253 && hostName.test(text) && !endsInNumber(text);
const isHost = (text: string): boolean => isIp(text.replace(/^\[(.*)\]$/, '$1')) || isHostName(text);
export const host: Canonical = (text) => (isIp(text) || isHost(text) ? text.replace(/^\[(.*)\]$/, '$1') : null);
export const network: Canonical = (text) =>
  isIp(text) || z.cidrv4().safeParse(text).success || z.cidrv6().safeParse(text).success ? text : null;

/** Words that other programs accept for this setting and that are not names of hosts. */
const noProxy = /^(-?\d+|true|false|yes|no|on|off|all|any|loopback|linklocal|uniquelocal)$/i;
const proxyList = listOf(
  (text) => (noProxy.test(text) ? null : (network(text) ?? host(text))),
  'a number from 0 to 10, a network such as 10.0.0.0/8, an address or a host name',
);
/** How many proxies, or which ones. */
export const proxies = z.union([z.number(), z.array(z.string()), z.string()]).transform((value, context): number | string[] => {
  const parsed = (Array.isArray(value) || !/^\s*\d+\s*$/.test(String(value)) ? proxyList : integer(0, 10)).safeParse(
    Array.isArray(value) ? value : String(value),
  );
  if (parsed.success) return parsed.data;
  for (const { message } of parsed.error.issues) context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** Schemes whose pages send an `Origin` header: the web, browser extensions and the usual shells of mobile and desktop apps. */
const pageSchemes =
  /^(chrome-extension|moz-extension|safari-web-extension|capacitor|ionic|tauri|app):\/\/[a-z0-9._-]+(:\d{1,5})?$/;
/** An origin as browsers spell it: lower case, no default port, no slash at the end. `*` is every page. */
export const pageOrigin: Canonical = (text) => {
  if (text === '*') return text;
  const bare = text.toLowerCase().replace(/\/$/, '');
  return pageSchemes.test(bare) ? bare : origin(text);
};

/** `type/subtype` in lower case, with `*` as wildcard. */
export const fileType: Canonical = (text) => {
  const type = text === '*' ? '*/*' : text.toLowerCase();
  return /^(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)\/[a-z0-9*][a-z0-9!#$&^_.+*-]*$/.test(type) ? type : null;
};

export const databaseUrl = z.string().superRefine((value, context) => {
  const url = plainUrl(value);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || !/^postgres(ql)?:\/\//i.test(value))
    context.addIssue({
      code: 'custom',
      message:
        'must be postgres://user:password@host:5432/name, with special characters of the password percent-encoded; leave it empty for SQLite',
    });
});
export const redisUrl = z.string().superRefine((value, context) => {
  const url = plainUrl(value);
  if (!url || !/^rediss?:$/.test(url.protocol) || !isHost(url.hostname))
    context.addIssue({ code: 'custom', message: 'must be redis://host:6379 or rediss://host:6379' });
});

/** Five fields of cron, as `isCron` reads them. */
export const cronText = z.string().superRefine((value, context) => {
  if (!isCron(value))
    context.addIssue({
      code: 'custom',
      message: 'must be five fields of cron, such as `0 3 * * *` for 3 o’clock every day',
    });
});

/** `id:base64` entries with 32 bytes each. Of two entries with one id only the last would be used. */
export const encryptionKeys = z.string().superRefine((value, context) => {
  const entries = value.split(',').map((entry) => /^\s*([\w-]{1,16}):([A-Za-z0-9+/_-]{43})=?\s*$/.exec(entry));
  const ids = entries.map((entry) => entry?.[1]);
  if (entries.includes(null))
    context.addIssue({ code: 'custom', message: 'must be id:base64 entries of 32 bytes each, comma separated' });
  else if (new Set(ids).size < ids.length) context.addIssue({ code: 'custom', message: 'has two keys with the same id' });
});

/** Refuses arguments that Chromium would open as a page, and those that the worker must set itself. */
export const browserArgs = jsonList.superRefine((args, context) => {
  for (const arg of args) {
    if (!/^--[a-zA-Z0-9]/.test(arg))
      context.addIssue({ code: 'custom', message: `holds ${JSON.stringify(arg)}, which does not begin with --` });
    else if (/^--(user-data-dir|remote-debugging-(port|pipe|address))(=|$)/.test(arg))
      context.addIssue({ code: 'custom', message: `holds ${JSON.stringify(arg)}, which the worker sets itself` });
  }
});

/** `name=value` entries, comma separated, with percent-encoded values. Of two entries with one name only the last would be sent. */
export const otlpHeaders = z
  .union([z.record(z.string(), z.string()), z.string()])
  .transform((value, context): Readonly<Record<string, string>> => {
    if (typeof value !== 'string') return value;
    const headers: Record<string, string> = {};
    const refuse = (message: string): void => context.addIssue({ code: 'custom', message });
    for (const entry of value.split(',').map((part) => part.trim())) {
      const [, name, text] = /^([\w!#$%&'*+.^`|~-]+)=(\S+)$/.exec(entry) ?? [];
      const header = text === undefined ? null : percentDecoded(text);
      if (name === undefined || header === null)
        refuse('must be name=value entries, comma separated, with percent-encoded values');
      else if (Object.keys(headers).some((known) => known.toLowerCase() === name.toLowerCase())) refuse('has a header twice');
      else headers[name] = header;
    }
    return headers;
  });

/** Returns the decoded text; null if it is not percent-encoded correctly, or not text that a header can carry. */
function percentDecoded(text: string): string | null {
  try {
    const decoded = decodeURIComponent(text);
    return /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(decoded) ? decoded : null;
  } catch {
    return null; // A URIError: there is no other way to ask.
  }
}

/** `job=cron expression` entries, separated by semicolons; `off` instead of an expression. Of two entries for one job only the last would be used. */
export const jobSchedules = z
  .union([z.record(z.string(), z.string().nullable()), z.string()])
  .transform((value, context): JobSchedules => {
    if (typeof value !== 'string') return value as JobSchedules;
    const schedules: JobSchedules = {};
    const refuse = (message: string): void => context.addIssue({ code: 'custom', message });
    const entries = value
      .split(';')
      .map((entry) => entry.trim())
      .filter(Boolean);
    if (entries.length === 0) refuse('holds no entry; leave it empty to use the default schedules');
    for (const entry of entries) {
      const at = entry.indexOf('=');
      const [name, cron] = [entry.slice(0, Math.max(at, 0)).trim(), entry.slice(at + 1).trim()];
      if (!isJobName(name)) refuse(`holds ${JSON.stringify(entry)}, which does not begin with the name of a job and =`);
      else if (name in schedules) refuse(`names ${name} twice`);
      else if (cron.toLowerCase() === 'off') schedules[name] = null;
      else if (isCron(cron)) schedules[name] = cron;
      else refuse(`has a schedule for ${name} that is neither five fields of cron, such as 0 2 * * 0, nor off`);
    }
    return schedules;
  });
