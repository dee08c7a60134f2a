import type { WebhookView } from '../../src/admin/views/webhook.js';
import { fieldError } from '../api.js';
import type { Pair } from './PairRows.js';

/** What a person decides of an endpoint, new or existing. */
export interface WebhookValues {
  url: string;
  description: string;
  events: string[];
  /** Null: they stay as they are. */
  headers: Pair[] | null;
  /** The chats of the filter, one in each line. */
  chats: string;
  directions: string[];
  types: string[];
  bodyForm: 'whole' | 'fields' | 'template';
  /** JSON. */
  template: string;
  /** Names in the body and paths in the event. */
  paths: Pair[];
  /** Types of events and the names that they have instead. */
  renames: Pair[];
  /** Seconds, separated by commas or blanks. Empty, as the next two: the value of the installation. */
  delays: string;
  maxRetries: string;
  /** Seconds. */
  timeout: string;
}

export const emptyWebhook: WebhookValues = {
  ...{ url: '', description: '', events: ['message.*'] },
  ...{ headers: [], chats: '', directions: [], types: [] },
  ...{ bodyForm: 'whole', template: '', paths: [], renames: [] },
  ...{ delays: '', maxRetries: '', timeout: '' },
};

/** The values of an endpoint as they are now. */
export const valuesOf = ({ url, description, events, filter, headerNames, transform, retry }: WebhookView): WebhookValues => ({
  ...{ url, description: description ?? '', events: [...events] },
  headers: headerNames.length > 0 ? null : [],
  chats: (filter?.chats ?? []).join('\n'),
  directions: [...(filter?.directions ?? [])],
  types: [...(filter?.types ?? [])],
  ...transformValues(transform),
  ...retryValues(retry),
});

type TransformValues = Pick<WebhookValues, 'bodyForm' | 'template' | 'paths' | 'renames'>;
type RetryValues = Pick<WebhookValues, 'delays' | 'maxRetries' | 'timeout'>;

const pairsOf = (record: Readonly<Record<string, string>> = {}): Pair[] =>
  Object.entries(record).map(([name, value]) => ({ name, value }));

function transformValues(transform: WebhookView['transform']): TransformValues {
  const { template, fields, rename } = transform ?? {};
  return {
    bodyForm: template !== undefined ? 'template' : fields ? 'fields' : 'whole',
    template: template === undefined ? '' : JSON.stringify(template, null, 2),
    paths: pairsOf(fields),
    renames: pairsOf(rename),
  };
}

function retryValues(retry: WebhookView['retry']): RetryValues {
  const { delaysMs, maxRetries, timeoutMs } = retry ?? {};
  // An empty schedule has no retries.
  const most = delaysMs?.length === 0 ? 0 : maxRetries;
  return {
    delays: (delaysMs ?? []).map((delay) => delay / 1000).join(', '),
    maxRetries: most === undefined ? '' : String(most),
    timeout: timeoutMs === undefined ? '' : String(timeoutMs / 1000),
  };
}

/** The filter of the body. Null: none. */
export function filterOf({ chats, directions, types }: Pick<WebhookValues, 'chats' | 'directions' | 'types'>): object | null {
  const lines = chats.split(/[\n,;]+/).flatMap((line) => line.trim() || []);
  const filter = {
    ...(lines.length > 0 ? { chats: lines } : {}),
    ...(directions.length > 0 ? { directions } : {}),
    ...(types.length > 0 ? { types } : {}),
  };
  return Object.keys(filter).length > 0 ? filter : null;
}

/** Returns pairs as an object. Throws for a name that occurs twice, and for a pair without one of its halves if both are needed. */
function recordOf(pairs: readonly Pair[], path: string, item: string, isWhole = true): Record<string, string> {
  const named = pairs.map(({ name, value }) => [name.trim(), isWhole ? value.trim() : value] as const);
  const given = named.filter(([name, value]) => name || value);
  const names = given.map(([name]) => (isWhole ? name : name.toLowerCase()));
  const twice = given.find((_, index) => names.indexOf(names[index]!) !== index);
  if (twice) throw fieldError(path, `The ${item} ${twice[0]} occurs twice.`);
  if (isWhole && given.some(([name, value]) => !name || !value)) throw fieldError(path, `Fill in both fields of each ${item}.`);
  return Object.fromEntries(given);
}

