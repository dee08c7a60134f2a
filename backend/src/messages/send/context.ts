import type { Core } from '../../core.js';
import type { Presence } from '../../db/presence.js';
import type { Session } from '../../sessions/session.entity.js';
import type { MessageState } from '../state.js';
import type { HeldMessages } from './held.js';
import type { ItemBackoff } from './isolation.js';
import type { Lanes } from './lanes.js';
import type { Outcomes } from './outcomes.js';
import type { Pacing } from './pacing.js';
import type { ScheduledMessages } from './scheduled.js';
import type { MessageTransport } from './transport.js';
import type { UncertainMessages } from './uncertain.js';

/** Times in milliseconds. */
export interface DispatcherOptions {
  /** How often the outbox is scanned. */
  pollMs: number;
  /** How long a claim is valid. It must be longer than any hand-over. */
  leaseMs: number;
  /** How long a message that a lookup does not find may still turn up. */
  graceMs: number;
  /** How often a message that failed for now is sent again. */
  maxRetries: number;
  /** The delay before the first retry. It doubles with each further one. */
  retryIntervalMs: number;
  /** How late a scheduled message may be queued. */
  scheduleGraceMs: number;
  /** The pause of a whole session after a refusal, because the others would be refused too. It doubles from `first` to `max`. */
  refusalBackoffMs?: { first: number; max: number };
}

export interface DispatcherParts {
  state: MessageState;
  pacing: Pacing;
  transport: MessageTransport;
  /** This backend's name on its claims, and the check whether the owners of other claims are gone. */
  presence: Presence;
  /** See uncertain.ts. Absent: the database was never restored. */
  absenceProvenFrom?: () => number;
  options: DispatcherOptions;
}

/** The parts and state that all files of the dispatcher share. `createDispatcher` builds it. */
export interface SendContext extends Omit<Core, 'events'>, DispatcherParts {
  /** The time for `pacing`; see `steadyTime`. */
  steadyMs: () => number;
  uncertain: UncertainMessages;
  held: HeldMessages;
  scheduled: ScheduledMessages;
  outcomes: Outcomes;
  lanes: Lanes;
  /** Messages that this process works on: from before the claim is written until the outcome is committed. They are not taken over. */
  inFlight: Set<string>;
  /** Sessions that pause after a refusal. `until` is monotonic. */
  refusals: Map<string, { until: number; ms: number }>;
  /** Chats whose first message could not be claimed, as `session chat`. */
  pausedChats: ItemBackoff;
  takeovers: TakeoverMemory;
  isStopped: boolean;
}

/** The state of claims that are to be taken over, by message. */
export interface TakeoverMemory {
  /** Claims whose first call still runs at the worker, and when to ask again. Monotonic milliseconds. */
  askAgainAt: Map<string, number>;
  /** Claims of this process whose commit got no reply: their message was not handed over. */
  neverCalled: Set<string>;
  /** Claims that could not be taken over. Their message is not handed over, so they do not block their session. */
  postponed: ItemBackoff;
  /** The chats of postponed claims. */
  chats: Map<string, { sessionId: string; chatId: string }>;
}

export const canSend = (session: Session | null): session is Session =>
  session !== null && session.deletedAt === null && session.status === 'connected';
