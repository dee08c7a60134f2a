import { z } from 'zod';

/** What a message can contain, in and out: one union on `type`. WhatsApp's own types are mapped onto it in one table of the engine. */

/** A file that belongs to a message. `id` is ours and null until the file is stored. Sizes in bytes, `seconds` of sound or film. */
export const mediaRef = z.object({
  id: z.string().nullable(),
  mimetype: z.string(),
  size: z.number().int().nullable(),
  filename: z.string().nullable(),
  sha256: z.string().nullable(),
  width: z.number().nullable().optional(),
  height: z.number().nullable().optional(),
  seconds: z.number().nullable().optional(),
  url: z.string().nullable().optional(),
});
export type MediaRef = z.infer<typeof mediaRef>;

const caption = z.string().max(4096).nullable().optional();
const flags = { viewOnce: z.boolean().optional(), hd: z.boolean().optional() };

export const textContent = z.object({ type: z.literal('text'), message: z.string(), linkPreview: z.boolean().optional() });
export const imageContent = z.object({ type: z.literal('image'), media: mediaRef, caption, ...flags });
export const videoContent = z.object({
  type: z.literal('video'),
  media: mediaRef,
  caption,
  gif: z.boolean().optional(),
  ...flags,
});
export const audioContent = z.object({ type: z.literal('audio'), media: mediaRef });
export const voiceContent = z.object({ type: z.literal('voice'), media: mediaRef });
export const documentContent = z.object({ type: z.literal('document'), media: mediaRef, caption });
export const stickerContent = z.object({
  type: z.literal('sticker'),
  media: mediaRef,
  stickerName: z.string().optional(),
  stickerAuthor: z.string().optional(),
});
export const locationContent = z.object({
  type: z.literal('location'),
  latitude: z.number().min(-90).max(90),
  longitude: z.number().min(-180).max(180),
  name: z.string().max(256).nullable().optional(),
  address: z.string().max(512).nullable().optional(),
});
export const contactContent = z.object({
  type: z.literal('contact'),
  contacts: z
    .array(z.object({ name: z.string(), phone: z.string().nullable().optional(), vcard: z.string() }))
    .min(1)
    .max(20),
});
export const pollContent = z.object({
  type: z.literal('poll'),
  question: z.string(),
  options: z.array(z.string()),
  multiple: z.boolean(),
});
/** WhatsApp has it, we have no form for it: kept with its own name for the type, never dropped. */
export const unknownContent = z.object({
  type: z.literal('unknown'),
  whatsappType: z.string(),
  message: z.string().nullable().optional(),
});
export const groupInviteContent = z.object({
  type: z.literal('group_invite'),
  groupId: z.string(),
  groupName: z.string().nullable(),
  message: z.string().nullable(),
});

export const messageContent = z.discriminatedUnion('type', [
  textContent,
  imageContent,
  videoContent,
  audioContent,
  voiceContent,
  documentContent,
  stickerContent,
  locationContent,
  contactContent,
  pollContent,
  groupInviteContent,
  unknownContent,
]);
export type MessageContent = z.infer<typeof messageContent>;

export const mediaTypes = ['image', 'video', 'audio', 'voice', 'document', 'sticker'] as const;
export type MediaType = (typeof mediaTypes)[number];
export const isMediaType = (type: string): type is MediaType => (mediaTypes as readonly string[]).includes(type);
