/** The permissions, each with what it allows besides reading the events that need it. `docs/reference/permissions.md` is generated from it. */
export const permissionCatalogue = {
  'messages.send': 'Send messages; retry, cancel and settle them.',
  'messages.receive': 'Read messages, their timelines and their files.',
  'messages.manage':
    'Edit, delete, react to, star, pin and vote on messages; mark them as seen; start a scan for missed messages.',
  'instance.info': 'Read sessions, their status and what they can do.',
  'instance.stats': 'Read statistics, and what is left of the quotas.',
  'session.control': 'Start, link, stop, restart and log out sessions; read QR and pairing codes.',
  'sessions.manage': 'Create, change and delete sessions.',
  'contacts.check': 'Check which numbers are registered on WhatsApp.',
  'contacts.read': 'Read contacts and their changes.',
  'contacts.manage': 'Save, delete, block and unblock contacts.',
  'chats.read': 'Read chats, their messages and their changes.',
  'chats.manage': 'Archive, pin, mute, clear and delete chats; mark them as read or unread; ask the phone for their history.',
  'labels.read': 'Read the labels of a business account.',
  'labels.manage': 'Create, change, delete and assign labels.',
  'presence.manage': 'Show the account as available or typing; follow the presence of others.',
  'groups.read': 'Read groups, their members, and their changes.',
  'groups.manage': 'Create, join, change and leave groups; manage their members.',
  'channels.read': 'Read channels and their posts.',
  'channels.manage': 'Create, change, delete, follow and mute channels.',
  'profile.read': 'Read the profile of the linked WhatsApp account.',
  'profile.manage': 'Change the name, the about text and the picture of the linked WhatsApp account.',
  'stories.read': 'Read stories.',
  'stories.manage': 'Post and revoke stories.',
  'calls.manage': 'Reject calls and create call links.',
  'templates.read': 'Read templates and show what they become.',
  'templates.manage': 'Create, change and delete templates.',
  'optouts.read': 'Read who opted out, the keywords, and the events of both.',
  'optouts.manage': 'Add and remove opt-outs; change the keywords.',
  'webhook.configure': 'Create, read, change and delete webhooks; read and repeat their deliveries.',
  'webhook.test': 'Send a test event to a webhook.',
  'events.read': 'Read the event log, streams and WebSockets. Each event also needs the permission of its type.',
  'keys.manage': 'Create, change, rotate and delete API keys.',
  'privacy.manage': 'Export and erase the data of a person.',
  'audit.read': 'Read the audit log of the account.',
} as const satisfies Record<string, string>;

export type Permission = keyof typeof permissionCatalogue;

/** Permissions deny by default; `*` grants all of them, `chats.*` a whole group. */
export const permissions = Object.keys(permissionCatalogue) as Permission[];

export const isPermission = (name: string): name is Permission => Object.hasOwn(permissionCatalogue, name);
/** The names that grant all permissions of a group, such as `chats.*`. */
export const permissionGroups: ReadonlySet<string> = new Set(permissions.map((name) => `${name.slice(0, name.indexOf('.'))}.*`));

/** Whether the grants of a credential (names, `group.*`, `*`) include a permission. */
export function allows(grants: readonly string[], permission: Permission): boolean {
  const group = `${permission.slice(0, permission.indexOf('.'))}.*`;
  return grants.some((grant) => grant === '*' || grant === permission || grant === group);
}
