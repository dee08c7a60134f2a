import { z } from 'zod';
import { whole } from '../input.js';
import { defineOperation } from './operation.js';
import { seenMessage } from './seen-message.js';

export const channel = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    description: z.string().nullable(),
    role: z.enum(['owner', 'admin', 'subscriber', 'guest']),
    subscribers: z.number().int().nullable(),
    isMuted: z.boolean(),
    isVerified: z.boolean(),
    reactions: z.enum(['all', 'basic', 'none']).nullable(),
    inviteLink: z.string().nullable(),
    picture: z
      .string()
      .nullable()
      .describe(
        'The URL of the picture on WhatsApp’s server. Null: there is none, or the page does not know it; reading one channel asks for it.',
      ),
    createdAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Channel' });
export type ChannelResource = z.infer<typeof channel>;

const name = z.string().trim().min(1).max(100);
const description = z.string().max(2048);
const channelId = z
  .string()
  .max(64)
  .meta({ examples: ['120363041234567890@newsletter'] });
const read = { permission: 'channels.read', effect: 'read' } as const;
const write = { permission: 'channels.manage', effect: 'write' } as const;
const ofChannel = {
  params: { channelId },
  addresses: { channelId: 'channel' },
  errors: ['CHANNEL_NOT_FOUND', 'WHATSAPP_NOT_PERMITTED'],
} as const;

export const channels = {
  'channels.list': defineOperation({
    id: 'channels.list',
    method: 'get',
    path: '/channels',
    summary: 'The channels that the linked account owns, administers or follows',
    ...read,
    output: z.array(channel),
  }),
  'channels.create': defineOperation({
    id: 'channels.create',
    examples: {
      'A channel': { name: 'Shop news' },
      'With a picture': { name: 'Shop news', mediaUrl: 'https://example.com/picture.jpg' },
    },
    method: 'post',
    path: '/channels',
    summary: 'Create a channel; the file, if there is one, becomes its picture',
    ...write,
    body: { name, description: description.optional() },
    file: 'image',
    isFileOptional: true,
    output: channel,
    status: 201,
    errors: ['WHATSAPP_NOT_PERMITTED'],
  }),
  'channels.search': defineOperation({
    id: 'channels.search',
    method: 'get',
    path: '/channels/search',
    summary: 'Search WhatsApp’s directory of channels',
    ...read,
    query: {
      query: z.string().max(100).optional(),
      countries: z
        .string()
        .regex(/^[A-Z]{2}(,[A-Z]{2}){0,19}$/)
        .optional()
        .describe('Two-letter country codes, separated by commas. By default the country of the page.')
        .meta({ examples: ['BR,PT'] }),
      limit: whole(1, 100).default(50),
    },
    output: z.array(channel),
  }),
  'channels.get': defineOperation({
    id: 'channels.get',
    method: 'get',
    path: '/channels/:channelId',
    summary: 'A channel, by its id, its invite code or its link',
    ...read,
    params: {
      channelId: z
        .string()
        .min(1)
        .max(200)
        .meta({ examples: ['120363041234567890@newsletter'] }),
    },
    output: channel,
    errors: ['CHANNEL_NOT_FOUND'],
  }),
  'channels.update': defineOperation({
    id: 'channels.update',
    examples: { 'Another name': { name: 'Shop news of May' } },
    method: 'put',
    path: '/channels/:channelId',
    summary: 'Change the name, the description or the allowed reactions of a channel',
    ...write,
    ...ofChannel,
    body: { name: name.optional(), description: description.optional(), reactions: z.enum(['all', 'basic', 'none']).optional() },
    output: channel,
  }),
  'channels.setPicture': defineOperation({
    id: 'channels.setPicture',
    examples: { 'A picture by URL': { mediaUrl: 'https://example.com/picture.jpg' } },
    method: 'put',
    path: '/channels/:channelId/picture',
    summary: 'Change the picture of a channel',
    ...write,
    ...ofChannel,
    file: 'image',
    output: channel,
  }),
  'channels.deletePicture': defineOperation({
    id: 'channels.deletePicture',
    method: 'delete',
    path: '/channels/:channelId/picture',
    summary: 'Remove the picture of a channel',
    ...write,
    ...ofChannel,
    output: channel,
  }),
  'channels.delete': defineOperation({
    id: 'channels.delete',
    method: 'delete',
    path: '/channels/:channelId',
    summary: 'Delete a channel for all of its followers',
    ...write,
    ...ofChannel,
    output: z.object({ id: z.string(), deleted: z.literal(true) }),
  }),
  'channels.follow': defineOperation({
    id: 'channels.follow',
    method: 'put',
    path: '/channels/:channelId/follow',
    summary: 'Follow a channel',
    ...write,
    ...ofChannel,
    output: channel,
  }),
  'channels.unfollow': defineOperation({
    id: 'channels.unfollow',
    method: 'delete',
    path: '/channels/:channelId/follow',
    summary: 'Stop following a channel',
    ...write,
    ...ofChannel,
    output: channel,
  }),
  'channels.mute': defineOperation({
    id: 'channels.mute',
    method: 'put',
    path: '/channels/:channelId/mute',
    summary: 'Mute a channel',
    ...write,
    ...ofChannel,
    output: channel,
  }),
  'channels.unmute': defineOperation({
    id: 'channels.unmute',
    method: 'delete',
    path: '/channels/:channelId/mute',
    summary: 'Unmute a channel',
    ...write,
    ...ofChannel,
    output: channel,
  }),
  'channels.demoteAdmin': defineOperation({
    id: 'channels.demoteAdmin',
    method: 'delete',
    path: '/channels/:channelId/admins/:contactId',
    summary: 'Make an admin of a channel a follower again',
    ...write,
    ...ofChannel,
    params: {
      channelId,
      contactId: z
        .string()
        .max(80)
        .meta({ examples: ['5511999990001'] }),
    },
    addresses: { channelId: 'channel', contactId: 'person' },
    output: z.object({ demoted: z.literal(true) }),
    errors: ['CHANNEL_NOT_FOUND', 'CONTACT_NOT_FOUND', 'WHATSAPP_NOT_PERMITTED'],
  }),
  'channels.messages': defineOperation({
    id: 'channels.messages',
    method: 'get',
    path: '/channels/:channelId/messages',
    summary: 'The newest posts of a channel, newest first',
    ...read,
    params: { channelId },
    addresses: { channelId: 'channel' },
    query: { limit: whole(1, 200).default(50) },
    output: z.array(seenMessage),
    errors: ['CHANNEL_NOT_FOUND'],
  }),
};
