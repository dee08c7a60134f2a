/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

/**
 * Wraps the library's listeners in the page. The library converts each message to a plain object before it emits the message, and reads lists
 * of reactions and votes as a whole: without this, an item that throws would be lost, together with the other items of its list.
 */
export function installModels(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['bareModel']) return;

  /** Every field of a message that the worker reads. */
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
        // This field cannot be read; the others are copied.
      }
    }
    return core.plain(model) as Record<string, unknown>;
  };
  core.calls['bareModel'] = bareModel;

  const reportUnreadable = (what: string, error: any): void =>
    core.notify('unreadable', { what, detail: String(error?.name ?? 'Error').slice(0, 100) });

  core.injected('models', 'getMessageModel', (original: any) => (msg: any) => {
    try {
      return original(msg);
    } catch (error) {
      reportUnreadable('message', error);
      return bareModel(msg);
    }
  });

  const rowDeadlineMs = 5_000;
  const withDeadline = (work: unknown): Promise<unknown> =>
    Promise.race([
      work,
      new Promise((_resolve, reject) => setTimeout(() => reject(new Error('The row was not processed in time.')), rowDeadlineMs)),
    ]);

  /**
   * The library's function processes all rows at once and then calls WhatsApp's own function, unless one row throws. Here each row is
   * processed alone, in order, and WhatsApp's own function is always called with all rows.
   */
  core.injected('models', 'injectToFunction', (original: any) => (target: any, callback: any) => {
    if (!/bulkUpsert$/.test(target?.function ?? '')) return original(target, callback);
    let tail: Promise<unknown> = Promise.resolve();
    return original(target, (module: any, own: any, ...args: any[]) => {
      const [rows, ...rest] = args;
      for (const row of Array.isArray(rows) ? rows : [])
        tail = tail
          .then(() => withDeadline(callback(module, () => undefined, [row], ...rest)))
          .catch((error: unknown) => reportUnreadable(target.module, error));
      return own.apply(module, args);
    });
  });
}
