/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

/**
 * Stands between WhatsApp's data and the library's listeners in the page. The library turns each message into a plain object before it tells
 * us of it, and reads lists of reactions and votes as a whole: one that throws there would never reach us, and take its neighbours along.
 */
export function installModels(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['bareModel']) return;

  /** Everything of a message that we read. */
  const fields = [
    ...['type', 'subtype', 'body', 'caption', 't', 'from', 'to', 'author', 'ack', 'isNewMsg', 'notifyName', 'isForwarded'],
    ...['directPath', 'mimetype', 'size', 'filename', 'filehash', 'width', 'height', 'duration', 'isGif', 'isViewOnce'],
    ...['quotedStanzaID', 'mentionedJidList', 'lat', 'lng', 'loc', 'vcardFormattedName', 'vcardList', 'latestEditMsgKey'],
    ...['pollName', 'pollOptions', 'pollSelectableOptionsCount', 'inviteGrp', 'inviteGrpName', 'comment', 'recipients'],
    ...['isLive', 'latestEditSenderTimestampMs', 'revokeTimestamp', 'title', 'description', 'productId', 'businessOwnerJid'],
    ...[
      'priceAmount1000',
      'currencyCode',
      'url',
      'orderId',
      'orderTitle',
      'itemCount',
      'message',
      'sellerJid',
      'totalAmount1000',
    ],
    ...['totalCurrencyCode', 'paymentAmount1000', 'paymentCurrency', 'paymentNoteMsg', 'paymentMessageReceiverJid', 'footer'],
    ...[
      'selectedButtonId',
      'selectedId',
      'selectedDisplayText',
      'listResponse',
      'list',
      'expectedImageCount',
      'expectedVideoCount',
    ],
    ...['eventName', 'eventDescription', 'eventStartTime', 'eventEndTime', 'eventLocation', 'eventJoinLink', 'isEventCanceled'],
    ...['protocolMessageKey', 'scheduledTimestampMs', 'paymentNote', 'paymentTxnStatus', 'paymentStatus', 'interactivePayload'],
    ...['nativeFlow', 'isDynamicReplyButtonsMsg', 'dynamicReplyButtons', 'replyButtons', 'buttons', 'hydratedButtons'],
    ...['nativeFlowResponseMessage', 'interactiveResponseMessage'],
  ];
  const idOf = (id: any): Record<string, unknown> => ({
    fromMe: id?.fromMe === true,
    remote: core.serialized(id?.remote),
    id: id?.id,
    ...(id?.participant ? { participant: core.serialized(id.participant) } : {}),
    _serialized: core.serialized(id),
  });
  const bareModel = (msg: any): Record<string, unknown> => {
    const model: Record<string, unknown> = { id: idOf(msg?.id) };
    for (const name of fields) {
      try {
        const value = msg[name];
        const isId = typeof value === 'object' && value !== null && typeof value.server === 'string';
        const isKey = name === 'protocolMessageKey' && typeof value === 'object' && value !== null;
        model[name] = isKey ? idOf(value) : isId ? core.serialized(value) : value;
      } catch {
        // A field that cannot be read. The others can.
      }
    }
    return core.plain(model) as Record<string, unknown>;
  };
  core.calls['bareModel'] = bareModel;

  const told = (what: string, error: any): void =>
    core.notify('unreadable', { what, detail: String(error?.name ?? 'Error').slice(0, 100) });

  core.injected('models', 'getMessageModel', (original: any) => (msg: any) => {
    try {
      return original(msg);
    } catch (error) {
      told('message', error);
      return bareModel(msg);
    }
  });

  const rowMs = 5_000;
  const atMost = (work: unknown): Promise<unknown> =>
    Promise.race([work, new Promise((_resolve, reject) => setTimeout(() => reject(new Error('Too late.')), rowMs))]);

  /**
   * The library's function tells us of all rows at once and calls WhatsApp's own by itself, unless one row throws. Here each row is told
   * alone, in order, and WhatsApp's own is called with all of them whatever becomes of that.
   */
  core.injected('models', 'injectToFunction', (original: any) => (target: any, callback: any) => {
    if (!/bulkUpsert$/.test(target?.function ?? '')) return original(target, callback);
    let tail: Promise<unknown> = Promise.resolve();
    return original(target, (module: any, own: any, ...args: any[]) => {
      const [rows, ...rest] = args;
      for (const row of Array.isArray(rows) ? rows : [])
        tail = tail
          .then(() => atMost(callback(module, () => undefined, [row], ...rest)))
          .catch((error: unknown) => told(target.module, error));
      return own.apply(module, args);
    });
  });
}
