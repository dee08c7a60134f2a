import { createHash, randomBytes } from 'node:crypto';
import { AppError, type EventType } from '@chasqui/shared';
import { LessThanOrEqual } from 'typeorm';
import type { Database } from '../db/database.js';
import { deleteRows, insertRow } from '../db/rows.js';
import type { Clock } from '../lib/clock.js';
import type { CredentialRef } from '../accounts/credential-ref.js';
import { StreamTicket } from './ticket.entity.js';

/** What a ticket opens: a stream on the credential that made it, and no wider than was asked for. */
export interface Grant {
  standing: CredentialRef;
  sessionId: string | null;
  types: EventType[] | null;
}

const goodForMs = 30_000;
const form = /^cht_[\w-]{43}$/;
const digest = (ticket: string): string => createHash('sha256').update(ticket).digest('hex');

export type Tickets = ReturnType<typeof createTickets>;

/** One-use tickets: a browser cannot send a key in a header of a WebSocket or EventSource, and no key ever stands in a URL. */
export function createTickets({ database, clock }: { database: Database; clock: Clock }) {
  return {
    async issue(grant: Grant): Promise<{ ticket: string; expiresAt: Date }> {
      const ticket = `cht_${randomBytes(32).toString('base64url')}`;
      const expiresAt = new Date(clock.now().getTime() + goodForMs);
      await database.write.run(async (tx) => {
        await deleteRows(tx, StreamTicket, { expiresAt: LessThanOrEqual(clock.now()) });
        await insertRow(tx, StreamTicket, {
          hash: digest(ticket),
          accountId: grant.standing.accountId,
          grant: { ...grant },
          expiresAt,
        });
      });
      return { ticket, expiresAt };
    },

    /** Uses the ticket up, on whichever backend: of two that come with it, the deletion lets one through. Throws `UNAUTHENTICATED`. */
    async redeem(ticket: string): Promise<Grant> {
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
          'The ticket was used or is too old. Make a new one with POST /api/v1/ws/ticket.',
        );
      // What this very file wrote.
      return row.grant as unknown as Grant;
    },
  };
}
