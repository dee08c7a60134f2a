import { Reply } from '@chasqui/shared/express';
import type { Mount } from '../../accounts/caller.js';
import type { Sessions } from '../../sessions/sessions.js';
import * as contract from './contract.js';
import { listConversations, type ConversationParts } from './conversations.js';

interface RouteParts extends ConversationParts {
  sessions: Pick<Sessions, 'find' | 'list'>;
}

/** Mounts the list of conversations. A key of one session sees the chats of that session. */
export function mountConversations(mount: Mount, { sessions, ...parts }: RouteParts): void {
  mount(contract.listConversations, async ({ query }, caller) => {
    const { accountId } = caller;
    const named = query.sessionId ?? caller.sessionId;
    const sessionIds = named ? [(await sessions.find(caller, named)).id] : (await sessions.list(accountId)).map(({ id }) => id);
    const { conversations, nextCursor } = await listConversations(parts, { accountId, sessionIds, query });
    return new Reply(conversations, { meta: { limit: query.limit, nextCursor } });
  });
}
