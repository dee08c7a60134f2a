/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import { failureOf, isOver, provenAck, refuseInChannel, sendToChannel, stop, type Job, type SendContext } from './send-jobs.js';
import type { NotHanded, PageFailure, PageSend, PageSendResult } from './send-types.js';
import type { PageCore, PageWindow } from './world.js';

/**
 * Sends a message under a reserved id. Two rules ensure that this send uses the id and no other message does: sends run one after another until
 * WhatsApp's own send is called, and that call is recognised by a mark in the message. There, a message with the mark but another id gets the
 * reserved id, and a message whose send has been abandoned is stopped.
 */
function installSend(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['send']) return;
  const context: SendContext = {
    win,
    core,
    jobs: new Map(),
    running: new Map(),
    own: new Map(),
    active: null,
    tail: Promise.resolve(),
    listening: false,
  };
  core.view('reserved-id', 'WAWebMsgKey', (module) => ({ newId: (...args: unknown[]) => newId(context, module, args) }));
  core.view('reserved-id', 'WAWebSendMsgChatAction', (module) => ({
    addAndSendMsgToChat: (chat: any, message: any, ...rest: unknown[]) => sendToChat(context, module, chat, message, rest),
  }));
  // Channels use another function, after which the library counts every answer as a success.
  core.view('reserved-id', 'WAWebNewsletterSendMessageJob', (module) => ({
    sendNewsletterMessageJob: (request: any) => sendToChannel(context, module, request),
  }));
  core.calls['send'] = (input: PageSend) => sendOnce(context, input);
  core.calls['checkReserved'] = () => checkReserved(context);
  core.calls['typing'] = ({ chatId, state }: { chatId: string; state: 'typing' | 'stop' }) => {
    win.WWebJS.sendChatstate(state, chatId);
    return true;
  };
}

/** Returns the reserved id to the running send, and a new id to every other caller. */
function newId({ active: job }: SendContext, module: any, args: unknown[]): unknown {
  if (!job || job.closed || job.isIdUsed) return module.newId(...args);
  job.isIdUsed = true;
  return job.id;
}

/** Calls WhatsApp's own send. A message with our mark belongs to the job that the mark names. */
function sendToChat({ core, jobs }: SendContext, module: any, chat: any, message: any, rest: unknown[]): any {
  const job = jobs.get(message.chasquiSend);
  const missing = message.chasquiRequires?.find((field: string) => !message[field]);
  delete message.chasquiSend;
  delete message.chasquiRequires;
  if (!job) return module.addAndSendMsgToChat(chat, message, ...rest);
  if (isOver(job)) throw stop('deadline', 'This send was abandoned before it reached WhatsApp.');
  if (missing) throw stop('error', `WhatsApp returned no ${missing}.`);
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
      job.refused ??= failureOf({ name: answer?.messageSendResult, message, status: answer?.error ?? answer?.status });
    },
    (error: unknown) => {
      job.refused = failureOf(error);
    },
  );
  return result;
}

function isOnline(core: PageCore): boolean {
  return core.moduleIfAny('WAWebSocketModel')?.Socket.state === 'CONNECTED';
}

function remember({ own }: SendContext, msg: any): void {
  if (msg?.id?.fromMe) own.set(msg.id.id, msg);
}

/** Follows messages of the account in the store, once its module is loaded. Idempotent. */
function listen(context: SendContext): void {
  if (context.listening) return;
  const { Msg } = context.core.collections();
  Msg.on('add', (msg: any) => remember(context, msg));
  Msg.on('remove', (msg: any) => context.own.delete(msg?.id?.id));
  Msg.on('change:ack', (msg: any, ack: number) => context.jobs.get(msg?.id?.id)?.onAck(ack));
  for (const msg of Msg.getModelsArray()) remember(context, msg);
  context.listening = true;
}

/** Returns the account's message with this key, from the store or the page's database. */
async function findOwn({ core, own }: SendContext, chatId: string, key: string): Promise<any> {
  const known = own.get(key);
  if (known) return known;
  const stored = await core.collections().Msg.getMessagesById(core.ownIds(chatId, key));
  return stored?.messages?.find((msg: any) => msg?.id?.id === key) ?? core.ownStory(key);
}

/** Returns the chat to send to. Refuses a group or channel that WhatsApp does not know, or that this account is not in, before the hand-over. */
async function openChat({ core, win }: SendContext, chatId: string): Promise<any> {
  const isShared = /@(g\.us|newsletter)$/.test(chatId);
  const chat = await win.WWebJS.getChat(chatId, { getAsModel: false }).catch((error: unknown) => {
    // WhatsApp's errors for an unknown group have no message. While it is not connected they say nothing about the group.
    if (isShared && isOnline(core)) throw stop('chat');
    throw error;
  });
  if (!chat) throw stop('chat');
  if (!/@g\.us$/.test(chatId)) return chat;
  const { participants: members, announce } = chat.groupMetadata ?? {};
  // Without loaded metadata WhatsApp's server decides.
  if (!members || (members.getModelsArray?.() ?? []).length === 0) return chat;
  const me = core.module('WAWebUserPrefsMeUser');
  const mine = [me.getMaybeMePnUser(), me.getMaybeMeLidUser()].flatMap((id) => (id ? [members.get(id)] : [])).find(Boolean);
  if (!mine) throw stop('chat');
  if (announce && !mine.isAdmin && !mine.isSuperAdmin) throw stop('admin');
  return chat;
}

