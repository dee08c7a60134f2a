/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import type { NotHanded, PageFailure, PageSendResult } from './send-types.js';
import type { PageCore, PageWindow } from './world.js';

/** The sends that run in the page, and what is particular about those to channels. `send.ts` passes these functions to the page. */

/** One send that runs. */
export interface Job {
  id: string;
  chatId: string;
  isIdUsed: boolean;
  /** WhatsApp's own send was called. */
  handed: boolean;
  /** The result was returned. */
  closed: boolean;
  handOverMs: number;
  calledAt: number;
  /** On the page's monotonic clock. */
  receivedAt: number;
  refused: PageFailure | null;
  /**
   * Of a message to a channel: the library calls it acknowledged whatever the server says, so only the server's own id proves that it was
   * published. `unknown`: the server was asked and gave neither that id nor a refusal. Null for other chats.
   */
  channel: 'asking' | 'published' | 'unknown' | null;
  onAck: (ack: number) => void;
}

export interface SendContext {
  win: PageWindow;
  core: PageCore;
  /** Jobs by reserved id. */
  jobs: Map<string, Job>;
  /** Results of the running sends by reserved id: a repeated call joins the first. */
  running: Map<string, Promise<PageSendResult>>;
  /** Own messages in the store, by key. */
  own: Map<string, any>;
  /** The job that may use its reserved id and hand its message over. */
  active: Job | null;
  /** Ends when the last send in the queue was handed over. */
  tail: Promise<unknown>;
  listening: boolean;
}

/** WhatsApp's own send to a channel. Its messages cannot carry a mark; they are recognised by the reserved id. */
export async function sendToChannel({ core, jobs, active }: SendContext, module: any, request: any): Promise<any> {
  const job = jobs.get(request?.msg?.id?.id);
  // Closes: another message used the reserved id, and this send got an id under which it could not be looked up.
  if (!job && active?.chatId === core.serialized(request?.msg?.id?.remote))
    throw new Error('The send to the channel did not get its reserved id.');
  if (job && isOver(job)) throw stop('deadline', 'This send was abandoned before it reached WhatsApp.');
  if (!job) return module.sendNewsletterMessageJob(request);
  job.handed = true;
  try {
    const answer = await module.sendNewsletterMessageJob(request);
    if (answer && answer.success === false) {
      const message = 'The channel refused the message.';
      refuseInChannel(job, failureOf({ name: 'ChannelRefused', message, status: answer.ack?.error }));
    } else if (answer?.serverId) {
      job.channel = 'published';
      job.onAck(1);
    } else job.channel = 'unknown';
    return answer;
  } catch (error: any) {
    // A status is the answer of WhatsApp's server. Without one the server may have published the message.
    if (error?.status >= 400 && error.status < 500) refuseInChannel(job, failureOf(error));
    else job.channel = 'unknown';
    throw error;
  }
}

export function refuseInChannel(job: Job, failure: PageFailure): void {
  job.refused = failure;
  job.onAck(-1);
}

export function failureOf(error: any): PageFailure {
  return {
    name: String(error?.name ?? 'Error'),
    message: String(error?.message ?? error).slice(0, 500),
    status: Number.isInteger(error?.status) ? error.status : null,
  };
}

/** The ack of a message, as far as it is proven: in a channel only by the server's id. */
export function provenAck(job: Job, msg: any): number {
  const ack = msg?.ack ?? 0;
  return ack > 0 && job.channel !== null && job.channel !== 'published' && !msg.serverId ? 0 : ack;
}

/** Whether the job has ended, or its time for the handover is over. If the wall clock was set back since the call, that time is unknown and counts as over. */
export function isOver({ closed, handOverMs, calledAt, receivedAt }: Job): boolean {
  const wallMs = Date.now() - calledAt;
  return closed || wallMs > handOverMs || wallMs < -1_000 || performance.now() - receivedAt > handOverMs;
}

/** The error of a send that is not handed over. */
export function stop(why: NotHanded, message: string = why): Error {
  return Object.assign(new Error(message), { why });
}
