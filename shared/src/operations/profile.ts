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
};
