/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/**
 * Wraps the library's listeners in the page. The library converts each message to a plain object before it emits the message, and reads lists
 * of reactions and votes as a whole: without this, an item that throws would be lost, together with the other items of its list.
 */
function installModels(): void {
  const core = (window as unknown as PageWindow).chasqui;
  if (!core || core.calls['bareModel']) return;
  const fields = messageFields();
  core.calls['bareModel'] = (msg) => bareModel(core, fields, msg);
  core.injected('models', 'getMessageModel', (original: any) => (msg: any) => {
    try {
      return original(msg);
    } catch (error) {
      reportUnreadable(core, 'message', error);
      return bareModel(core, fields, msg);
    }
  });
  core.injected('models', 'injectToFunction', (original: any) => processRowsAlone(core, original));
}

/** Every field of a message that the worker reads. */
function messageFields(): string[] {
  return [
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
}

/** A message without the library's own conversion: its id and the known fields that can be read. */
function bareModel(core: PageCore, fields: readonly string[], msg: any): Record<string, unknown> {
  const model: Record<string, unknown> = { id: keyModel(core, msg?.id) };
  for (const name of fields) {
    try {
      const value = msg[name];
      const isId = typeof value === 'object' && value !== null && typeof value.server === 'string';
      const isKey = name === 'protocolMessageKey' && typeof value === 'object' && value !== null;
      model[name] = isKey ? keyModel(core, value) : isId ? core.serialized(value) : value;
    } catch {
      // This field cannot be read; the others are copied.
    }
  }
  return core.plain(model) as Record<string, unknown>;
}

function keyModel(core: PageCore, id: any): Record<string, unknown> {
  return {
    fromMe: id?.fromMe === true,
    remote: core.serialized(id?.remote),
    id: id?.id,
    ...(id?.participant ? { participant: core.serialized(id.participant) } : {}),
    _serialized: core.serialized(id),
  };
}

function reportUnreadable(core: PageCore, what: string, error: any): void {
  core.notify('unreadable', { what, detail: String(error?.name ?? 'Error').slice(0, 100) });
}

/**
 * The library's function processes all rows at once and then calls WhatsApp's own function, unless one row throws. Here each row is
 * processed alone, in order, and WhatsApp's own function is always called with all rows.
 */
function processRowsAlone(core: PageCore, original: any) {
  return (target: any, callback: any) => {
    if (!/bulkUpsert$/.test(target?.function ?? '')) return original(target, callback);
    let tail: Promise<unknown> = Promise.resolve();
    return original(target, (module: any, own: any, ...args: any[]) => {
      const [rows, ...rest] = args;
      for (const row of Array.isArray(rows) ? rows : [])
        tail = tail
          .then(() => withDeadline(callback(module, () => undefined, [row], ...rest)))
          .catch((error: unknown) => reportUnreadable(core, target.module, error));
      return own.apply(module, args);
    });
  };
}

/** The deadline for one row is five seconds. */
function withDeadline(work: unknown): Promise<unknown> {
  return Promise.race([
    work,
    new Promise((_resolve, reject) => setTimeout(() => reject(new Error('The row was not processed in time.')), 5_000)),
  ]);
}

export const modelsScript = pageScript(installModels, [
  messageFields,
  bareModel,
  keyModel,
  reportUnreadable,
  processRowsAlone,
  withDeadline,
]);
