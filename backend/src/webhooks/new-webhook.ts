import { newId } from '@chasqui/shared';
import type { Egress } from '@chasqui/shared/egress';
import type { Caller } from '../accounts/caller.js';
import type { Core } from '../core.js';
import type { Changes } from '../lib/changes.js';
import { columnsOf, type WebhookInput } from './endpoint-input.js';
import type { EndpointSecrets } from './endpoint-secrets.js';
import { makeSecret } from './signing.js';
import type { Webhook } from './webhook.entity.js';

/** Builds the rows of new endpoints. */
interface Context extends Pick<Core, 'clock'> {
  secrets: EndpointSecrets;
  egress: Egress;
  rules: { httpsOnly: boolean };
}

/** What `columnsOf` checks an input against. */
export const inputRules = ({ secrets, egress, rules }: Context) => ({ secrets, egress, httpsOnly: rules.httpsOnly });

/** Checks the input and builds the row of a new endpoint, with its secret in plain text. Throws the errors of `columnsOf`. */
export function newEndpoint(
  context: Context,
  caller: Caller,
  input: WebhookInput,
  sessionId: string | null,
): { webhook: Webhook; secret: string } {
  const now = context.clock.now();
  const id = newId(now.getTime());
  const secret = input.secret ?? makeSecret();
  const columns = columnsOf(inputRules(context), caller, id, { ...input, secret });
  return {
    webhook: newWebhook({ id, accountId: caller.accountId, sessionId, isActive: input.active ?? true, columns, now }),
    secret,
  };
}

/** See `Webhooks.draft`. */
export function draftEndpoint(context: Context, caller: Caller, input: Changes<WebhookInput>, base: Webhook | null): Webhook {
  const now = context.clock.now();
  const id = base?.id ?? newId(now.getTime());
  const secret = base ? {} : { secret: makeSecret() };
  const columns = columnsOf(inputRules(context), caller, id, { ...input, ...secret });
  if (base) return { ...base, ...columns };
  return newWebhook({ id, accountId: caller.accountId, sessionId: null, isActive: true, columns, now });
}

/** Returns the row of a new endpoint: `columns` from its input, and the state of one that has delivered nothing. */
function newWebhook(input: {
  id: string;
  accountId: string;
  sessionId: string | null;
  isActive: boolean;
  columns: Partial<Webhook>;
  now: Date;
}): Webhook {
  const { id, accountId, sessionId, isActive, columns, now } = input;
  return {
    id,
    accountId,
    sessionId,
    url: '',
    description: null,
    events: [],
    types: {},
    secret: '',
    oldSecret: null,
    oldSecretUntil: null,
    headers: null,
    isActive,
    includeContent: true,
    filter: null,
    transform: null,
    retry: null,
    disabledReason: isActive ? null : 'BY_REQUEST',
    disabledAt: isActive ? null : now,
    failingSince: null,
    failingMs: 0,
    failures: 0,
    openUntil: null,
    openMs: null,
    laneOwner: null,
    laneUntil: null,
    behindSince: null,
    lastDeliveredAt: null,
    createdAt: now,
    updatedAt: now,
    deletedAt: null,
    ...columns,
  };
}
