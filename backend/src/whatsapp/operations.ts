import {
  AppError,
  capability,
  compatReport,
  defineRoute,
  operationIds,
  operationRoute,
  operations,
  parseRecipient,
  type OperationId,
  type OperationOutput,
} from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import { z } from 'zod';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import type { Caller, Mount } from '../accounts/caller.js';
import { reasonOf } from '../sessions/present.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';

export const capabilities = defineRoute({
  id: 'capabilities',
  method: 'get',
  path: '/capabilities',
  summary: 'What the present WhatsApp Web can do, and the state of each patch (meta.compat)',
  auth: 'key',
  permission: 'instance.info',
  query: z.strictObject({ sessionId: z.string().max(64).optional() }),
  reply: z.array(capability),
  errors: ['SESSION_NOT_FOUND'],
});

export const backfill = defineRoute({
  id: 'sessions.backfill',
  method: 'post',
  path: '/sessions/:sessionId/backfill',
  summary: 'Look for messages that were missed; ends with the event session.backfill',
  auth: 'key',
  permission: 'messages.manage',
  params: z.object({ sessionId: z.string() }),
  body: z.strictObject({
    since: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('From when on; by default, and at the earliest, 7 days ago. At most 1,000 messages of each chat.'),
  }),
  status: [202],
  reply: z.object({ started: z.literal(true) }),
  errors: ['SESSION_NOT_FOUND', 'SESSION_NOT_CONNECTED', 'SESSION_SUSPENDED', 'WORKER_UNAVAILABLE'],
});

const deadlineMs = 30_000;

type Run = (session: Session, operation: string, input: Record<string, unknown>, deadlineMs: number) => Promise<unknown>;

/** Mounts every row of the operations table; nothing here knows one of them by name. */
export function mountOperations(
  mount: Mount,
  {
    sessions,
    contacts,
    run,
    countryCode,
  }: { sessions: Sessions; contacts: Pick<Contacts, 'learnNow'>; run: Run; countryCode: string | undefined },
): void {
  for (const id of operationIds) {
    const route = operationRoute(operations[id]);
    mount(route, async ({ params, query, body }, caller) => {
      const { sessionId, ...rest } = params as { sessionId: string };
      const session = await connected(sessions, caller, sessionId);
      const code = operations[id].takesCountry ? (session.settings.countryCode ?? countryCode) : undefined;
      const input = { ...rest, ...(query as object), ...(body as object), ...(code ? { countryCode: code } : {}) };
      const output = await pass(session, id, input, run);
      const reply = operations[id].output.parse(output);
      const sightings = id === 'contacts.check' ? sightingsIn(operations['contacts.check'].output.parse(output), code) : [];
      if (sightings.length > 0) await contacts.learnNow(session, sightings);
      return reply;
    });
  }
  mount(backfill, async ({ params, body }, caller) => {
    const session = await connected(sessions, caller, params.sessionId);
    const since = body.since ? { since: new Date(body.since).toISOString() } : {};
    await run(session, 'session.backfill', since, deadlineMs);
    return new Reply({ started: true as const }, { status: 202 });
  });
  mount(capabilities, async ({ query }, caller) => {
    const session = await sessions.resolve(caller, query.sessionId).catch((error: unknown) => {
      // Without a session there is nothing to add to what is known beforehand.
      if (error instanceof AppError && !query.sessionId) return null;
      throw error;
    });
    const rows = operationIds.map((id) => ({
      operation: id,
      method: operations[id].method.toUpperCase(),
      path: `/sessions/:sessionId${operations[id].path}`,
      support: operations[id].support,
      reason: operations[id].supportReason,
      checkedAt: session?.connectedAt?.toISOString() ?? null,
    }));
    return new Reply(rows, {
      meta: {
        whatsappWebVersion: session?.whatsappWebVersion ?? null,
        compat: z.array(compatReport).parse(session?.compat ?? []),
      },
    });
  });
}

/** WhatsApp's answer says which person each number is, and how WhatsApp spells it. */
const sightingsIn = (rows: OperationOutput<'contacts.check'>, countryCode: string | undefined): Sighting[] =>
  rows.flatMap(({ input, contact }) => {
    const typed = parseRecipient(input, countryCode);
    return contact ? [{ contact, alsoKnownAs: typed.ok ? [typed.address.id] : [] }] : [];
  });

async function connected(sessions: Sessions, caller: Caller, ref: string): Promise<Session> {
  const session = await sessions.find(caller, ref);
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED');
  if (session.status !== 'connected')
    throw new AppError('SESSION_NOT_CONNECTED', { status: session.status, reason: reasonOf(session) });
  return session;
}

/** What may have been done when the worker stopped answering depends on the row: a read has no effect and is asked once more, a write has an unknown one. */
async function pass(session: Session, id: OperationId, input: Record<string, unknown>, run: Run): Promise<unknown> {
  const { effect } = operations[id];
  const workerUnreachable = (error: unknown): boolean =>
    error instanceof AppError && error.code === 'WORKER_UNAVAILABLE' && error.details['reached'] === true;
  for (let tries = effect === 'read' ? 2 : 1; ; tries -= 1) {
    try {
      return await run(session, id, input, deadlineMs);
    } catch (error) {
      if (!workerUnreachable(error)) throw error;
      const isTimeout = error instanceof AppError && ['TIMEOUT', 'ECONNABORTED'].includes(String(error.details['cause']));
      if (tries > 1 && !isTimeout) continue;
      throw new AppError('OPERATION_TIMEOUT', { operation: id, effect: effect === 'read' ? 'none' : 'unknown' });
    }
  }
}
