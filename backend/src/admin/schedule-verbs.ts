import { AppError } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import type { Messages } from '../messages/messages.js';
import { Schedule } from '../messages/recurring/schedule.entity.js';
import type { ComposedMessage, Schedules } from '../messages/recurring/schedules.js';
import { nextTimes } from '../messages/recurring/times.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import type { PanelVerbs } from './verbs.js';

interface Parts {
  clock: Clock;
  database: Database;
  messages: Pick<Messages, 'recipient'>;
  schedules: Schedules;
  sessions: Pick<Sessions, 'byId'>;
}

/** Implements the verbs of recurring schedules. See `createPanelVerbs`. */
export function scheduleVerbs({ clock, database, messages, schedules, sessions }: Parts): PanelVerbs['schedules'] {
  const on = async (caller: Caller, id: string, run: (owner: Caller) => Promise<unknown>): Promise<void> => {
    const schedule = await database.reader.getRepository(Schedule).findOneBy({ id });
    if (!schedule) throw new AppError('SCHEDULE_NOT_FOUND');
    await run({ ...caller, accountId: schedule.accountId });
  };
  const textOf = (session: Session, recipient: string, message: string): ComposedMessage => ({
    recipient: messages.recipient(recipient, session).id,
    content: { type: 'text', message },
    mentions: [],
    quotedMessageId: null,
    ignoreQuoteErrors: false,
    isUrgent: false,
    file: null,
    warnings: [],
  });
  return {
    async create(caller, { sessionId, recipient, message, ...times }) {
      const session = await sessions.byId(sessionId);
      if (!session) throw new AppError('SESSION_NOT_FOUND');
      const owner = { ...caller, accountId: session.accountId };
      const fields = { ...times, endsAt: null };
      const { schedule } = await schedules.create(owner, session, fields, textOf(session, recipient, message));
      return { id: schedule.id };
    },
    change: (caller, id, times) => on(caller, id, (owner) => schedules.update(owner, id, times, null)),
    pause: (caller, id) => on(caller, id, (owner) => schedules.pause(owner, id)),
    resume: (caller, id) => on(caller, id, (owner) => schedules.resume(owner, id)),
    delete: (caller, id) => on(caller, id, (owner) => schedules.remove(owner, id)),
    next: (times) => nextTimes({ ...times, endsAt: null }, clock.now()),
  };
}
