/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

export interface PageSend {
  reservedId: string;
  /** The chat that WhatsApp uses for the recipient. */
  chatId: string;
  body: string;
  /** As the library's own `sendMessage` builds them. */
  options: Record<string, unknown>;
  /** Fields that the library sets on the finished message, such as several contact cards. */
  extra: Record<string, unknown>;
  quotedMessageId: string | null;
  ignoreQuoteErrors: boolean;
  /** True: only messages in memory are searched for it, because searching the stored history takes longer than the send itself. */
  isFirst: boolean;
  deadlineMs: number;
  /**
   * For how long after `calledAt`, the wall time of the call, the page may hand the message over. A page that was frozen for longer does not
   * hand it over. Wall time is the only clock that page and worker share; the page's monotonic clock is checked as well.
   */
  handOverMs: number;
  calledAt: number;
}

export interface PageFailure {
  name: string;
  message: string;
  status: number | null;
}

/** `chat`: the chat does not exist, or this account is not in it. `admin`: only admins may write to this group. */
export type NotHanded = 'deadline' | 'chat' | 'admin' | 'quote' | 'error';

/**
 * `acked`: the server has the message. `refused`: the server or the page refused it permanently. `not_handed`: WhatsApp's own send was not
 * called. `absent`: it was called and threw, and the message is not in the store. `pending`: it is in the store without an acknowledgement.
 */
export type PageSendResult =
  | { stage: 'acked' | 'refused' | 'pending'; whatsappId: string; ack: number; failure: PageFailure | null }
  | { stage: 'not_handed'; why: NotHanded; online: boolean; failure: PageFailure | null }
  | { stage: 'absent'; online: boolean; failure: PageFailure | null };

/**
 * Sends a message under a reserved id. Two rules ensure that exactly this send uses the id and no other message does: sends run one after
 * another until WhatsApp's own send was called, and that call is recognised by a mark in the message. A message with the mark but another
 * id gets the right one; a message whose send was abandoned meanwhile is stopped there.
 */
