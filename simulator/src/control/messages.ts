import { z } from 'zod';
import { phoneId } from '../accounts.js';
import { newKey } from '../messages.js';
import { Refusal } from '../refusal.js';
import type { World } from '../world.js';
import { nothing, operation, phone } from './operation.js';
import { accountIn } from './phones.js';

/** Our short names → WhatsApp's types. */
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
  /** What the message says of its file's size, where that is not true. */
  size: z.number().optional(),
  /** In place of `base64`: a file of so many zeros, made while it is downloaded. The server announces its size, or does not. */
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
  forwarded: z.boolean().optional(),
  viewOnce: z.boolean().optional(),
  /** WhatsApp's own type and fields, for what has no short form. */
  raw: z.object({ type: z.string(), data: z.record(z.string(), z.unknown()) }).optional(),
  /** The sender hides the number. */
  asLid: z.boolean().optional(),
  /** The page gets it as ciphertext first, and either can ask for it again or not. */
  sealed: z.enum(['recoverable', 'lost']).optional(),
  /** Seconds, for messages of earlier days. */
  t: z.number().optional(),
  key: z.string().optional(),
});
export type Delivery = z.input<typeof delivery>;

const nameIn = (vcard: string): string => /^FN:(.*)$/m.exec(vcard)?.[1]?.trim() ?? 'Contact';

/** What phones write, and what they do to messages. */
export function messageOperations({ world }: { world: World }) {
  const account = accountIn(world);

  function contentOf(d: z.output<typeof delivery>): { type: string; data: Record<string, unknown> } {
    if (d.type === 'raw') {
      if (!d.raw) throw new Refusal(400, 'A raw message needs `raw`.');
      return d.raw;
    }
    const bytes = d.base64 === undefined ? null : Buffer.from(d.base64, 'base64');
    const file = d.made ? world.media.make(d.made.size, d.made.announced) : bytes ? world.media.put(bytes) : null;
    const data: Record<string, unknown> = {
      body: d.type === 'contact' ? d.vcard : d.text,
      caption: d.caption,
      mimetype: d.mimetype,
      filename: d.filename,
      size: d.size ?? d.made?.size ?? bytes?.length,
      ...(file
        ? { directPath: file.directPath, filehash: file.filehash, encFilehash: file.filehash, mediaKey: 'simulated' }
        : {}),
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
      ...quoted(d),
    };
    return { type: whatsappTypes[d.type], data: JSON.parse(JSON.stringify(data)) as Record<string, unknown> };
  }

  function quoted(d: z.output<typeof delivery>): Record<string, unknown> {
    if (d.quotedKey === undefined) return {};
    const message = account(d.from).history.get(d.quotedKey);
    if (!message) throw new Refusal(404, `${d.from} has no message ${d.quotedKey} to quote.`);
    return {
      quotedStanzaID: d.quotedKey,
      quotedParticipant: { $wid: message.author ?? message.from },
      quotedMsg: { type: message.type, body: message.data['body'], caption: message.data['caption'] },
    };
  }

  const target = (to: string): string => (to.includes('@') ? to : phoneId(world.phones.create({ phone: to.replace(/\D/g, '') })));
  const addon = (kind: string, d: { phone: string; key: string }, value: unknown): void =>
    world.addon(account(d.phone), { kind, key: d.key, value });
  const onMessage = { phone, key: z.string() };

  return {
    deliver: operation('A phone writes: any type, to a number or a group', delivery, (d) => {
      const { asLid, sealed, t, key } = d;
      return { key: world.messages.fromPhone(account(d.from), target(d.to), { ...contentOf(d), asLid, sealed, t, key }) };
    }),
    madeFiles: operation('Files made while they are downloaded, with the bytes that were sent so far', nothing, () => [
      ...world.media.made.values(),
    ]),
    received: operation('What the phone got, in order', z.object({ phone }), (d) => account(d.phone).received),
    typingSeen: operation('Typing that the phone saw', z.object({ phone }), (d) => account(d.phone).typing),
    history: operation(
      'The messages of a phone, or of one chat; the last ones with a limit',
      z.object({ phone, chat: z.string().optional(), limit: z.number().int().positive().optional() }),
      (d) => {
        const all = d.chat === undefined ? [...account(d.phone).history.values()] : (account(d.phone).byChat.get(d.chat) ?? []);
        return all.slice(-(d.limit ?? all.length));
      },
    ),
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
    react: operation('A reaction; an empty one takes it back', z.object({ ...onMessage, emoji: z.string() }), (d) =>
      addon('reaction', d, d.emoji),
    ),
    edit: operation('Edit an own message', z.object({ ...onMessage, text: z.string() }), (d) => addon('edit', d, d.text)),
    revoke: operation(
      'Delete for everyone; with `ownKey` pages show the deletion as a message of another key, which names the deleted one',
      z.object({ ...onMessage, ownKey: z.boolean().default(false) }),
      (d) => addon('revoke', d, d.ownKey ? newKey('3A') : null),
    ),
    decipher: operation('The page gets the content of a message that came as ciphertext', z.object(onMessage), (d) =>
      world.messages.resend(account(d.phone), [d.key]),
    ),
    vote: operation('Vote in a poll, by the options’ names', z.object({ ...onMessage, options: z.array(z.string()) }), (d) =>
      addon('vote', d, d.options),
    ),
    pin: operation('Pin in the chat for a time; 0 unpins', z.object({ ...onMessage, seconds: z.number() }), (d) =>
      addon('pin', d, d.seconds),
    ),
    typing: operation(
      'The phone types to a linked account; the library has no event for it',
      z.object({ from: phone, to: phone, state: z.enum(['composing', 'recording', 'paused']) }),
      (d) => void account(d.to).typing.push({ from: phoneId(account(d.from)), state: d.state }),
    ),
    journal: operation(
      'Messages that WhatsApp’s server was handed, after the n-th',
      z.object({ since: z.number().default(0) }),
      (d) => world.journal.since(d.since),
    ),
  };
}