/** A message that WhatsApp refused stays in the page. It is removed, so that a new attempt can use the same id. */
function forgetRefused({ core, own }: SendContext, msg: any): void {
  const { Msg, Chat } = core.collections();
  own.delete(msg.id.id);
  Chat.get(msg.id.remote)?.msgs?.remove?.(msg);
  Msg.remove(msg);
}

/** Calls the library's own send. Rejects with an error of `stop` when the message must not be sent. */
async function handOver(context: SendContext, input: PageSend): Promise<void> {
  const { core, win } = context;
  const isChannel = /@newsletter$/.test(input.chatId);
  const sending = isChannel ? 'WAWebNewsletterSendMessageJob' : 'WAWebSendMsgChatAction';
  if (!core.moduleIfAny(sending)) throw stop('module', `WhatsApp Web has no ${sending}.`);
  const chat = await openChat(context, input.chatId);
  const options: Record<string, unknown> = { ...input.options };
  requireMentioned(core, input);
  if (input.quotedMessageId) {
    const quoted = await core.findMessage(input.quotedMessageId);
    if (!quoted && !input.ignoreQuoteErrors) throw stop('quote');
    if (quoted) options['quotedMessageId'] = core.serialized(quoted.id);
  }
  const mark = isChannel ? {} : { chasquiSend: input.reservedId };
  options['extraOptions'] = { ...input.extra, ...(await forwardMarks(core, input)), ...mark };
  if (chat.id.isStatus?.()) await postStory(context, chat, input, options);
  else await win.WWebJS.sendMessage(chat, input.body, options);
}

/** Phones show a mention of a group only to those who are in it, and WhatsApp knows no other groups. */
function requireMentioned(core: PageCore, { options }: PageSend): void {
  const groups = (options['groupMentions'] ?? []) as { id: string }[];
  const unknown = groups.find(({ id }) => !core.collections().Chat.get(core.widOf(id)));
  if (unknown) throw stop('mention', `This account is not in the group ${unknown.id}, which the text mentions.`);
}

/** Posts a story: WhatsApp's own functions for that draw their own id, so it is handed over as to any chat. */
async function postStory(context: SendContext, chat: any, input: PageSend, options: Record<string, unknown>): Promise<void> {
  const message = await context.core.storyMessage(chat, input, options);
  await sendToChat(context, context.core.module('WAWebSendMsgChatAction'), chat, message, [])[0];
}

/** Returns the fields that mark a message as forwarded. WhatsApp counts how often content was forwarded; if the original is gone, the count is 1. */
async function forwardMarks(core: PageCore, { forward }: PageSend): Promise<Record<string, unknown>> {
  if (!forward) return {};
  const original = forward.whatsappId ? await core.findMessage(forward.whatsappId).catch(() => null) : null;
  const before = original?.forwardingScore ?? (original?.isForwarded ? 1 : 0);
  return { isForwarded: true, forwardingScore: before + 1 };
}

function notHanded(core: PageCore, why: NotHanded, failure: PageFailure | null): PageSendResult {
  return { stage: 'not_handed', why, online: isOnline(core), failure };
}

/**
 * Resolves with the first final result, or at the deadline with what is known then. A refusal waits 200 ms for its status. `work` is the running
 * hand-over; `release` lets the next send begin.
 */
function conclude(
  { core, jobs, own }: SendContext,
  job: Job,
  { deadlineMs, work, release }: { deadlineMs: number; work: Promise<void>; release: () => void },
): Promise<PageSendResult> {
  const isStory = job.chatId === 'status@broadcast';
  const stored = (): any => own.get(job.id) ?? (isStory ? core.ownStory(job.id) : null);
  const ackOf = (): number => provenAck(job, stored());
  const whatsappId = (): string => core.serialized(stored()?.id ?? `true_${job.chatId}_${job.id}`);
  return new Promise((resolve) => {
    const finish = (result: PageSendResult): void => {
      clearTimeout(timer);
      clearInterval(watch);
      job.closed = true;
      jobs.delete(job.id);
      release();
      resolve(result);
    };
    const settle = (ack: number, hasWaited = false): void => {
      if (job.closed || ack === 0 || (ack > 0 && job.channel !== null && job.channel !== 'published')) return;
      if (ack < 0 && !job.refused && !hasWaited) return void setTimeout(settle, 200, ack, true);
      finish({ stage: ack < 0 ? 'refused' : 'acked', whatsappId: whatsappId(), ack, failure: ack < 0 ? job.refused : null });
    };
    const timer = setTimeout(() => {
      if (!job.handed) finish(notHanded(core, 'deadline', job.refused));
      else finish({ stage: 'pending', whatsappId: whatsappId(), ack: ackOf(), failure: job.refused });
    }, deadlineMs);
    // The store of stories announces no acks.
    const watch = isStory ? setInterval(() => settle(ackOf()), 200) : undefined;
    job.onAck = settle;
    work.then(
      () => {
        release();
        settle(ackOf());
        // The library has done all that it does: no ack comes later.
        if (!job.closed && job.channel === 'unknown')
          finish({ stage: 'pending', whatsappId: whatsappId(), ack: 0, failure: job.refused });
      },
      (error: any) => {
        if (job.closed) return;
        const failure = failureOf(error);
        if (!job.handed) return finish(notHanded(core, error?.why ?? 'error', failure));
        if (job.channel === 'unknown') return finish({ stage: 'pending', whatsappId: whatsappId(), ack: 0, failure });
        if (!stored()) return finish({ stage: 'absent', online: isOnline(core), failure });
        job.refused = failure;
        release();
        settle(ackOf());
      },
    );
  });
}

