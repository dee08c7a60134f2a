import { z } from 'zod';
import { phoneId } from '../accounts.js';
import { newKey } from '../messages.js';
import { Refusal } from '../refusal.js';
import type { WireMessage } from '../wire.js';
import type { World } from '../world.js';
import { accountIn, nothing, operation, phone } from './operation.js';

/** Short names → WhatsApp's types. */
const whatsappTypes = {
  text: 'chat',
  image: 'image',
  video: 'video',
  audio: 'audio',
  voice: 'ptt',
  document: 'document',
  sticker: 'sticker',
  location: 'location',
  contact: 'vcard',
  contacts: 'multi_vcard',
  poll: 'poll_creation',
  event: 'event_creation',
} as const;

const delivery = z.object({
  from: phone,
  /** A number, or the id of a group. */
  to: z.string(),
  type: z.enum([...(Object.keys(whatsappTypes) as (keyof typeof whatsappTypes)[]), 'raw']),
  text: z.string().optional(),
  caption: z.string().optional(),
  base64: z.string().optional(),
  mimetype: z.string().optional(),
  filename: z.string().optional(),
  /** The small JPEG of a picture, a video or a document, in base64, as phones send it along. */
  preview: z.string().optional(),
  /** The size that the message claims, if it is not the real one. */
  size: z.number().optional(),
  /** In place of `base64`: a file of zeros that is generated during its download. `announced`: the server announces its size. */
  made: z.object({ size: z.number().int().positive(), announced: z.boolean().default(true) }).optional(),
  latitude: z.number().optional(),
  longitude: z.number().optional(),
  vcard: z.string().optional(),
  vcards: z.array(z.string()).optional(),
  question: z.string().optional(),
  options: z.array(z.string()).optional(),
  multiple: z.boolean().optional(),
  quotedKey: z.string().optional(),
  mentions: z.array(z.string()).optional(),
  /** Groups that the text mentions as `@` and their id, with the name that phones show. */
  groupMentions: z.array(z.object({ id: z.string(), name: z.string() })).optional(),
  forwarded: z.boolean().optional(),
  viewOnce: z.boolean().optional(),
  /** WhatsApp's own type and fields, for types without a short name. */
  raw: z.object({ type: z.string(), data: z.record(z.string(), z.unknown()) }).optional(),
  /** The sender hides the number. */
  asLid: z.boolean().optional(),
  /** The page gets it as ciphertext first. `recoverable`: the page can request the content. `lost`: it cannot. */
  sealed: z.enum(['recoverable', 'lost']).optional(),
  /** Seconds. By default now. */
  t: z.number().optional(),
  key: z.string().optional(),
});
export type Delivery = z.input<typeof delivery>;

const nameIn = (vcard: string): string => /^FN:(.*)$/m.exec(vcard)?.[1]?.trim() ?? 'Contact';

/** What phones write, and what they receive. */
export function messageOperations({ world }: { world: World }) {
  const account = accountIn(world);
  return {
    deliver: operation('A phone writes a message of any type to a number or a group', delivery, (d) => {
      const { asLid, sealed, t, key } = d;
      const to = d.to.includes('@') ? d.to : phoneId(world.phones.create({ phone: d.to.replace(/\D/g, '') }));
      return { key: world.messages.fromPhone(account(d.from), to, { ...contentOf(world, d), asLid, sealed, t, key }) };
    }),
    madeFiles: operation('Files that are generated during their download, with the number of bytes sent so far', nothing, () => [
      ...world.media.made.values(),
    ]),
    received: operation('Messages that the phone received, in order', z.object({ phone }), (d) => account(d.phone).received),
    typingSeen: operation('Typing states that the phone received', z.object({ phone }), (d) => account(d.phone).typing),
    historyRequests: operation(
      'The chats whose older messages pages have asked the phone for, in order',
      z.object({ phone }),
      (d) => account(d.phone).historyRequests,
    ),
    resendRequests: operation(
      'The keys of undecrypted messages that pages have asked for again, in order',
      z.object({ phone }),
      (d) => account(d.phone).resendRequests,
    ),
    historyReads: operation(
      'The chats whose history pages have read from the server, in order',
      z.object({ phone }),
      (d) => account(d.phone).historyReads,
    ),
    history: operation(
      'The messages of a phone, or of one chat; the last ones with a limit',
      z.object({ phone, chat: z.string().optional(), limit: z.number().int().positive().optional() }),
      (d): WireMessage[] => {
        const all = d.chat === undefined ? [...account(d.phone).history.values()] : (account(d.phone).byChat.get(d.chat) ?? []);
        return all.slice(-(d.limit ?? all.length));
      },
    ),
    ...changeOperations(world),
    typing: operation(
      'The phone types to an account, or in a group; pages that follow its presence see it, and the library has no event for it',
      z.object({
        from: phone,
        to: phone,
        state: z.enum(['composing', 'recording', 'paused']),
        group: z.string().optional(),
      }),
      (d) => {
        account(d.to).typing.push({ from: phoneId(account(d.from)), state: d.state });
        const type = { composing: 'composing', recording: 'recording_audio', paused: 'available' } as const;
        world.presence.show(account(d.from), type[d.state], d.group ?? null);
      },
    ),
    presence: operation(
      'The phone becomes available or unavailable, for pages that follow its presence',
      z.object({ phone, state: z.enum(['available', 'unavailable']) }),
      (d) => world.presence.show(account(d.phone), d.state, null),
    ),
    followed: operation('Chats whose presence the pages of a phone follow', z.object({ phone }), (d) =>
      world.presence.followed(account(d.phone)),
    ),
    journal: operation(
      'Messages that reached WhatsApp’s server, after the n-th',
      z.object({ since: z.number().default(0) }),
      (d) => world.journal.since(d.since),
    ),
  };
}

