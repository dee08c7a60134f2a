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
import type { Caller, Mount } from '../accounts/caller.js';
import type { Contacts, Sighting } from '../contacts/contacts.js';
import { reasonOf } from '../sessions/present.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import type { Gateway } from './worker-gateway.js';

export const capabilities = defineRoute({
  id: 'capabilities',
  method: 'get',
  path: '/capabilities',
  summary: 'What the current WhatsApp Web can do, and the state of each patch (meta.compat)',
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
  summary: 'Look for missed messages; ends with the event session.backfill',
  auth: 'key',
  permission: 'messages.manage',
  params: z.object({ sessionId: z.string() }),
  body: z.strictObject({
    since: z.iso
      .datetime({ offset: true })
      .optional()
      .describe('The start of the search; by default, and at the earliest, 7 days ago. At most 1,000 messages of each chat.'),
  }),
  status: [202],
  reply: z.object({ started: z.literal(true) }),
  errors: ['SESSION_NOT_FOUND', 'SESSION_NOT_CONNECTED', 'SESSION_SUSPENDED', 'WORKER_UNAVAILABLE'],
});

const deadlineMs = 30_000;

export interface OperationParts {
  sessions: Sessions;
  contacts: Pick<Contacts, 'learnNow'>;
  run: Gateway['run'];
  /** Calling code of the installation, for sessions that set none. */
  countryCode: string | undefined;
}

/** Mounts every row of the operations table, and the two routes about them: backfill and capabilities. */
export function mountOperations(mount: Mount, parts: OperationParts): void {
  const { sessions, contacts, run, countryCode } = parts;
  for (const id of operationIds) {
    const route = operationRoute(operations[id]);
    mount(route, async ({ params, query, body }, caller) => {
      const { sessionId, ...rest } = params as { sessionId: string };
      const session = await requireConnected(sessions, caller, sessionId);
      const code = operations[id].takesCountry ? (session.settings.countryCode ?? countryCode) : undefined;
      const input = { ...rest, ...(query as object), ...(body as object), ...(code ? { countryCode: code } : {}) };
      const output = await runWithRetry(run, session, id, input);
      const reply = operations[id].output.parse(output);
      const sightings = id === 'contacts.check' ? sightingsIn(operations['contacts.check'].output.parse(output), code) : [];
      if (sightings.length > 0) await contacts.learnNow(session, sightings);
      return reply;
    });
  }
  mount(backfill, async ({ params, body }, caller) => {
    const session = await requireConnected(sessions, caller, params.sessionId);
    const since = body.since ? { since: new Date(body.since).toISOString() } : {};
    await run(session, 'session.backfill', since, deadlineMs);
    return new Reply({ started: true as const }, { status: 202 });
  });
  mount(capabilities, async ({ query }, caller) => {
    const session = await sessions.resolve(caller, query.sessionId).catch((error: unknown) => {
      // The table alone answers for an account without a session.
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

/** The people in WhatsApp's answer: which person each number belongs to, and how WhatsApp spells it. */
const sightingsIn = (rows: OperationOutput<'contacts.check'>, countryCode: string | undefined): Sighting[] =>
  rows.flatMap(({ input, contact }) => {
    const typed = parseRecipient(input, countryCode);
    return contact ? [{ contact, alsoKnownAs: typed.ok ? [typed.address.id] : [] }] : [];
  });

/** Returns the session of the caller. Throws `SESSION_SUSPENDED` or `SESSION_NOT_CONNECTED` unless it is connected. */
async function requireConnected(sessions: Sessions, caller: Caller, ref: string): Promise<Session> {
  const session = await sessions.find(caller, ref);
  if (session.status === 'suspended') throw new AppError('SESSION_SUSPENDED');
  if (session.status !== 'connected')
    throw new AppError('SESSION_NOT_CONNECTED', { status: session.status, reason: reasonOf(session) });
  return session;
}

/** If the worker stops answering, a read is retried once; a write fails with effect `unknown`, because it may have happened. */
async function runWithRetry(
  run: Gateway['run'],
  session: Session,
  id: OperationId,
  input: Record<string, unknown>,
): Promise<unknown> {
  const { effect } = operations[id];
  const stoppedAnswering = (error: unknown): boolean =>
    error instanceof AppError && error.code === 'WORKER_UNAVAILABLE' && error.details['reached'] === true;
  for (let tries = effect === 'read' ? 2 : 1; ; tries -= 1) {
    try {
      return await run(session, id, input, deadlineMs);
    } catch (error) {
      if (!stoppedAnswering(error)) throw error;
      const isTimeout = error instanceof AppError && ['TIMEOUT', 'ECONNABORTED'].includes(String(error.details['cause']));
      if (tries > 1 && !isTimeout) continue;
      throw new AppError('OPERATION_TIMEOUT', { operation: id, effect: effect === 'read' ? 'none' : 'unknown' });
    }
  }
}
