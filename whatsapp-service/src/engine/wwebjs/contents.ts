import type { ObservedContent } from '@chasqui/shared';
import { firstTwo, idsOf, idText, list, number, record, shortText, text, words, maxText, type RawMessage } from './raw.js';
import { isoOf, millisecondsOf } from './time.js';
import { readCard } from './vcard.js';

/**
 * Converts a message of the page to content, with one row for each type of the contract. A type of WhatsApp without a row becomes `unknown`, with
 * WhatsApp's name for it.
 * Field names: whatsapp-web.js 1.34.7 (`src/structures`, `src/util/Constants.js`) and the message models of WhatsApp Web that it reads.
 */

const maxCards = 20;
const maxTitle = 1_024;
type Of<T extends ObservedContent['type']> = Extract<ObservedContent, { type: T }>;

function mediaOf(raw: RawMessage): Of<'audio'>['media'] {
  return {
    id: null,
    mimetype: firstTwo(text(raw['mimetype'], 256) ?? '', ';')[0].trim() || 'application/octet-stream',
    size: number(raw['size']),
    filename: text(raw['filename'], maxTitle),
    sha256: hexOf(raw['filehash']),
    width: number(raw['width']),
    height: number(raw['height']),
    seconds: number(raw['duration']),
  };
}

/** Converts a SHA-256, which WhatsApp writes in base64, to hex. Null: it is not one. */
function hexOf(base64: unknown): string | null {
  const bytes = Buffer.from(shortText(base64) ?? '', 'base64');
  return bytes.length === 32 ? bytes.toString('hex') : null;
}

const hasFile = (raw: RawMessage): boolean => text(raw['directPath'], 8) !== null && text(raw['mimetype'], 8) !== null;
const withCaption = (raw: RawMessage) => ({ media: mediaOf(raw), caption: text(raw['caption']) });
const viewOnce = (raw: RawMessage) => (raw['isViewOnce'] === true ? { viewOnce: true } : {});
const video = (raw: RawMessage): Of<'video'> => ({
  type: 'video',
  ...withCaption(raw),
  ...(raw['isGif'] === true ? { gif: true } : {}),
  ...viewOnce(raw),
});

function location(raw: RawMessage): Of<'location'> {
  const [name, address] = firstTwo(text(raw['loc']) ?? '', '\n');
  const comment = words(raw['comment']);
  const isLive = raw['isLive'] === true || raw['type'] === 'live_location';
  return {
    type: 'location',
    latitude: coordinate(raw['lat'], 90),
    longitude: coordinate(raw['lng'], 180),
    name: name || null,
    address: address || null,
    ...(isLive ? { live: true } : {}),
    ...(comment === null ? {} : { comment }),
  };
}
/** A coordinate within its valid range, or null. */
function coordinate(value: unknown, limit: number): number | null {
  const found = number(value);
  return found !== null && Math.abs(found) <= limit ? found : null;
}

function card(vcard: string, name: string | null): Of<'contact'>['contacts'][number] {
  const found = readCard(vcard);
  return { name: name || (found.name ?? ''), phone: found.phone, vcard };
}
function cards(raw: RawMessage): Of<'contact'> | Of<'unknown'> {
  const contacts = list(raw['vcardList'], maxCards).map((item) =>
    card(text(record(item)['vcard'], maxText / 4) ?? '', text(record(item)['displayName'], 256)),
  );
  return contacts.length > 0 ? { type: 'contact', contacts } : unknown(raw);
}

/** A reply to buttons, a list or a template: the text and the id of the chosen option. */
function chosen(raw: RawMessage, id: unknown, title: unknown): Of<'text'> {
  const label = words(raw['body'], maxTitle) ?? text(title, maxTitle);
  return { type: 'text', message: label ?? '', selectedOption: { id: text(id, maxTitle), title: label } };
}
/** A reply to a native flow has its id in JSON: `paramsJson` of `nativeFlowResponseMessage`. */
function flowAnswer(raw: RawMessage): Of<'text'> {
  const answer = record(
    raw['nativeFlowResponseMessage'] ?? record(raw['interactiveResponseMessage'])['nativeFlowResponseMessage'],
  );
  const params = parsed(answer['paramsJson']);
  return chosen(raw, params['id'] ?? answer['name'], params['title'] ?? record(raw['body'])['text']);
}
function parsed(json: unknown): Record<string, unknown> {
  try {
    return record(JSON.parse(text(json, maxText) ?? '{}'));
  } catch {
    return {}; // The sender did not write valid JSON.
  }
}