/** Waits for the sends before this one; `mine` is false when they used all its time. */
async function waitForTurn(context: SendContext, job: Job, ms: number): Promise<{ mine: boolean; release: () => void }> {
  const previous = context.tail;
  let free = (): void => undefined;
  context.tail = new Promise<void>((resolve) => {
    free = resolve;
  });
  const release = (): void => {
    if (context.active === job) context.active = null;
    free();
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const mine = await Promise.race([previous.then(() => true), late]);
  clearTimeout(timer);
  if (mine) context.active = job;
  // The sends after this one still wait for the one before it.
  else void previous.then(release);
  return { mine, release };
}

/** Sends a message. A second call with the same reserved id, while the first runs, gets the result of the first. */
function sendOnce(context: SendContext, input: PageSend): Promise<PageSendResult> {
  const { running } = context;
  const same = running.get(input.reservedId);
  if (same) return same;
  const sending = send(context, input).finally(() => running.delete(input.reservedId));
  running.set(input.reservedId, sending);
  return sending;
}

async function send(context: SendContext, input: PageSend): Promise<PageSendResult> {
  const { core, jobs, own } = context;
  const { reservedId: id, chatId, handOverMs, calledAt } = input;
  const receivedAt = performance.now();
  const endsAt = receivedAt + input.deadlineMs;
  const remainingMs = (): number => Math.max(1, endsAt - performance.now());
  const channel = /@newsletter$/.test(chatId) ? ('asking' as const) : null;
  const state = { isIdUsed: false, handed: false, closed: false, refused: null, channel, onAck: () => undefined };
  const job: Job = { id, chatId, handOverMs, calledAt, receivedAt, ...state };
  listen(context);
  const known = input.isFirst ? own.get(id) : await findOwn(context, chatId, id);
  const existing = known && known.ack < 0 ? null : known;
  if (known && !existing) forgetRefused(context, known);
  jobs.set(id, job);
  // With ack 0 the message is in the page's own queue, so its ack is awaited. Handing it over again could send it twice.
  if (existing) {
    remember(context, existing);
    job.handed = true;
    if (job.channel !== null) job.channel = existing.serverId ? 'published' : 'unknown';
    return conclude(context, job, { deadlineMs: remainingMs(), work: Promise.resolve(), release: () => undefined });
  }
  const { mine, release } = await waitForTurn(context, job, remainingMs());
  if (mine) return conclude(context, job, { deadlineMs: remainingMs(), work: handOver(context, input), release });
  jobs.delete(id);
  return notHanded(core, 'deadline', null);
}

/** The self-check after `ready`: the view must return the reserved id to the running send, and a new id to every other caller. */
async function checkReserved(context: SendContext): Promise<{ ok: boolean; detail: string | null }> {
  const { core, win } = context;
  listen(context);
  if (context.active) return { ok: true, detail: 'a send is running' };
  const id = '3EB0000000000000000000';
  const times = { handOverMs: Infinity, calledAt: 0, receivedAt: 0 };
  const state = { isIdUsed: false, handed: false, closed: false, refused: null, channel: null, onAck: () => undefined };
  context.active = { id, chatId: '', ...times, ...state };
  try {
    const key = win.require('WAWebMsgKey');
    const reserved = await key.newId();
    const next = await key.newId();
    const bare = new key({ from: 'a@c.us', to: 'b@c.us', id: reserved, selfDir: 'out' });
    const ok = reserved === id && next !== id && bare.id === id;
    core.report('reserved-id', ok ? 'corrected' : 'failed', ok ? null : 'newId cannot be wrapped');
    return { ok, detail: null };
  } finally {
    context.active = null;
  }
}

export const sendScript = pageScript(installSend, [
  newId,
  sendToChat,
  sendToChannel,
  refuseInChannel,
  failureOf,
  isOver,
  stop,
  isOnline,
  remember,
  listen,
  findOwn,
  openChat,
  forgetRefused,
  handOver,
  requireMentioned,
  postStory,
  forwardMarks,
  notHanded,
  conclude,
  provenAck,
  waitForTurn,
  sendOnce,
  send,
  checkReserved,
]);
