/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** The state of the listener for one kind of event. */
interface ListenerState {
  name: string;
  state: 'attached' | 'waiting' | 'failed';
  detail: string | null;
  /** Whether the page still calls the listener. */
  isThere: () => boolean;
}

interface ListenContext {
  core: PageCore;
  win: any;
  listeners: Map<string, ListenerState>;
  /** Ids of calls that were reported. A call may be noticed in several ways, and is reported once. */
  calls: Set<string>;
  /** Ids of undecrypted messages for which the phone was asked. Each is asked for once. */
  asked: Set<string>;
  /** Whether the phone is asked for messages that could not be decrypted. */
  asksPhone: boolean;
  /** How often the module of calls was looked for. */
  callTries: number;
  /** Ends when the last vote in the queue was reported. Votes are queued because reading their polls takes time. */
  votes: Promise<void>;
}

/**
 * Attaches listeners to WhatsApp's events in place of the library's. The library attaches all in one chain, in which calls come before messages:
 * if one module is missing or has changed, no listener after it is attached. Here each kind of event has a listener of its own. They are attached
 * in the order of importance, call the functions of the library that its own listeners would call, and can tell whether the page still calls them.
 */
function installListeners(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['listen']) return;
  const context: ListenContext = {
    core,
    win,
    listeners: new Map(),
    calls: new Set(),
    asked: new Set(),
    asksPhone: true,
    callTries: 0,
    votes: Promise.resolve(),
  };
  core.calls['listen'] = (input: { asksPhone: boolean }) => listenToAll(Object.assign(context, input));
  core.calls['reportPins'] = ({ since }: { since: number }) => reportPins(context, since);
  core.calls['listeners'] = () => statesOf(context);
}

/** Attaches all listeners. Idempotent: an attached listener stays, and one that failed is tried again. */
function listenToAll(context: ListenContext): { name: string; state: string; detail: string | null }[] {
  attachOne(context, 'messages', () => listenToMessages(context));
  attachOne(context, 'acks', () => listenToAcks(context));
  attachOne(context, 'edits', () => listenToEdits(context));
  attachOne(context, 'revokes', () => listenToRevokes(context));
  attachOne(context, 'reactions', () => listenToReactions(context));
  attachOne(context, 'votes', () => listenToVotes(context));
  attachOne(context, 'stars', () => listenToStars(context));
  attachOne(context, 'pins', () => listenToPins(context));
  attachOne(context, 'chats', () => listenToChats(context));
  attachOne(context, 'state', () => listenToState(context));
  if (context.asksPhone) attachOne(context, 'resend', () => allowResend(context));
  attachOne(context, 'calls', () => listenToCalls(context));
  return statesOf(context);
}

/** Attaches one listener. `attach` returns how to check it, or null if its module is not loaded yet; it throws if the event cannot be received. */
function attachOne({ listeners }: ListenContext, name: string, attach: () => (() => boolean) | null): void {
  if (listeners.get(name)?.state === 'attached') return;
  try {
    const isThere = attach();
    listeners.set(name, { name, state: isThere ? 'attached' : 'waiting', detail: null, isThere: isThere ?? (() => true) });
  } catch (error: any) {
    const detail = String(error?.message ?? error).slice(0, 200);
    listeners.set(name, { name, state: 'failed', detail, isThere: () => false });
  }
}

/** Returns the state of each listener. `gone`: it was attached, and the page no longer calls it. */
function statesOf({ listeners }: ListenContext): { name: string; state: string; detail: string | null }[] {
  return [...listeners.values()].map(({ name, state, detail, isThere }) => {
    let isStill = false;
    try {
      isStill = isThere();
    } catch {
      // A listener that cannot be checked counts as gone.
    }
    return { name, state: state === 'attached' && !isStill ? 'gone' : state, detail };
  });
}

/**
 * Subscribes to events of a collection. Returns the canary, a check whether the page still uses this collection and the collection still calls the
 * listeners. The check triggers an event with a name of ours: whatever removes all listeners removes that one too.
 */
