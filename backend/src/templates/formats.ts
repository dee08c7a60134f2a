/** The formats of values in placeholders (see render.ts). Values are written by the rules of a language, and times in a time zone. */

export interface Locale {
  /** BCP 47, such as `pt-BR`. */
  language: string;
  /** IANA, such as `America/Sao_Paulo`. */
  timezone: string;
}

export type Format = { kind: 'text' | 'number' | 'date' | 'time' | 'datetime' } | { kind: 'currency'; currency: string };

const plainFormats = ['text', 'number', 'date', 'time', 'datetime'] as const;

/** Parses the name of a format. Returns null if the text does not name one, and `faulty` for a currency that is not three letters. */
export function formatOf(part: string): Format | 'faulty' | null {
  const kind = plainFormats.find((name) => name === part);
  if (kind) return { kind };
  const [name, currency, ...rest] = part.split(':').map((one) => one.trim());
  if (name !== 'currency') return null;
  return currency && rest.length === 0 && /^[a-z]{3}$/i.test(currency)
    ? { kind: 'currency', currency: currency.toUpperCase() }
    : 'faulty';
}

/** Returns the value as text; null if it does not fit the format. */
export function formatValue(value: string | number | boolean, format: Format, locale: Locale): string | null {
  if (format.kind === 'text') return String(value);
  if (format.kind === 'number' || format.kind === 'currency') {
    const number = numberOf(value);
    return number === null ? null : numberFormat(format, locale.language).format(number);
  }
  const time = timeOf(value);
  if (!time || (time.isDateOnly && format.kind !== 'date')) return null;
  return timeFormat(format.kind, locale.language, time.isWallTime ? 'UTC' : locale.timezone).format(time.at);
}

/**
 * Returns the value as a number, or as decimal text; null if it is neither. Text is not converted to a number: `Intl` formats the text exactly, while
 * a number would lose some of many digits.
 */
function numberOf(value: string | number | boolean): number | `${number}` | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  const text = typeof value === 'string' ? value.trim().replace(/^\+(?=\d)/, '') : '';
  return isDecimal(text) ? text : null;
}

const isDecimal = (text: string): text is `${number}` => text.length <= 40 && /^-?\d+(?:\.\d+)?$/.test(text);

interface Moment {
  at: Date;
  /** A date, or a time without an offset: it is shown as it was written, in every time zone. */
  isWallTime: boolean;
  isDateOnly: boolean;
}

const timeForm = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/i;

/** Returns the time that a value names; null if it names none. A number is read as milliseconds since 1970. */
function timeOf(value: string | number | boolean): Moment | null {
  if (typeof value === 'number') return momentOf(new Date(value), false, false);
  const [, day, time, offset] = timeForm.exec(typeof value === 'string' ? value.trim() : '') ?? [];
  // `Date` accepts 30 February and reads it as a day of March.
  if (!day || !isDay(day)) return null;
  const zone =
    offset && !offset.includes(':') && offset.length > 1 ? `${offset.slice(0, 3)}:${offset.slice(3)}` : (offset ?? 'Z');
  return momentOf(new Date(`${day}T${time ?? '00:00'}${zone.toUpperCase()}`), !offset, !time);
}

function isDay(day: string): boolean {
  const date = new Date(`${day}T00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
}

const momentOf = (at: Date, isWallTime: boolean, isDateOnly: boolean): Moment | null =>
  Number.isNaN(at.getTime()) ? null : { at, isWallTime, isDateOnly };

/**
 * The maximum number of cached formats of each kind. They are cached because creating one takes much longer than using it; a full cache is emptied.
 */
const maxFormats = 200;
const numberFormats = new Map<string, Intl.NumberFormat>();
const timeFormats = new Map<string, Intl.DateTimeFormat>();

function cached<T>(formats: Map<string, T>, key: string, create: () => T): T {
  let format = formats.get(key);
  if (!format) {
    if (formats.size >= maxFormats) formats.clear();
    formats.set(key, (format = create()));
  }
  return format;
}

function numberFormat(format: Format, language: string): Intl.NumberFormat {
  const currency = format.kind === 'currency' ? format.currency : null;
  return cached(
    numberFormats,
    `${language} ${currency ?? ''}`,
    () => new Intl.NumberFormat(language, currency ? { style: 'currency', currency } : { maximumFractionDigits: 20 }),
  );
}

const timeStyles = {
  date: { dateStyle: 'long' },
  time: { timeStyle: 'short' },
  datetime: { dateStyle: 'long', timeStyle: 'short' },
} as const satisfies Record<string, Intl.DateTimeFormatOptions>;

const timeFormat = (kind: keyof typeof timeStyles, language: string, timeZone: string): Intl.DateTimeFormat =>
  cached(
    timeFormats,
    `${language} ${timeZone} ${kind}`,
    () => new Intl.DateTimeFormat(language, { ...timeStyles[kind], timeZone }),
  );
