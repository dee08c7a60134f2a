import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';

/** `docs/whatsapp-features.md` beside the feature list of the installed library. */

const library = dirname(createRequire(import.meta.url).resolve('whatsapp-web.js/package.json'));
const document = readFileSync(resolve(import.meta.dirname, '../../docs/whatsapp-features.md'), 'utf8');

/** The first cells of the rows of all tables, without the headings. */
const rowsIn = (markdown: string): string[] =>
  [...markdown.matchAll(/^\| ([^|]+)\|/gm)].map(([, cell]) => cell!.trim()).filter((cell) => !/^(feature|-+)$/i.test(cell));

/** The row of the document that covers a feature of the library. */
const rows: Record<string, string> = {
  'Multi Device': 'several devices',
  'Send messages': 'send messages',
  'Receive messages': 'receive messages',
  'Send media (images/audio/documents)': 'send pictures, sound, documents',
  'Send media (video)': 'send video',
  'Send stickers': 'send stickers',
  'Receive media (images/audio/video/documents)': 'receive files',
  'Send contact cards': 'send contact cards',
  'Send location': 'send and receive a location',
  'Receive location': 'send and receive a location',
  'Send buttons': 'send buttons, send lists',
  'Send lists': 'send buttons, send lists',
  'Message replies': 'replies',
  'Join groups by invite': 'join groups by invitation',
  'Get invite for group': 'invitation of a group',
  'Modify group info (subject, description)': "change a group's name and description",
  'Modify group settings (send messages, edit info)': "change a group's settings",
  'Add group participants': 'add, remove, promote, demote members',
  'Kick group participants': 'add, remove, promote, demote members',
  'Promote/demote group participants': 'add, remove, promote, demote members',
  'Mention users': 'mention people',
  'Mention groups': 'mention groups',
  'Mute/unmute chats': 'mute and unmute chats',
  'Block/unblock contacts': 'block and unblock contacts',
  'Get contact info': 'contact info, profile pictures',
  'Get profile pictures': 'contact info, profile pictures',
  'Set user status message': 'set the own about text',
  'React to messages': 'react to messages',
  'Create polls': 'create polls, vote in polls',
  'Vote in polls': 'create polls, vote in polls',
  Channels: 'channels',
  Communities: 'communities',
};
/** Rows about what the library's list does not name. */
const more = ['calendar events', 'link previews', 'pictures of channels and communities'];

describe('the page of features', () => {
  test('has a row for every feature in the list of the installed library, and names its version', () => {
    const { version } = JSON.parse(readFileSync(join(library, 'package.json'), 'utf8')) as { version: string };
    expect(document).toContain(`whatsapp-web.js ${version},`);
    const features = rowsIn(readFileSync(join(library, 'README.md'), 'utf8'));
    expect(features.length).toBeGreaterThan(30);
    expect(features.sort()).toEqual(Object.keys(rows).sort());
    expect(rowsIn(document).sort()).toEqual([...new Set([...Object.values(rows), ...more])].sort());
  });

  test('names what the library can do and Chasqui does not', () => {
    const [, notHere] = document.split('\n## Not here\n');
    const types = readFileSync(join(library, 'index.d.ts'), 'utf8');
    /** Functions of the library that nothing here calls, with the words of the page. */
    const unused: Record<string, string> = {
      addOrEditCustomerNote: 'Notes on customers',
      getSubscribers: 'list of followers',
      sendChannelAdminInvite: 'invitations of admins',
      transferChannelOwnership: 'transfer to another owner',
      getBroadcasts: 'broadcast lists',
      setAutoDownloadVideos: 'automatic downloads',
      setBackgroundSync: 'synchronisation in the background',
      getContactDeviceCount: "number of a contact's devices",
      getOrder: 'items of an order',
    };
    for (const [name, words] of Object.entries(unused)) {
      expect([name, types.includes(name)]).toEqual([name, true]);
      expect(notHere).toContain(words);
    }
  });
});