interface Offered {
  id: string | null;
  title: string | null;
  description: string | null;
}
const offered = (id: unknown, title: unknown, description: unknown = null): Offered => ({
  id: text(id, maxTitle),
  title: text(title, maxTitle),
  description: text(description, maxTitle),
});
/** Buttons, in every format that WhatsApp has used. */
function buttonsOf(raw: RawMessage): Offered[] {
  const native = record(raw['interactivePayload'])['buttons'] ?? record(raw['nativeFlow'])['buttons'];
  return [
    ...[...list(raw['dynamicReplyButtons'], 100), ...list(raw['replyButtons'], 100), ...list(raw['buttons'], 100)].map((one) => {
      const { buttonId, id, buttonText, displayText } = record(one);
      return offered(buttonId ?? id, record(buttonText)['displayText'] ?? displayText ?? buttonText);
    }),
    ...list(raw['hydratedButtons'], 100).map((one) => {
      const { quickReplyButton, urlButton, callButton } = record(one);
      const button = record(quickReplyButton ?? urlButton ?? callButton);
      return offered(button['id'], button['displayText'], button['url'] ?? button['phoneNumber']);
    }),
    ...list(native, 100).map((one) => {
      const params = parsed(record(one)['buttonParamsJson']);
      return offered(params['id'] ?? record(one)['name'], params['display_text'], params['url']);
    }),
  ];
}
const offer = <T extends 'buttons' | 'template'>(type: T, raw: RawMessage) => ({
  type,
  message: words(raw['body']) ?? words(raw['caption']),
  title: words(raw['title'], maxTitle),
  footer: words(raw['footer'], maxTitle),
  options: buttonsOf(raw),
});
function listOffer(raw: RawMessage): Of<'list'> {
  const offer = record(raw['list']);
  const rows = list(offer['sections'], 100).flatMap((section) => list(record(section)['rows'], 100));
  return {
    type: 'list',
    message: words(offer['description']) ?? words(raw['body']),
    title: words(offer['title'], maxTitle),
    footer: words(offer['footerText'], maxTitle) ?? words(raw['footer'], maxTitle),
    buttonText: words(offer['buttonText'], maxTitle),
    options: rows.slice(0, 100).map((row) => offered(record(row)['rowId'], record(row)['title'], record(row)['description'])),
  };
}

const timeOf = (value: unknown): string | null => (millisecondsOf(value) === null ? null : isoOf(value));
function calendarEvent(raw: RawMessage): Of<'calendar_event'> {
  const place = record(raw['eventLocation']);
  return {
    type: 'calendar_event',
    name: text(raw['eventName'], maxTitle) ?? words(raw['title'], maxTitle) ?? '',
    description: words(raw['eventDescription']),
    startsAt: timeOf(raw['eventStartTime'] ?? raw['scheduledTimestampMs']),
    endsAt: timeOf(raw['eventEndTime']),
    location: words(place['name'], maxTitle) ?? words(place['address'], maxTitle),
    joinUrl: text(raw['eventJoinLink'], 2_048),
    isCancelled: raw['isEventCanceled'] === true,
  };
}

const isMultiple = (maxChoices: number | null): boolean => maxChoices !== null && maxChoices !== 1;

/** WhatsApp writes prices in thousandths. */
const price = (amount1000: unknown, currency: unknown) => {
  const amount = number(amount1000);
  return { amount: amount === null ? null : amount / 1_000, currency: text(currency, 8) };
};
const product = (raw: RawMessage): Of<'product'> => ({
  type: 'product',
  productId: numbered(raw['productId']),
  title: words(raw['title'], maxTitle),
  description: words(raw['description']),
  message: words(raw['caption']) ?? words(raw['body']),
  ...price(raw['priceAmount1000'], raw['currencyCode']),
  url: text(raw['url'], 2_048),
  sellerId: idText(raw['businessOwnerJid']),
});
const order = (raw: RawMessage): Of<'order'> => ({
  type: 'order',
  orderId: numbered(raw['orderId']),
  title: words(raw['orderTitle'], maxTitle),
  message: words(raw['message']) ?? words(raw['caption']),
  itemCount: number(raw['itemCount']),
  ...price(raw['totalAmount1000'], raw['totalCurrencyCode']),
  sellerId: idText(raw['sellerJid']),
});
const numbered = (value: unknown): string | null => (typeof value === 'number' ? String(value) : text(value, 256));
const payment = (raw: RawMessage): Of<'payment'> => {
  const note = record(raw['paymentNoteMsg']);
  return {
    type: 'payment',
    message: words(note['body']) ?? words(raw['paymentNote']) ?? words(raw['body']),
    ...price(raw['paymentAmount1000'], raw['paymentCurrency']),
    status: numbered(raw['paymentTxnStatus'] ?? raw['paymentStatus']),
    recipientId: idText(raw['paymentMessageReceiverJid']),
  };
};

/** A notice that WhatsApp itself adds to a chat; no person sent it. */
const notice = (raw: RawMessage): Of<'notice'> => ({
  type: 'notice',
  whatsappType: text(raw['type'], 64) ?? 'unknown',
  subtype: text(raw['subtype'], 64),
  message: words(raw['body']),
  participants: idsOf(raw['recipients']),
});
/** A message that is not decrypted, or not yet: only its sender and time are known. WhatsApp sends view-once content only to the phone. */
const undecrypted = (raw: RawMessage): Of<'unknown'> => ({
  type: 'unknown',
  whatsappType: text(raw['type'], 64) ?? 'ciphertext',
  message: null,
  placeholder: raw['isViewOnce'] === true || text(raw['subtype'], 64)?.startsWith('view_once') ? 'view_once' : 'undecrypted',
});

