import { openFilesLimit } from '../lib/open-files.js';
import { measurePosts } from '../metrics/measured.js';
import { webhookOptions } from '../options.js';
import { traceDeliveries } from '../tracing/traced.js';
import { createWebhookDispatcher } from '../webhooks/send/dispatcher.js';
import { createDeliveryExplorer } from '../webhooks/explorer.js';
import { createEndpointSecrets } from '../webhooks/endpoint-secrets.js';
import { createWebhookHistory } from '../webhooks/history.js';
import { createPost } from '../webhooks/send/post.js';
import { createWebhooks } from '../webhooks/webhooks.js';
import type { Foundation } from './foundation.js';
import type { Messaging } from './messaging.js';
import { workStopMs } from './times.js';

/** Wiring only: the types of what is built here are the interfaces of the modules. */
export type WebhookParts = ReturnType<typeof createWebhookParts>;

/** Builds the endpoints, and the deliveries of the log's events to them. */
export function createWebhookParts(core: Foundation, { eventLog }: Messaging) {
  const { config, presence, sealer, egress, deliveries, subscriptions, lifecycle, meter, tracing } = core;
  const secrets = createEndpointSecrets({ database: core.database, sealer });
  const webhooks = createWebhooks(core, {
    subscriptions,
    secrets,
    egress,
    rules: {
      maxPerSession: config.MAX_WEBHOOKS_PER_SESSION,
      maxPerAccount: config.MAX_WEBHOOKS_PER_ACCOUNT,
      httpsOnly: config.NODE_ENV === 'production',
    },
  });
  const { post, close: closePosts } = createPost(egress);
  lifecycle.add('webhook connections', { phase: 'connections', stop: closePosts });
  const dispatcher = createWebhookDispatcher(core, {
    subscriptions,
    webhooks,
    secrets,
    deliveries,
    presence,
    post: measurePosts(post, meter),
    traces: tracing && traceDeliveries(tracing),
    options: webhookOptions(config, openFilesLimit()),
  });
  lifecycle.add('webhook dispatcher', {
    phase: 'work',
    start: () => dispatcher.start(),
    stop: () => dispatcher.stop(),
    withinMs: workStopMs,
  });
  const history = createWebhookHistory(core, { eventLog, subscriptions });
  const explorer = createDeliveryExplorer(core, { subscriptions });
  return { webhooks, secrets, dispatcher, history, explorer };
}
