import { readable } from '../db/unreadable.js';
import type { Webhook, WebhookFilter } from './webhook.entity.js';

/** A filter as the audit log shows it: the number of its chats, because the log keeps no ids of people. */
export const shownFilter = ({ chats, ...rest }: WebhookFilter): object => ({
  ...rest,
  ...(chats ? { chats: chats.length } : {}),
});

/** The fields of an endpoint before a change, as the audit log shows them. */
export const shownBefore = (row: Webhook): object => {
  const filter = readable(row.filter, null);
  return { ...row, active: row.isActive, filter: filter && shownFilter(filter), headers: undefined };
};
