/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/**
 * Reports what the library does not: the connection state from the start, the logout before the page navigates away, changed names of contacts, the
 * content of a message that was loaded undecrypted, and answers to pings.
 */
function installWatch(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['ping']) return;
  core.onModules('watch', () => watchConnection(core));
  // WhatsApp may answer the login with a ban before the worker finds the page loaded: within milliseconds of its last module.
  const early = setInterval(() => {
    if (win.Debug?.VERSION && watchBans(core)) clearInterval(early);
  }, 4);
  core.onModules('watch', () => {
    clearInterval(early);
    watchBans(core);
  });
  core.onModules('watch', () => watchNames(core));
  core.onModules('watch', () => watchContents(core, win));
  core.calls['ping'] = async ({ nonce }: { nonce: string }) => {
    core.notify('canary', { nonce });
    const challenge = core.calls['challenge']?.({}) as { kind: string } | null | undefined;
    return { ...connectionState(core), listeners: core.calls['listeners']?.({}) ?? [], challenge: challenge?.kind ?? null };
  };
  core.calls['state'] = () => connectionState(core);
  core.calls['identity'] = () => ownIdentity(core, win);
  core.calls['logout'] = () => core.module('WAWebSocketModel').Socket.logout();
}

function watchConnection(core: PageCore): void {
  const { Socket } = core.module('WAWebSocketModel');
  Socket.on('change:state', (_model: unknown, state: unknown) => core.notify('state', { state: state ?? Socket.state }));
  core.notify('state', { state: Socket.state });
  const { Cmd } = core.module('WAWebCmd');
  for (const name of ['logout', 'logout_from_bridge']) Cmd.on(name, () => core.notify('logout', {}));
}

/**
 * Reports a temporary ban, which the page shows instead of the chats. A connection state for it does not exist. Returns false while the page lacks the
 * module. Further calls change nothing.
 */
function watchBans(core: PageCore): boolean {
  const bus = core.moduleIfAny('WAWebBackendEventBus')?.BackendEventBus;
  const original = bus?.triggerTemporaryBan;
  if (typeof original !== 'function') return false;
  if (original.isWatched) return true;
  const watched = function (this: unknown, ban: any, ...rest: unknown[]): unknown {
    const seconds = Number(ban?.expire);
    core.notify('ban', { seconds: Number.isFinite(seconds) && seconds > 0 ? seconds : null, code: Number(ban?.code) });
    return original.call(this, ban, ...rest);
  };
  bus.triggerTemporaryBan = Object.assign(watched, { isWatched: true });
  return true;
}

/** Reports contacts whose name changed, in batches: a synchronised address book changes thousands at once. */
function watchNames(core: PageCore): void {
  const gatherMs = 300;
  const maxReported = 500;
  let renamed = new Set<string>();
  const report = (): void => {
    const ids = [...renamed].slice(0, maxReported);
    renamed = new Set();
    core.notify('contacts', { ids });
  };
  const contacts = core.moduleIfAny('WAWebCollections')?.Contact;
  contacts?.on?.('change:name change:pushname change:verifiedName', (contact: any) => {
    if (!contact?.id) return;
    if (renamed.size === 0) setTimeout(report, gatherMs);
    renamed.add(core.serialized(contact.id));
  });
}

/**
 * Reports the content of messages for which the library does not wait: those that the page loaded undecrypted from its history, or before the
 * library listened.
 */
function watchContents(core: PageCore, win: PageWindow): void {
  const leftToLibrary = new WeakSet();
  const messages = core.moduleIfAny('WAWebCollections')?.Msg;
  messages?.on?.('add', (msg: any) => {
    const isLibraryListening = typeof (win as any).onAddMessageCiphertextEvent === 'function';
    if (isLibraryListening && msg?.isNewMsg && msg.type === 'ciphertext') leftToLibrary.add(msg);
  });
  messages?.on?.('change:type', (msg: any, type: unknown, before: unknown) => {
    if (leftToLibrary.has(msg) || type === 'revoked' || (before !== undefined && before !== 'ciphertext')) return;
    if (win.WWebJS?.getMessageModel) core.notify('message', { message: core.modelOf(msg) });
  });
}

function connectionState(core: PageCore): { state: string | null; synced: boolean } {
  const socket = core.moduleIfAny('WAWebSocketModel')?.Socket;
  return { state: socket?.state ?? null, synced: socket?.hasSynced === true };
}

/** The linked account. */
function ownIdentity(core: PageCore, win: PageWindow): Record<string, string | null> {
  const me = core.module('WAWebUserPrefsMeUser');
  const { Conn } = core.module('WAWebConnModel');
  return {
    phone: core.idOf(me.getMaybeMePnUser?.()),
    lid: core.idOf(me.getMaybeMeLidUser?.()),
    pushName: Conn.pushname ?? null,
    platform: Conn.platform ?? null,
    version: win.Debug?.VERSION ?? null,
  };
}

export const watchScript = pageScript(installWatch, [
  watchConnection,
  watchBans,
  watchNames,
  watchContents,
  connectionState,
  ownIdentity,
]);
