/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

/**
 * Reports what the library does not: the connection state from the start, the logout before the page navigates away, a passkey that
 * WhatsApp asks for, the content of a message that was loaded undecrypted, and answers to pings.
 */
export function installWatch(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['ping']) return;

  core.onModules('watch', () => {
    const { Socket } = core.module('WAWebSocketModel');
    Socket.on('change:state', (_model: unknown, state: unknown) => core.notify('state', { state: state ?? Socket.state }));
    core.notify('state', { state: Socket.state });
    const { Cmd } = core.module('WAWebCmd');
    for (const name of ['logout', 'logout_from_bridge']) Cmd.on(name, () => core.notify('logout', {}));
  });

  /** Contacts whose name changed. Reported in batches: a synchronised address book changes thousands at once. */
  let renamed = new Set<string>();
  const gatherMs = 300;
  const maxReported = 500;
  const report = (): void => {
    const ids = [...renamed].slice(0, maxReported);
    renamed = new Set();
    core.notify('contacts', { ids });
  };
  core.onModules('watch', () => {
    const contacts = core.moduleIfAny('WAWebCollections')?.Contact;
    contacts?.on?.('change:name change:pushname change:verifiedName', (contact: any) => {
      if (!contact?.id) return;
      if (renamed.size === 0) setTimeout(report, gatherMs);
      renamed.add(core.serialized(contact.id));
    });
  });

  /**
   * The library waits for the content of a message only if the message arrived while the library listened. This reports the others, which the
   * page loaded undecrypted from its history, or before the library listened.
   */
  const leftToLibrary = new WeakSet();
  core.onModules('watch', () => {
    const messages = core.moduleIfAny('WAWebCollections')?.Msg;
    messages?.on?.('add', (msg: any) => {
      const isLibraryListening = typeof (win as any).onAddMessageCiphertextEvent === 'function';
      if (isLibraryListening && msg?.isNewMsg && msg.type === 'ciphertext') leftToLibrary.add(msg);
    });
    messages?.on?.('change:type', (msg: any, type: unknown, before: unknown) => {
      if (leftToLibrary.has(msg) || type === 'revoked' || (before !== undefined && before !== 'ciphertext')) return;
      if (win.WWebJS?.getMessageModel) core.notify('message', { message: core.plain(win.WWebJS.getMessageModel(msg)) });
    });
  });

  const credentials: any = navigator.credentials;
  if (credentials) {
    const get = credentials.get.bind(credentials);
    // A headless browser has no authenticator and would refuse at once; the call stays pending until WhatsApp itself cancels it.
    credentials.get = (options: any) => {
      if (!options?.publicKey) return get(options);
      core.notify('passkey', {});
      return new Promise((_resolve, reject) => {
        const refuse = (): void => reject(new DOMException('The passkey was not confirmed.', 'NotAllowedError'));
        options.signal?.addEventListener('abort', refuse);
        setTimeout(refuse, options.publicKey.timeout ?? 300_000);
      });
    };
  }

  core.calls['ping'] = async ({ nonce }: { nonce: string }) => {
    core.notify('canary', { nonce });
    const socket = core.moduleIfAny('WAWebSocketModel')?.Socket;
    return { state: socket?.state ?? null, synced: socket?.hasSynced === true };
  };
  core.calls['identity'] = () => {
    const me = core.module('WAWebUserPrefsMeUser');
    const { Conn } = core.module('WAWebConnModel');
    const idOf = (wid: any): string | null => (wid ? core.serialized(wid) : null);
    return {
      phone: idOf(me.getMaybeMePnUser?.()),
      lid: idOf(me.getMaybeMeLidUser?.()),
      pushName: Conn.pushname ?? null,
      platform: Conn.platform ?? null,
      version: win.Debug?.VERSION ?? null,
    };
  };
  core.calls['state'] = () => {
    const socket = core.moduleIfAny('WAWebSocketModel')?.Socket;
    return { state: socket?.state ?? null, synced: socket?.hasSynced === true };
  };
  core.calls['logout'] = () => core.module('WAWebSocketModel').Socket.logout();
}