function subscribe(
  { core }: ListenContext,
  find: () => any,
  handlers: Record<string, (...args: any[]) => unknown>,
): () => boolean {
  const collection = find();
  if (typeof collection?.on !== 'function') throw new Error('WhatsApp Web has no such collection.');
  for (const [events, handler] of Object.entries(handlers))
    collection.on(events, (...args: any[]) => {
      // An error would end the page's loop over its listeners.
      try {
        const result: any = handler(...args);
        result?.catch?.((error: any) => core.notify('unreadable', { what: events, detail: String(error?.name ?? error) }));
      } catch (error: any) {
        core.notify('unreadable', { what: events, detail: String(error?.name ?? error) });
      }
    });
  let received = 0;
  const canary = `chasqui:${Object.keys(handlers)[0]!.split(' ')[0]}`;
  collection.on(canary, () => (received += 1));
  return () => {
    if (find() !== collection) return false;
    if (typeof collection.trigger !== 'function') return true;
    const before = received;
    collection.trigger(canary);
    return received > before;
  };
}

/**
 * Replaces a function of an object by one that reports its arguments first. Returns a check whether the replacement is still in place. Throws if
 * the page has frozen the object.
 */
function wrapFunction(object: any, name: string, report: (...args: any[]) => void): () => boolean {
  const original = object?.[name];
  if (typeof original !== 'function') throw new Error(`WhatsApp Web has no ${name}.`);
  const wrapper = function (this: unknown, ...args: any[]): unknown {
    try {
      report(...args);
    } catch {
      // An error in `report` must not stop the page's own function.
    }
    return original.apply(this, args);
  };
  object[name] = wrapper;
  if (object[name] !== wrapper) throw new Error(`WhatsApp Web does not allow replacing ${name}.`);
  return () => object[name] === wrapper;
}

function listenToMessages(context: ListenContext): () => boolean {
  const { core, win } = context;
  const added = (msg: any): void => {
    if (!msg?.isNewMsg) return;
    if (msg.type !== 'ciphertext') return void win.onAddMessageEvent(core.modelOf(msg));
    win.onAddMessageCiphertextEvent(core.modelOf(msg));
    msg.once('change:type', () => {
      if (msg.type !== 'revoked') win.onAddMessageEvent(core.modelOf(msg));
    });
    if (!String(msg.subtype ?? '').endsWith('_unavailable_fanout')) askAgain(context, msg);
  };
  return subscribe(context, () => core.collections().Msg, { add: added });
}

/**
 * Asks the phone for the content of a message that could not be decrypted, unless it arrives within five seconds. A message that comes again, as its
 * sender repeats it, is not asked for again: many such requests may draw WhatsApp's attention to the account.
 */
function askAgain({ core, asked, asksPhone }: ListenContext, msg: any): void {
  if (!asksPhone) return;
  const waitMs = 5_000;
  const maxKnown = 2_000;
  const id = core.serialized(msg.id);
  if (asked.has(id)) return;
  asked.add(id);
  if (asked.size > maxKnown) asked.delete([...asked][0]!);
  setTimeout(() => {
    if (msg.type !== 'ciphertext') return;
    const requests = core.moduleIfAny('WAWebNonMessageDataRequestPlaceholderMessageResendUtils');
    if (typeof requests?.handlePlaceholderMsgsSeen !== 'function') return;
    requests.handlePlaceholderMsgsSeen([msg], true);
    core.notify('asked_phone', {});
  }, waitMs);
}

/** Opens WhatsApp's feature gate, without which the page does not ask the phone for messages again. */
function allowResend({ core }: ListenContext): () => boolean {
  const gates = core.module('WAWebSyncGatingUtils');
  const open = (): boolean => true;
  gates.isPlaceholderMessageResendEnabled = open;
  if (gates.isPlaceholderMessageResendEnabled !== open && !gates.isPlaceholderMessageResendEnabled())
    throw new Error('WhatsApp Web does not allow asking the phone for messages again.');
  return () => true;
}

function listenToAcks(context: ListenContext): () => boolean {
  const { core, win } = context;
  return subscribe(context, () => core.collections().Msg, {
    'change:ack': (msg, ack) => win.onMessageAckEvent(core.modelOf(msg), ack),
  });
}

function listenToEdits(context: ListenContext): () => boolean {
  const { core, win } = context;
  const changed = new Set<any>();
  /** A calendar event is reported once all fields of one change are set. A page that does not tell the time of the change gets the present one. */
  const reportEvent = (msg: any): void => {
    if (changed.has(msg)) return;
    changed.add(msg);
    setTimeout(() => {
      changed.delete(msg);
      const model = core.modelOf(msg);
      const latestEditSenderTimestampMs = model.latestEditSenderTimestampMs ?? Date.now();
      core.notify('event_change', { message: { ...model, latestEditSenderTimestampMs } });
    }, 0);
  };
  return subscribe(context, () => core.collections().Msg, {
    'change:body change:caption': (msg, now, before) => win.onEditMessageEvent(core.modelOf(msg), now, before),
    'change:eventName change:eventDescription change:eventStartTime change:eventEndTime change:eventLocation change:eventJoinLink change:isEventCanceled':
      reportEvent,
  });
}

