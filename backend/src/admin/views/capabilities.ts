import { AppError } from '@chasqui/shared';
import { IsNull, type DataSource } from 'typeorm';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import { capabilitiesOf } from '../../whatsapp/operations.js';

/** What a session can do, by the last check of its page, and every operation that does not work as described, with the reason. */
export async function capabilitiesView(reader: DataSource, id: string) {
  const session = await reader.getRepository(Session).findOneBy({ id, deletedAt: IsNull() });
  if (!session) throw new AppError('SESSION_NOT_FOUND');
  const check = readable(session.selfCheck, null);
  const all = capabilitiesOf(check);
  return {
    whatsappWebVersion: session.whatsappWebVersion ?? check?.whatsappWebVersion ?? null,
    checkedAt: check ? Date.parse(check.checkedAt) : null,
    supported: all.filter(({ support }) => support === 'supported').length,
    others: all
      .filter(({ support }) => support !== 'supported')
      .map(({ operation, support, reason }) => ({ operation, support, reason })),
    /** Kinds of events that cannot be received. */
    listeners: check?.listeners ?? [],
  };
}
export type CapabilitiesView = Awaited<ReturnType<typeof capabilitiesView>>;