/** The headers of the body. Throws for a name that occurs twice. */
export const headersOf = ({ headers }: Pick<WebhookValues, 'headers'>): { headers?: Record<string, string> } =>
  headers === null ? {} : { headers: recordOf(headers, 'headers', 'header', false) };

/** The transformation of the body. Null: none. Throws for what cannot be one. */
export function transformOf({ bodyForm, template, paths, renames }: TransformValues): object | null {
  const rename = recordOf(renames, 'transform.rename', 'name');
  const transform = {
    ...(bodyForm === 'template' ? { template: parsedTemplate(template) } : {}),
    ...(bodyForm === 'fields' ? { fields: recordOf(paths, 'transform.fields', 'value') } : {}),
    ...(Object.keys(rename).length > 0 ? { rename } : {}),
  };
  if (transform.fields && Object.keys(transform.fields).length === 0)
    throw fieldError('transform.fields', 'Add at least one value.');
  return Object.keys(transform).length > 0 ? transform : null;
}

function parsedTemplate(text: string): unknown {
  if (text.trim() === '') throw fieldError('transform.template', 'Enter a template.');
  try {
    return JSON.parse(text);
  } catch {
    throw fieldError('transform.template', 'This is not JSON. Names and texts need double quotes, placeholders too.');
  }
}

/** The retries of the body. Null: those of the installation. Throws for what no schedule can have. */
export function retryOf({ delays, maxRetries, timeout }: RetryValues): object | null {
  const each = delays.split(/[\s,;]+/).filter(Boolean);
  const wrong = each.find((delay) => !(Number(delay) >= 0.1 && Number(delay) <= 604_800));
  if (wrong !== undefined)
    throw fieldError('retry.delaysMs', `${wrong} is not a number of seconds from 0.1 to 604800, which is a week.`);
  if (each.length > 100) throw fieldError('retry.delaysMs', 'At most 100 retries.');
  const most = maxRetries.trim();
  if (most !== '' && !(/^\d+$/.test(most) && Number(most) <= 100))
    throw fieldError('retry.maxRetries', 'Enter a whole number from 0 to 100.');
  const seconds = timeout.trim();
  if (seconds !== '' && !(Number(seconds) >= 0.1 && Number(seconds) <= 30))
    throw fieldError('retry.timeoutMs', 'Enter a number of seconds from 0.1 to 30.');
  const retry = {
    ...(each.length > 0 ? { delaysMs: each.map((delay) => Math.round(Number(delay) * 1000)) } : {}),
    ...(most === '' ? {} : { maxRetries: Number(most) }),
    ...(seconds === '' ? {} : { timeoutMs: Math.round(Number(seconds) * 1000) }),
  };
  return Object.keys(retry).length > 0 ? retry : null;
}

const transformNames = ['bodyForm', 'template', 'paths', 'renames'] as const;
const retryNames = ['delays', 'maxRetries', 'timeout'] as const;

/** The transformation and the retries of the body, each only if it is not as in `saved`. What somebody else changed meanwhile then stays. */
export function changedForm(values: WebhookValues, saved: WebhookValues): { transform?: object | null; retry?: object | null } {
  const isChanged = (names: readonly (keyof WebhookValues)[]): boolean =>
    names.some((name) => JSON.stringify(values[name]) !== JSON.stringify(saved[name]));
  return {
    ...(isChanged(transformNames) ? { transform: transformOf(values) } : {}),
    ...(isChanged(retryNames) ? { retry: retryOf(values) } : {}),
  };
}

/** The body that the routes of the panel accept. `saved`: the values that the form began with. */
export const bodyOfWebhook = (values: WebhookValues, saved: WebhookValues) => ({
  url: values.url.trim(),
  description: values.description.trim() || null,
  events: values.events,
  filter: filterOf(values),
  ...headersOf(values),
  ...changedForm(values, saved),
});
