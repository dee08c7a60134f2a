import { AppError } from '@chasqui/shared';
import { IsNull, type DataSource } from 'typeorm';
import { readable } from '../../db/unreadable.js';
import { Session } from '../../sessions/session.entity.js';
import { capabilitiesOf } from '../../whatsapp/operations.js';

/** What a session can do, by the last check of its page, and every operation that does not work as described, with the reason. */
export async function capabilitiesView(reader: DataSource, id: string) {
  const session = await reader.getRepository(Session).findOneBy({ id, deletedAt: IsNull() });
  if (!session) throw new AppError('SESSION_NOT_FOUND');
  return viewOf(session);
}
export type CapabilitiesView = ReturnType<typeof viewOf>;

function viewOf(session: Pick<Session, 'selfCheck' | 'whatsappWebVersion'>) {
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

/** Sessions whose pages can do the same, with one build of WhatsApp Web. */
export interface CapabilityGroup extends CapabilitiesView {
  sessions: { id: string; name: string }[];
}

const maxSessions = 2_000;

/** What the sessions can do, those with the same capabilities together, the largest group first. `unchecked`: sessions whose page was never checked. */
export async function allCapabilitiesView(reader: DataSource): Promise<{ groups: CapabilityGroup[]; unchecked: number }> {
  const sessions = await reader.getRepository(Session).find({
    where: { deletedAt: IsNull() },
    select: { id: true, name: true, selfCheck: true, whatsappWebVersion: true },
    order: { name: 'ASC' },
    take: maxSessions,
  });
  const groups = new Map<string, CapabilityGroup>();
  let unchecked = 0;
  for (const session of sessions) {
    const view = viewOf(session);
    if (view.checkedAt === null) {
      unchecked += 1;
      continue;
    }
    const key = JSON.stringify([view.whatsappWebVersion, view.others, view.listeners]);
    const group = groups.get(key) ?? { ...view, sessions: [] };
    group.checkedAt = Math.max(group.checkedAt ?? 0, view.checkedAt);
    group.sessions.push({ id: session.id, name: session.name });
    groups.set(key, group);
  }
  return { groups: [...groups.values()].sort((one, other) => other.sessions.length - one.sessions.length), unchecked };
}
export type AllCapabilitiesView = Awaited<ReturnType<typeof allCapabilitiesView>>;
