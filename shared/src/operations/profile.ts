import { z } from 'zod';
import { profile as ownProfile } from '../resources.js';
import { defineOperation } from './operation.js';

export const profile = {
  'profile.get': defineOperation({
    id: 'profile.get',
    method: 'get',
    path: '/profile',
    summary: 'The linked account’s own number, name, about text and picture',
    permission: 'profile.read',
    output: ownProfile,
    effect: 'read',
  }),
  'profile.setName': defineOperation({
    id: 'profile.setName',
    examples: { 'A name': { name: 'Your shop' } },
    method: 'put',
    path: '/profile/name',
    summary: 'Change the name that others see; WhatsApp refuses it for business accounts',
    permission: 'profile.manage',
    body: { name: z.string().trim().min(1).max(25).describe('At most 25 characters, as WhatsApp allows.') },
    output: ownProfile,
    effect: 'write',
  }),
  'profile.setAbout': defineOperation({
    id: 'profile.setAbout',
    examples: { 'A text': { about: 'Open until nine' } },
    method: 'put',
    path: '/profile/about',
    summary: 'Change the about text',
    permission: 'profile.manage',
    body: { about: z.string().max(139).describe('At most 139 characters, as WhatsApp allows. Empty: none.') },
    output: ownProfile,
    effect: 'write',
  }),
  'profile.setPicture': defineOperation({
    id: 'profile.setPicture',
    examples: { 'A picture by URL': { mediaUrl: 'https://example.com/picture.jpg' } },
    method: 'put',
    path: '/profile/picture',
    summary: 'Change the picture; WhatsApp shows the square in its centre',
    permission: 'profile.manage',
    file: 'image',
    output: ownProfile,
    effect: 'write',
  }),
  'profile.deletePicture': defineOperation({
    id: 'profile.deletePicture',
    method: 'delete',
    path: '/profile/picture',
    summary: 'Remove the picture',
    permission: 'profile.manage',
    output: ownProfile,
    effect: 'write',
  }),
};