const unknown = (raw: RawMessage): Of<'unknown'> => ({
  type: 'unknown',
  whatsappType: text(raw['type'], 64) || 'unknown',
  message: hasFile(raw) ? words(raw['caption']) : (words(raw['body']) ?? words(raw['caption'])),
  ...(hasFile(raw) ? { media: mediaOf(raw) } : {}),
});

/**
 * How each type of message is read, by WhatsApp's own names for it. A type of the contract without a row does not compile. A reader may return
 * `unknown` for a message without usable content.
 */
const incoming: {
  readonly [T in ObservedContent['type']]: Readonly<Record<string, (raw: RawMessage) => Of<T> | Of<'unknown'>>>;
} = {
  text: {
    chat: (raw) => ({ type: 'text', message: text(raw['body']) ?? '' }),
    buttons_response: (raw) => chosen(raw, raw['selectedButtonId'], raw['selectedDisplayText']),
    template_button_reply: (raw) => chosen(raw, raw['selectedId'], raw['selectedDisplayText']),
    list_response: (raw) => {
      const answer = record(raw['listResponse']);
      return chosen(raw, record(answer['singleSelectReply'])['selectedRowId'], answer['title']);
    },
    interactive_response: flowAnswer,
    native_flow_response: flowAnswer,
  },
  image: { image: (raw) => ({ type: 'image', ...withCaption(raw), ...viewOnce(raw) }) },
  video: { video, ptv: (raw) => ({ ...video(raw), videoNote: true }) },
  audio: { audio: (raw) => ({ type: 'audio', media: mediaOf(raw), ...viewOnce(raw) }) },
  voice: { ptt: (raw) => ({ type: 'voice', media: mediaOf(raw), ...viewOnce(raw) }) },
  document: { document: (raw) => ({ type: 'document', ...withCaption(raw) }) },
  sticker: { sticker: (raw) => ({ type: 'sticker', media: mediaOf(raw) }) },
  location: { location, live_location: location },
  contact: {
    vcard: (raw) => ({ type: 'contact', contacts: [card(text(raw['body']) ?? '', text(raw['vcardFormattedName'], 256))] }),
    multi_vcard: cards,
  },
  poll: {
    poll_creation: (raw) => ({
      type: 'poll',
      question: text(raw['pollName']) ?? '',
      options: list(raw['pollOptions'], 100).flatMap((option) => text(record(option)['name'], maxTitle) ?? []),
      // 0: any number of choices; otherwise the maximum number.
      multiple: isMultiple(number(raw['pollSelectableOptionsCount'])),
    }),
  },
  calendar_event: { event_creation: calendarEvent, scheduled_event_creation: calendarEvent },
  list: { list: listOffer },
  buttons: {
    buttons: (raw) => offer('buttons', raw),
    interactive: (raw) => offer('buttons', raw),
    native_flow: (raw) => offer('buttons', raw),
  },
  template: { hsm: (raw) => offer('template', raw), template: (raw) => offer('template', raw) },
  product: { product },
  order: { order },
  payment: { payment },
  album: {
    album: (raw) => ({ type: 'album', images: number(raw['expectedImageCount']), videos: number(raw['expectedVideoCount']) }),
  },
  group_invite: {
    groups_v4_invite: (raw) => ({
      type: 'group_invite',
      groupId: idText(raw['inviteGrp']) ?? '',
      groupName: text(raw['inviteGrpName']),
      message: words(raw['comment']) ?? words(raw['caption']),
    }),
  },
  notice: {
    e2e_notification: notice,
    notification: notice,
    notification_template: notice,
    group_notification: notice,
    gp2: notice,
    protocol: notice,
    debug: notice,
    broadcast_notification: notice,
    call_log: notice,
    pinned_message: notice,
  },
  unknown: { ciphertext: undecrypted },
};
const readers = new Map(
  Object.values(incoming).flatMap((names): [string, (raw: RawMessage) => ObservedContent][] => Object.entries(names)),
);

/** Returns the content of a message of the page. */
export function contentOf(raw: RawMessage): ObservedContent {
  if (isOnlyOnPhone(raw)) return undecrypted(raw);
  return (readers.get(whatsappTypeOf(raw)) ?? unknown)(raw);
}

/** WhatsApp's name for the type. A text with dynamic buttons counts as a message with buttons. */
function whatsappTypeOf(raw: RawMessage): string {
  const type = text(raw['type'], 64) ?? 'unknown';
  return type === 'chat' && raw['isDynamicReplyButtonsMsg'] === true ? 'buttons' : type;
}

/** Whether this is a placeholder for content that only the phone receives: by its subtype, or view-once media without a file. */
function isOnlyOnPhone(raw: RawMessage): boolean {
  const isMedia = ['image', 'video', 'audio', 'ptt', 'ptv'].includes(String(raw['type']));
  const isEmpty = isMedia && raw['isViewOnce'] === true && !hasFile(raw);
  return isEmpty || text(raw['subtype'], 64)?.endsWith('_unavailable_fanout') === true;
}
