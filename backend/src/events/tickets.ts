import { createHash, randomBytes } from 'node:crypto';
import { AppError, type EventType } from '@chasqui/shared';
import { LessThanOrEqual } from 'typeorm';
import type { CredentialRef } from '../accounts/credential-ref.js';
import type { Core } from '../core.js';
import { deleteRows, insertRow } from '../db/rows.js';
import { StreamTicket } from './ticket.entity.js';

/** What a ticket opens: a stream that depends on the credential that created it, limited to the requested events. */
export interface Grant {
  credential: CredentialRef;
  sessionId: string | null;
  types: EventType[] | null;
}

const ttlMs = 30_000;
const form = /^cht_[\w-]{43}$/;
const digest = (ticket: string): string => createHash('sha256').update(ticket).digest('hex');

/** One-use tickets: a browser cannot send a key in a header of a WebSocket or EventSource, and a key must not be in a URL. */
export interface Tickets {
  /** Creates a ticket that is valid once, for 30 seconds. */
  issue(grant: Grant): Promise<{ ticket: string; expiresAt: Date }>;
  /** Uses up the ticket, on any backend: of two callers with one ticket, only the one that deletes it succeeds. Throws `UNAUTHENTICATED`. */
  redeem(ticket: string): Promise<Grant>;
}

type Context = Pick<Core, 'database' | 'clock'>;

export function createTickets(core: Context): Tickets {
  return { issue: (grant) => issue(core, grant), redeem: (ticket) => redeem(core, ticket) };
}

async function issue({ database, clock }: Context, grant: Grant): Promise<{ ticket: string; expiresAt: Date }> {
  const ticket = `cht_${randomBytes(32).toString('base64url')}`;
  const hash = digest(ticket);
  const expiresAt = new Date(clock.now().getTime() + ttlMs);
  await database.write.run(async (tx) => {
    await deleteRows(tx, StreamTicket, { expiresAt: LessThanOrEqual(clock.now()) });
    await insertRow(tx, StreamTicket, { hash, accountId: grant.credential.accountId, grant: toStored(grant), expiresAt });
  });
  return { ticket, expiresAt };
}

async function redeem({ database, clock }: Context, ticket: string): Promise<Grant> {
  const hash = digest(ticket);
  const row = !form.test(ticket)
    ? null
    : await database.write.run(async (tx) => {
        const found = await tx.manager.findOneBy(StreamTicket, { hash });
        return found && (await deleteRows(tx, StreamTicket, { hash })) === 1 ? found : null;
      });
  if (!row || row.expiresAt <= clock.now())
    throw new AppError(
      'UNAUTHENTICATED',
      {},
      'The ticket was used or has expired. Create a new one with POST /api/v1/ws/ticket.',
    );
  return fromStored(row.grant);
}

const toStored = ({ credential, sessionId, types }: Grant): Record<string, unknown> => ({ credential, sessionId, types });

/** Only `toStored` writes the column. */
const fromStored = (stored: Record<string, unknown>): Grant => stored as unknown as Grant;