function listenToRevokes(context: ListenContext): () => boolean {
  const { core, win } = context;
  return subscribe(context, () => core.collections().Msg, {
    'change:type': (msg) => {
      if (msg.type === 'revoked') win.onChangeMessageTypeEvent(core.modelOf(msg));
    },
  });
}

function listenToReactions({ core, win }: ListenContext): () => boolean {
  const name = 'WAWebAddonReactionTableMode';
  const report = (row: any): void => {
    const sender = core.idOf(row.author ?? row.from);
    if (sender === null) throw new TypeError('A reaction without its sender.');
    const timestamp = row.reactionTimestamp / 1000;
    win.onReaction([{ ...row, msgKey: row.id, parentMsgKey: row.reactionParentKey, senderUserJid: sender, timestamp }]);
  };
  return wrapFunction(core.module(name).reactionTableMode, 'bulkUpsert', (rows: any[]) => {
    for (const row of rows)
      try {
        report(row);
      } catch (error: any) {
        // A reaction that cannot be read does not stop the others.
        core.notify('unreadable', { what: name, detail: String(error?.name ?? error) });
      }
  });
}

function listenToVotes(context: ListenContext): () => boolean {
  const { core, win } = context;
  const name = 'WAWebAddonPollVoteTableMode';
  const report = async (row: any): Promise<void> => {
    const parent = row.pollUpdateParentKey;
    // The row may name the poll with the other address of its chat.
    const parentMessage = await core.findMessage(core.serialized(parent));
    const sender = row.author ?? row.from;
    if (core.idOf(sender) === null) throw new TypeError('A vote without its sender.');
    const more = { msgKey: row.id, sender, parentMsgKey: parent, senderUserJid: core.idOf(sender), timestamp: row.t / 1000 };
    win.onPollVoteEvent([{ ...row, ...more, parentMessage }]);
  };
  return wrapFunction(core.module(name).pollVoteTableMode, 'bulkUpsert', (rows: any[]) => {
    for (const row of rows)
      context.votes = context.votes
        .then(() => endsInTime(report(row)))
        .catch((error: any) => core.notify('unreadable', { what: name, detail: String(error?.name ?? error) }));
  });
}

/** Rejects if `work` takes longer than five seconds: a row that never ends must not stop the rows after it. */
function endsInTime(work: Promise<void>): Promise<void> {
  return Promise.race([
    work,
    new Promise<void>((_resolve, reject) => setTimeout(() => reject(new Error('The row was not processed in time.')), 5_000)),
  ]);
}

function listenToStars(context: ListenContext): () => boolean {
  const { core } = context;
  return subscribe(context, () => core.collections().Msg, {
    'change:star': (msg, star) => core.notify('marks', { message: core.modelOf(msg), starred: Boolean(star) }),
  });
}

/** The page has a row for each pinned message, which it changes or removes. */
function listenToPins(context: ListenContext): () => boolean {
  const { core } = context;
  return subscribe(context, () => core.module('WAWebPinInChatCollection').PinInChatCollection, {
    'add change': (row) => reportPin(core, row, true),
    remove: (row) => reportPin(core, row, false),
  });
}

/** When a message was pinned, in seconds. Times of a row are in seconds, but for that of the sender. */
function pinnedAt(row: any): number {
  return Number(row.t ?? Math.floor(Number(row.senderTimestampMs) / 1_000));
}

function reportPin(core: PageCore, row: any, isThere: boolean): void {
  // WhatsApp's longest pin: a row that does not tell its duration counts as one of these.
  const longestSeconds = 2_592_000;
  const until = (pinnedAt(row) + Number(row.pinExpiryDuration ?? longestSeconds)) * 1_000;
  const pinnedUntil = isThere && row.pinType === 1 && until > Date.now() ? new Date(until).toISOString() : null;
  core.notify('marks', { message: { id: core.serialized(row.parentMsgKey) }, pinnedUntil });
}

