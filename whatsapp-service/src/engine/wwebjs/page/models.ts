/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/**
 * Wraps the library's conversion of a message to a plain object. The library converts a message before it emits an event, so without this a
 * message for which the conversion throws would be lost.
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
}

/** Every field of a message that the worker reads. */
function messageFields(): string[] {
  return [
    ...[
      'type',
      'subtype',
      'body',
      'caption',
      't',
      'from',
      'to',
      'author',
      'ack',
      'isNewMsg',
      'notifyName',
      'isForwarded',
      'star',
    ],
    ...['directPath', 'mimetype', 'size', 'filename', 'filehash', 'width', 'height', 'duration', 'isGif', 'isViewOnce'],
    ...[
      'quotedStanzaID',
      'mentionedJidList',
      'groupMentions',
      'lat',
      'lng',
      'loc',
      'vcardFormattedName',
      'vcardList',
      'latestEditMsgKey',
    ],
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

/** Converts a message without the library: its id and the known fields that can be read. */
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

export const modelsScript = pageScript(installModels, [messageFields, bareModel, keyModel, reportUnreadable]);
