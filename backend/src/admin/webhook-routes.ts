import { instant } from '@chasqui/shared';
import { z } from 'zod';
import { sentFields } from '../lib/sent-fields.js';
import { filterInput, retryInput, transformInput } from '../webhooks/contract.js';
import { deliveryStatuses } from '../webhooks/webhook.entity.js';
import { change, type PanelRoute } from './route.js';
import type { PanelVerbs } from './verbs.js';
import { resentView } from './views/delivery.js';

const emptyBody = z.strictObject({});
const id = z.string().min(1).max(64);
const timeInput = instant.optional();
/** Which deliveries the panel's page shows. */
export const deliveryFilter = {
  webhookId: id.optional(),
  event: z.string().max(60).optional(),
  status: z.enum(deliveryStatuses).optional(),
  messageId: id.optional(),
  from: timeInput,
  to: timeInput,
};

/** The changes of endpoints and their deliveries. */
export function webhookChanges(webhooks: PanelVerbs['webhooks']): PanelRoute[] {
  const url = z.string().trim().min(1, 'Enter a URL.').max(2_048);
  const headerName = z.string().regex(/^[A-Za-z0-9-]{1,100}$/, 'The name of a header has letters, digits and dashes.');
  const headers = z.record(headerName, z.string().max(2_000)).optional();
  const filter = filterInput.nullable();
  const events = z.array(z.string().max(60)).min(1, 'Choose at least one event.').max(100);
  const description = z.string().max(200).nullable().default(null);
  const form = { transform: transformInput.nullable().optional(), retry: retryInput.nullable().optional() };
  const fields = { url, events, description, headers, filter: filter.optional(), ...form };
  const draft = z.strictObject({ accountId: id, webhookId: id.nullable().default(null), url, headers, ...form });
  const previewed = z.strictObject({
    ...{ accountId: id, sessionId: id.nullable(), events, filter },
    transform: transformInput.nullable().default(null),
    includeContent: z.boolean().default(true),
  });
  const newWebhook = z.strictObject({
    accountId: id,
    sessionId: id.nullable().default(null),
    ...fields,
  });
  const resending = z.union([
    z.strictObject({ ids: z.array(id).min(1).max(500) }),
    z.strictObject({ filter: z.strictObject(deliveryFilter) }),
  ]);
  return [
    change('admin', '/live/webhooks', newWebhook, ({ visitor, body }) => webhooks.create(visitor.caller, sentFields(body))),
    change('admin', '/live/webhooks/:id', z.strictObject(fields), (input) =>
      webhooks.update(input.visitor.caller, input.id, sentFields(input.body)),
    ),
    change('admin', '/live/webhook-test', draft, ({ visitor, body }) => webhooks.tryDraft(visitor.caller, sentFields(body))),
    change('admin', '/live/webhook-preview', previewed, ({ visitor, body }) => webhooks.preview(visitor.caller, body)),
    change('admin', '/live/webhooks/:id/rotate', emptyBody, (input) => webhooks.rotate(input.visitor.caller, input.id)),
    change('admin', '/live/webhooks/:id/delete', emptyBody, (input) => webhooks.remove(input.visitor.caller, input.id)),
    change('staff', '/live/webhooks/:id/test', emptyBody, (input) => webhooks.test(input.visitor.caller, input.id)),
    change('staff', '/live/webhooks/:id/enable', emptyBody, (input) => webhooks.enable(input.visitor.caller, input.id)),
    change('staff', '/live/webhooks/:id/disable', emptyBody, (input) => webhooks.disable(input.visitor.caller, input.id)),
    change('staff', '/live/webhooks/:id/redeliver-failed', emptyBody, (input) =>
      webhooks.redeliverFailed(input.visitor.caller, input.id),
    ),
    change('staff', '/live/resend-deliveries', resending, async ({ visitor, body }) =>
      resentView(await webhooks.resend(visitor.caller, body)),
    ),
  ];
}