/** Reports the pins since a time in seconds, the newest 200: those that were made while no page listened. Of the end of a pin nothing is left. */
function reportPins({ core }: ListenContext, since: number): void {
  const rows: any[] = core.moduleIfAny('WAWebPinInChatCollection')?.PinInChatCollection?.getModelsArray?.() ?? [];
  const newer = rows.filter((row) => row.pinType === 1 && pinnedAt(row) > since).sort((a, b) => pinnedAt(a) - pinnedAt(b));
  for (const row of newer.slice(-200)) reportPin(core, row, true);
}

function listenToChats(context: ListenContext): () => boolean {
  const { core, win } = context;
  const named = (chat: any): object => ({ id: core.serialized(chat.id), unreadCount: chat.unreadCount ?? null });
  return subscribe(context, () => core.collections().Chat, {
    'change:unreadCount': (chat) => win.onChatUnreadCountEvent(named(chat)),
    'change:archive': (chat, now, before) => win.onArchiveChatEvent(named(chat), now, before),
    remove: (chat) => win.onRemoveChatEvent(named(chat)),
  });
}

function listenToState(context: ListenContext): () => boolean {
  const { core, win } = context;
  return subscribe(context, () => core.module('WAWebSocketModel').Socket, {
    'change:state': (_socket, state) => win.onAppStateChangedEvent(state),
  });
}

/** The page has its calls in a map of the collection, or it has one active call. Null: the module is not loaded yet, and is looked for again. */
function listenToCalls(context: ListenContext): (() => boolean) | null {
  const { core } = context;
  const calls = core.moduleIfAny('WAWebCallCollection');
  if (!calls) {
    // Twice a second during the start of the page, then every 15 seconds.
    context.callTries += 1;
    setTimeout(() => attachOne(context, 'calls', () => listenToCalls(context)), context.callTries < 60 ? 500 : 15_000);
    return null;
  }
  const canaries: (() => boolean)[] = [];
  const map = Object.values(calls).find((value): value is Map<unknown, any> => value instanceof Map);
  if (map) canaries.push(wrapFunction(map, 'set', (_id: unknown, call: any) => reportCall(context, call)));
  if (typeof calls.setActiveCall === 'function')
    canaries.push(wrapFunction(calls, 'setActiveCall', (call: any) => reportWhenRinging(context, call)));
  if (canaries.length === 0) throw new Error('WhatsApp Web has no known list of calls.');
  // A call may have come before its module was found.
  for (const call of [calls.activeCall, ...(map?.values() ?? [])]) reportWhenRinging(context, call);
  return () => canaries.every((isThere) => isThere());
}

/** Reports an active call if it is ringing, which means that it is incoming. The page sets its state a moment later, so it is checked up to four times. */
function reportWhenRinging(context: ListenContext, call: any): void {
  if (!call?.id) return;
  const delaysMs = [0, 50, 200, 750];
  const look = (at: number): void => {
    const state = typeof call.getState === 'function' ? call.getState() : call.state;
    const isUnknown = state === undefined || state === null;
    if (isUnknown && at + 1 < delaysMs.length) return void setTimeout(look, delaysMs[at + 1], at + 1);
    if (isUnknown || /INCOMING_RING|RINGING/i.test(String(state))) reportCall(context, call);
  };
  setTimeout(look, delaysMs[0], 0);
}

function reportCall({ win, calls }: ListenContext, call: any): void {
  const maxKnown = 200;
  if (!call?.id || call.outgoing || calls.has(String(call.id))) return;
  calls.add(String(call.id));
  if (calls.size > maxKnown) calls.delete([...calls][0]!);
  const { id, peerJid, isVideo, isGroup, canHandleLocally, outgoing, webClientShouldHandle, participants } = call;
  win.onIncomingCall({ id, peerJid, isVideo, isGroup, canHandleLocally, outgoing, webClientShouldHandle, participants });
}

export const listenersScript = pageScript(installListeners, [
  listenToAll,
  attachOne,
  statesOf,
  subscribe,
  wrapFunction,
  listenToMessages,
  askAgain,
  allowResend,
  listenToAcks,
  listenToEdits,
  listenToRevokes,
  listenToReactions,
  listenToVotes,
  endsInTime,
  listenToStars,
  listenToPins,
  pinnedAt,
  reportPin,
  reportPins,
  listenToChats,
  listenToState,
  listenToCalls,
  reportWhenRinging,
  reportCall,
]);
