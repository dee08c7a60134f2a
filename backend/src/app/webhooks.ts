import { openFilesLimit } from '../lib/open-files.js';
import { webhookOptions } from '../options.js';
import { createWebhookDispatcher } from '../webhooks/send/dispatcher.js';
import { createWebhookHistory } from '../webhooks/history.js';
import { createPost } from '../webhooks/send/post.js';
import type { Access } from './access.js';
import type { Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import { workStopMs } from './times.js';

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type WebhookParts = ReturnType<typeof createWebhookParts>;

/** Delivers the events of the log to the endpoints that subscribed to them. */
export function createWebhookParts(core: Foundation, { contacts }: Access, { eventLog }: Messaging) {
  const { config, database, events, clock, log, presence, egress, deliveries, webhooks, lifecycle } = core;
  const { post, close: closePosts } = createPost(egress);
  lifecycle.add('webhook connections', { phase: 'connections', stop: closePosts });
  const dispatcher = createWebhookDispatcher({
    database,
    deliveries,
    presence,
    post,
    open: webhooks.open,
    disable: webhooks.disable,
    reportBacklog: webhooks.reportBacklog,
    clock,
    log,
    options: webhookOptions(config, openFilesLimit()),
  });
  lifecycle.add('webhook dispatcher', {
    phase: 'work',
    start: () => dispatcher.start(),
    stop: () => dispatcher.stop(),
    withinMs: workStopMs,
  });
  webhooks.connect({ wake: dispatcher.wake, events, formsOf: contacts.formsOf });
  const history = createWebhookHistory({
    database,
    eventLog,
    clock,
    chatIdsOf: webhooks.chatIdsOf,
    wake: dispatcher.wake,
  });
  return { dispatcher, history };
}