export function installSend(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['send']) return;

  interface Job {
    id: string;
    chatId: string;
    isIdUsed: boolean;
    handed: boolean;
    closed: boolean;
    handOverMs: number;
    calledAt: number;
    /** On the page's monotonic clock. */
    receivedAt: number;
    refused: PageFailure | null;
    onAck: (ack: number) => void;
  }
  const jobs = new Map<string, Job>();
  const own = new Map<string, any>();
  let active: Job | null = null;
  let tail: Promise<unknown> = Promise.resolve();
  let listening = false;

  const describe = (error: any): PageFailure => ({
    name: String(error?.name ?? 'Error'),
    message: String(error?.message ?? error).slice(0, 500),
    status: Number.isInteger(error?.status) ? error.status : null,
  });
  const isOnline = (): boolean => core.moduleIfAny('WAWebSocketModel')?.Socket.state === 'CONNECTED';

  /** Whether the time for the handover is over. If the wall clock was set back since the call, the time is unknown and counts as over. */
  const isLate = ({ handOverMs, calledAt, receivedAt }: Job): boolean => {
    const wallMs = Date.now() - calledAt;
    return wallMs > handOverMs || wallMs < -1_000 || performance.now() - receivedAt > handOverMs;
  };
  const isOver = (job: Job): boolean => job.closed || isLate(job);
  const abandoned = (): Error =>
    Object.assign(new Error('This send was abandoned before it reached WhatsApp.'), { why: 'deadline' });

  const remember = (msg: any): void => {
    if (msg?.id?.fromMe) own.set(msg.id.id, msg);
  };
  const listen = (): void => {
    if (listening) return;
    const { Msg } = core.module('WAWebCollections');
    Msg.on('add', remember);
    Msg.on('remove', (msg: any) => own.delete(msg?.id?.id));
    Msg.on('change:ack', (msg: any, ack: number) => jobs.get(msg?.id?.id)?.onAck(ack));
    Msg.getModelsArray().forEach(remember);
    listening = true;
  };

  core.view('reserved-id', 'WAWebMsgKey', (module) => ({
    newId: (...args: unknown[]) => {
      const job = active;
      if (!job || job.closed || job.isIdUsed) return module.newId(...args);
      job.isIdUsed = true;
      return job.id;
    },
  }));
  core.view('reserved-id', 'WAWebSendMsgChatAction', (module) => ({
    addAndSendMsgToChat: (chat: any, message: any, ...rest: unknown[]) => {
      const job = jobs.get(message.chasquiSend);
      delete message.chasquiSend;
      if (!job) return module.addAndSendMsgToChat(chat, message, ...rest);
      if (isOver(job)) throw abandoned();
      if (message.id.id !== job.id) {
        const { participant } = message.id;
        const key = { from: message.from, to: chat.id, id: job.id, participant, selfDir: 'out' };
        message.id = new (core.module('WAWebMsgKey'))(key);
      }
      job.handed = true;
      const result = module.addAndSendMsgToChat(chat, message, ...rest);
      Promise.resolve(result[1]).then(
        (answer: any) => {
          if (answer?.messageSendResult === 'OK') return job.onAck(1);
          const message = 'WhatsApp’s own send returned this result.';
          job.refused ??= describe({ name: answer?.messageSendResult, message, status: answer?.error ?? answer?.status });
        },
        (error: unknown) => {
          job.refused = describe(error);
        },
      );
      return result;
    },
  }));
  // Channels use another function, after which the library counts every answer as a success.
  core.view('reserved-id', 'WAWebNewsletterSendMessageJob', (module) => ({
    sendNewsletterMessageJob: async (request: any) => {
      const job = jobs.get(request?.msg?.id?.id);
      // Closes: another message used the reserved id, and this send got an id under which it could not be looked up.
      if (!job && active?.chatId === core.serialized(request?.msg?.id?.remote))
        throw new Error('The send to the channel did not get its reserved id.');
      if (job && isOver(job)) throw abandoned();
      if (job) job.handed = true;
      const answer = await module.sendNewsletterMessageJob(request);
      if (job && answer && !answer.success) {
        job.refused = describe({
          name: 'ChannelRefused',
          message: 'The channel refused the message.',
          status: answer.ack?.error,
        });
        job.onAck(-1);
      }
      return answer;
    },
  }));

  const find = async (key: string, candidates: string[]): Promise<any> => {
    listen();
    const known = own.get(key);
    if (known) return known;
    const { Msg } = core.module('WAWebCollections');
    const stored = await Msg.getMessagesById(candidates);
    return stored?.messages?.find((msg: any) => msg?.id?.id === key) ?? null;
  };

  const quoted = async (id: string): Promise<string | null> => {
    const { Msg } = core.module('WAWebCollections');
    const msg = Msg.get(id) ?? (await Msg.getMessagesById([id]))?.messages?.[0];
    if (msg) return core.serialized(msg.id);
    // The stored id may contain the phone number of the chat where the page uses the LID.
    const same = Msg.getModelsArray().find((candidate: any) => core.isNamedBy(id, candidate));
    return same ? core.serialized(same.id) : null;
  };

  const stop = (why: NotHanded): Error => Object.assign(new Error(why), { why });

  /** Returns the chat to send to. Refuses a group or channel that WhatsApp does not know, or that this account is not in, before the handover. */
  const openChat = async (chatId: string): Promise<any> => {
    const isShared = /@(g\.us|newsletter)$/.test(chatId);
    const chat = await win.WWebJS.getChat(chatId, { getAsModel: false }).catch((error: unknown) => {
      // WhatsApp's errors for an unknown group have no message. While it is not connected they say nothing about the group.
      if (isShared && isOnline()) throw stop('chat');
      throw error;
    });
    if (!chat) throw stop('chat');
    if (!/@g\.us$/.test(chatId)) return chat;
    const { Me, metadata } = { Me: core.module('WAWebUserPrefsMeUser'), metadata: chat.groupMetadata };
    const members = metadata?.participants;
    // Without loaded metadata WhatsApp's server decides.
    if (!members || (members.getModelsArray?.() ?? []).length === 0) return chat;
    const mine = [Me.getMaybeMePnUser(), Me.getMaybeMeLidUser()].flatMap((id) => (id ? [members.get(id)] : [])).find(Boolean);
    if (!mine) throw stop('chat');
    if (metadata.announce && !mine.isAdmin && !mine.isSuperAdmin) throw stop('admin');
    return chat;
  };

  /** A message that WhatsApp refused stays in the page. It is removed, so that a new attempt can use the same id. */
  const forgetRefused = (msg: any): void => {
    const { Msg, Chat } = core.module('WAWebCollections');
    own.delete(msg.id.id);
    Chat.get(msg.id.remote)?.msgs?.remove?.(msg);
    Msg.remove(msg);
  };
  const handOver = async (input: PageSend): Promise<void> => {
    const chat = await openChat(input.chatId);
    const options: Record<string, unknown> = { ...input.options };
    if (input.quotedMessageId) {
      const id = await quoted(input.quotedMessageId);
      if (!id && !input.ignoreQuoteErrors) throw stop('quote');
      if (id) options['quotedMessageId'] = id;
    }
    const mark = /@newsletter$/.test(input.chatId) ? {} : { chasquiSend: input.reservedId };
    options['extraOptions'] = { ...input.extra, ...mark };
    await win.WWebJS.sendMessage(chat, input.body, options);
  };

  const notHanded = (why: NotHanded, failure: PageFailure | null): PageSendResult => ({
    stage: 'not_handed',
    why,
    online: isOnline(),
    failure,
  });
  const ackOf = (job: Job): number => own.get(job.id)?.ack ?? 0;

  /** Resolves with the first final result, or at the deadline with what is known then. `work` hands the message over. */
  const conclude = (input: PageSend, job: Job, deadlineMs: number, work: Promise<void>, release: () => void) =>
    new Promise<PageSendResult>((resolve) => {
      const whatsappId = (): string => core.serialized(own.get(job.id)?.id ?? `true_${input.chatId}_${job.id}`);
      const finish = (result: PageSendResult): void => {
        clearTimeout(timer);
        job.closed = true;
        jobs.delete(job.id);
        release();
        resolve(result);
      };
      const settle = (ack: number): void => {
        if (job.closed || ack === 0) return;
        const failure = ack < 0 ? job.refused : null;
        finish({ stage: ack < 0 ? 'refused' : 'acked', whatsappId: whatsappId(), ack, failure });
      };
      const timer = setTimeout(() => {
        if (!job.handed) finish(notHanded('deadline', job.refused));
        else finish({ stage: 'pending', whatsappId: whatsappId(), ack: ackOf(job), failure: job.refused });
      }, deadlineMs);
      job.onAck = settle;
      work.then(
        () => {
          release();
          settle(ackOf(job));
        },
        (error: any) => {
          if (job.closed) return;
          const failure = describe(error);
          if (!job.handed) return finish(notHanded(error?.why ?? 'error', failure));
          if (!own.has(job.id)) return finish({ stage: 'absent', online: isOnline(), failure });
          job.refused = failure;
          release();
          settle(ackOf(job));
        },
      );
    });

  /** Waits for the sends before this one; `mine` is false when they used all its time. */
  const waitForTurn = async (job: Job, ms: number): Promise<{ mine: boolean; release: () => void }> => {
    const previous = tail;
    let free = (): void => undefined;
    tail = new Promise<void>((resolve) => {
      free = resolve;
    });
    const release = (): void => {
      if (active === job) active = null;
      free();
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const mine = await Promise.race([previous.then(() => true), late]);
    clearTimeout(timer);
    if (mine) active = job;
    // The sends behind this one wait for the one before it.
    else void previous.then(release);
    return { mine, release };
  };

  const send = async (input: PageSend): Promise<PageSendResult> => {
    const receivedAt = performance.now();
    const endsAt = receivedAt + input.deadlineMs;
    const remainingMs = (): number => Math.max(1, endsAt - performance.now());
    const id = input.reservedId;
    const { handOverMs, calledAt } = input;
    const times = { handOverMs, calledAt, receivedAt };
    const { chatId } = input;
    const job: Job = {
      id,
      chatId,
      isIdUsed: false,
      handed: false,
      closed: false,
      ...times,
      refused: null,
      onAck: () => undefined,
    };
    listen();
    const known = input.isFirst ? own.get(id) : await find(id, core.ownIds(chatId, id));
    const existing = known && known.ack < 0 ? null : known;
    if (known && !existing) forgetRefused(known);
    jobs.set(id, job);
    // With ack 0 it is in the page's own queue, so its ack is awaited. A second message under this id could be sent as well.
    if (existing) {
      remember(existing);
      job.handed = true;
      return conclude(input, job, remainingMs(), Promise.resolve(), () => undefined);
    }
    const { mine, release } = await waitForTurn(job, remainingMs());
    if (mine) return conclude(input, job, remainingMs(), handOver(input), release);
    jobs.delete(id);
    return notHanded('deadline', null);
  };

  const running = new Map<string, Promise<PageSendResult>>();
  core.calls['send'] = (input: PageSend): Promise<PageSendResult> => {
    const same = running.get(input.reservedId);
    if (same) return same;
    const sending = send(input).finally(() => running.delete(input.reservedId));
    running.set(input.reservedId, sending);
    return sending;
  };

  /** Self-check at ready: the view returns the reserved id to the running send, and a new id to every other caller. */
  core.calls['checkReserved'] = async () => {
    listen();
    const id = '3EB0000000000000000000';
    const nothing = { refused: null, onAck: () => undefined };
    const always = { handOverMs: Infinity, calledAt: 0, receivedAt: 0 };
    const probe: Job = { id, chatId: '', isIdUsed: false, handed: false, closed: false, ...always, ...nothing };
    const before = active;
    if (before) return { ok: true, detail: 'a send is running' };
    active = probe;
    try {
      const key = win.require('WAWebMsgKey');
      const reserved = await key.newId();
      const next = await key.newId();
      const bare = new key({ from: 'a@c.us', to: 'b@c.us', id: reserved, selfDir: 'out' });
      const ok = reserved === id && next !== id && bare.id === id;
      core.report('reserved-id', ok ? 'mended' : 'failed', ok ? null : 'newId cannot be wrapped');
      return { ok, detail: null };
    } finally {
      active = null;
    }
  };
}
