import type { WebhookView } from '../../src/admin/views/webhook.js';
import { fieldError } from '../api.js';

/** What a person decides of an endpoint, new or existing. */
export interface WebhookValues {
  url: string;
  description: string;
  events: string[];
  /** Null: they stay as they are. */
  headers: { name: string; value: string }[] | null;
  /** The chats of the filter, one in each line. */
  chats: string;
  directions: string[];
  types: string[];
}

export const emptyWebhook: WebhookValues = {
  ...{ url: '', description: '', events: ['message.*'] },
  ...{ headers: [], chats: '', directions: [], types: [] },
};

/** The values of an endpoint as they are now. */
export const valuesOf = ({ url, description, events, filter, headerNames }: WebhookView): WebhookValues => ({
  ...{ url, description: description ?? '', events: [...events] },
  headers: headerNames.length > 0 ? null : [],
  chats: (filter?.chats ?? []).join('\n'),
  directions: [...(filter?.directions ?? [])],
  types: [...(filter?.types ?? [])],
});

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

/** The headers of the body. Throws for a name that occurs twice. */
export function headersOf({ headers }: Pick<WebhookValues, 'headers'>): { headers?: Record<string, string> } {
  if (headers === null) return {};
  const named = headers.map(({ name, value }) => [name.trim(), value] as const).filter(([name, value]) => name || value);
  const names = named.map(([name]) => name.toLowerCase());
  const twice = named.find(([name], index) => names.indexOf(name.toLowerCase()) !== index);
  if (twice) throw fieldError('headers', `The header ${twice[0]} occurs twice.`);
  return { headers: Object.fromEntries(named) };
}

/** The body that the routes of the panel accept. */
export const bodyOfWebhook = (values: WebhookValues) => ({
  url: values.url.trim(),
  description: values.description.trim() || null,
  events: values.events,
  filter: filterOf(values),
  ...headersOf(values),
});