/** What phones do to a message that they have. */
function changeOperations(world: World) {
  const account = accountIn(world);
  const addon = (kind: string, d: { phone: string; key: string }, value: unknown): void =>
    world.addon(account(d.phone), { kind, key: d.key, value });
  const onMessage = { phone, key: z.string() };
  return {
    ack: operation(
      'The phone acknowledges: 2 delivered, 3 read, 4 played',
      z.object({ ...onMessage, ack: z.number().min(2).max(4) }),
      (d) => {
        const by = account(d.phone);
        const senders = [...world.phones.accounts.values()].filter((one) => one !== by && one.history.get(d.key)?.fromMe);
        if (senders.length === 0) throw new Refusal(404, `No message has the key ${d.key}.`);
        for (const sender of senders) world.messages.ack(sender, d.key, d.ack, by);
      },
    ),
    react: operation(
      'React to a message; an empty emoji removes the reaction',
      z.object({ ...onMessage, emoji: z.string() }),
      (d) => addon('reaction', d, d.emoji),
    ),
    edit: operation('Edit an own message', z.object({ ...onMessage, text: z.string() }), (d) => addon('edit', d, d.text)),
    editEvent: operation(
      'Change an own calendar event',
      z.object({ ...onMessage, name: z.string().optional(), cancelled: z.boolean().optional() }),
      (d) => {
        const name = d.name === undefined ? {} : { eventName: d.name };
        addon('event', d, { ...name, ...(d.cancelled === undefined ? {} : { isEventCanceled: d.cancelled }) });
      },
    ),
    revoke: operation(
      'Delete for everyone; with `ownKey` pages show the deletion as a message of another key, which names the deleted one',
      z.object({ ...onMessage, ownKey: z.boolean().default(false) }),
      (d) => addon('revoke', d, d.ownKey ? newKey('3A') : null),
    ),
    decipher: operation('The page receives the content of a message that arrived as ciphertext', z.object(onMessage), (d) =>
      world.messages.resend(account(d.phone), [d.key]),
    ),
    vote: operation('Vote in a poll, by the options’ names', z.object({ ...onMessage, options: z.array(z.string()) }), (d) =>
      addon('vote', d, d.options),
    ),
    star: operation('Star a message, or remove the star', z.object({ ...onMessage, on: z.boolean() }), (d) =>
      addon('star', d, d.on),
    ),
    pin: operation('Pin in the chat for a time; 0 unpins', z.object({ ...onMessage, seconds: z.number() }), (d) =>
      addon('pin', d, d.seconds),
    ),
  };
}

type DeliveryInput = z.output<typeof delivery>;

/** The message with WhatsApp's own field names. Stores its file. */
function contentOf(world: World, d: DeliveryInput): { type: string; data: Record<string, unknown> } {
  if (d.type === 'raw') {
    if (!d.raw) throw new Refusal(400, 'A raw message needs `raw`.');
    return d.raw;
  }
  const data: Record<string, unknown> = {
    body: d.type === 'contact' ? d.vcard : (d.preview ?? d.text),
    caption: d.caption,
    mimetype: d.mimetype,
    filename: d.filename,
    ...fileOf(world, d),
    lat: d.latitude,
    lng: d.longitude,
    loc: d.type === 'location' ? d.text : undefined,
    vcardFormattedName: d.vcard ? nameIn(d.vcard) : undefined,
    vcardList: d.vcards?.map((vcard) => ({ vcard, displayName: nameIn(vcard) })),
    pollName: d.question,
    pollOptions: d.options?.map((name, localId) => ({ name, localId })),
    pollSelectableOptionsCount: d.type === 'poll' ? (d.multiple ? 0 : 1) : undefined,
    isForwarded: d.forwarded,
    isViewOnce: d.viewOnce,
    mentionedJidList: d.mentions?.map((id) => ({ $wid: id.includes('@') ? id : `${id}@c.us` })),
    groupMentions: d.groupMentions?.map(({ id, name }) => ({ groupJid: { $wid: id }, groupSubject: name })),
    ...quoted(world, d),
  };
  return { type: whatsappTypes[d.type], data: JSON.parse(JSON.stringify(data)) as Record<string, unknown> };
}

function fileOf({ media }: World, d: DeliveryInput): Record<string, unknown> {
  const bytes = d.base64 === undefined ? null : Buffer.from(d.base64, 'base64');
  const file = d.made ? media.make(d.made.size, d.made.announced) : bytes ? media.put(bytes) : null;
  const size = d.size ?? d.made?.size ?? bytes?.length;
  if (!file) return { size };
  return { size, directPath: file.directPath, filehash: file.filehash, encFilehash: file.filehash, mediaKey: 'simulated' };
}

function quoted(world: World, d: DeliveryInput): Record<string, unknown> {
  if (d.quotedKey === undefined) return {};
  const message = accountIn(world)(d.from).history.get(d.quotedKey);
  if (!message) throw new Refusal(404, `${d.from} has no message ${d.quotedKey} to quote.`);
  return {
    quotedStanzaID: d.quotedKey,
    quotedParticipant: { $wid: message.author ?? message.from },
    quotedMsg: { type: message.type, body: message.data['body'], caption: message.data['caption'] },
  };
}
