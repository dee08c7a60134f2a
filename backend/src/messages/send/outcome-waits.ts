import { AppError } from '@chasqui/shared';
import type { Core } from '../../core.js';
import { readRows } from '../../db/rows.js';
import { Message } from '../message.entity.js';

/** Lets callers wait for the outcome of a message. */
export interface OutcomeWaits {
  /**
   * Resolves to the message once it is neither `queued` nor `sending`, or waits for the end of quiet hours, or as it is after `waitMs`. A caller that stops waiting changes nothing. Throws
   * `MESSAGE_NOT_FOUND`.
   */
  outcome(id: string, waitMs: number): Promise<Message>;
  /** Ends all present and future waits at once, for the stop: they resolve to the message as it is. */
  end(): void;
}

interface Context extends Pick<Core, 'database'> {
  /** The functions that wake the waiting callers, by id of the message. */
  waiting: Map<string, Set<() => void>>;
  isClosing: boolean;
}

/** Events of other backends may not arrive here, so a waiting caller reads the message again after this time. */
const rereadMs = 500;

export function createOutcomeWaits({ database, events }: Pick<Core, 'database' | 'events'>): OutcomeWaits {
  const context: Context = { database, waiting: new Map(), isClosing: false };
  events.subscribe(({ messageId }) => {
    if (messageId) for (const wake of context.waiting.get(messageId) ?? []) wake();
  });
  return {
    outcome: (id, waitMs) => outcome(context, id, waitMs),
    end() {
      context.isClosing = true;
      for (const wakes of context.waiting.values()) for (const wake of wakes) wake();
    },
  };
}

async function outcome(context: Context, id: string, waitMs: number): Promise<Message> {
  const { database, waiting } = context;
  const until = performance.now() + waitMs;
  for (;;) {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const wakes = waiting.get(id) ?? new Set();
    // Closes: the outcome commits between the read and the wait. The caller is registered before it reads.
    waiting.set(id, wakes.add(wake));
    try {
      const [message] = await readRows(database.reader, Message, 'id = ?', [id]);
      if (!message) throw new AppError('MESSAGE_NOT_FOUND');
      const remainingMs = until - performance.now();
      const isOpen = ['queued', 'sending'].includes(message.status) && message.reasonCode !== 'QUIET_HOURS';
      if (remainingMs <= 0 || context.isClosing || !isOpen) return message;
      const timer = setTimeout(wake, Math.min(remainingMs, rereadMs));
      await woken;
      clearTimeout(timer);
    } finally {
      wakes.delete(wake);
      if (wakes.size === 0) waiting.delete(id);
    }
  }
}
