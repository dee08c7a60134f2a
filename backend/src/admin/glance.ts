import { AppError, operations } from '@chasqui/shared';
import type { Session } from '../sessions/session.entity.js';
import type { Gateway } from '../whatsapp/worker-gateway.js';
import type { GlanceKind, GlanceRow } from './verbs.js';

/** How many are read: a page for people, not a list to work with. */
const limit = 20;
const deadlineMs = 10_000;
const paging = { limit, offset: 0 };

/** Asks WhatsApp Web for the first chats, groups or contacts of a session. */
export async function glanceAt(run: Gateway['run'], session: Session, kind: GlanceKind): Promise<GlanceRow[]> {
  if (session.status !== 'connected') throw new AppError('SESSION_NOT_CONNECTED', { status: session.status });
  const ask = (operation: `${GlanceKind}.list`): Promise<unknown> => run(session, operation, paging, deadlineMs);
  switch (kind) {
    case 'chats':
      return operations['chats.list'].output.parse(await ask('chats.list')).map((chat) => ({
        id: chat.id,
        title: chat.name ?? chat.contact?.name ?? chat.contact?.phone ?? chat.id,
        detail: chat.lastMessage && (chat.lastMessage.text ?? chat.lastMessage.type),
        unread: Math.max(0, chat.unreadCount),
        at: chat.timestamp === null ? null : Date.parse(chat.timestamp),
      }));
    case 'groups':
      return operations['groups.list'].output.parse(await ask('groups.list')).map((group) => ({
        id: group.id,
        title: group.name ?? group.id,
        detail: `${group.size} ${group.size === 1 ? 'participant' : 'participants'}${group.role === null ? ', left' : `, ${group.role}`}`,
        unread: 0,
        at: null,
      }));
    case 'contacts':
      return operations['contacts.list'].output.parse(await ask('contacts.list')).map((contact) => ({
        id: contact.id,
        title: contact.savedName ?? contact.name ?? contact.pushName ?? contact.phone ?? contact.id,
        detail:
          [contact.phone, contact.isBusiness && 'business', contact.isBlocked && 'blocked'].filter(Boolean).join(', ') || null,
        unread: 0,
        at: null,
      }));
  }
}
