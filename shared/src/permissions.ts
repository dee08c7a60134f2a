/** The permissions, each with what it allows besides reading the events that need it. `docs/reference/permissions.md` is generated from it. */
export const permissionCatalogue = {
  'messages.send': 'Send messages; retry, cancel and settle them.',
  'messages.receive': 'Read messages, their timelines and their files.',
  'messages.manage': 'Start a scan for missed messages.',
  'instance.info': 'Read sessions, their status and what they can do.',
  'instance.stats': 'Read what is left of the quotas.',
  'session.control': 'Start, link, stop, restart and log out sessions; read QR and pairing codes.',
  'sessions.manage': 'Create, change and delete sessions.',
  'contacts.check': 'Check which numbers are registered on WhatsApp.',
  'contacts.read': 'Read changes of contacts.',
  'chats.read': 'List chats and read their changes.',
  'groups.read': 'Read changes of groups and their members.',
  'profile.read': 'Read the profile of the linked WhatsApp account.',
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
/** `chats.*` and the like: everything of a group. */
export const permissionGroups: ReadonlySet<string> = new Set(permissions.map((name) => `${name.slice(0, name.indexOf('.'))}.*`));

/** Whether the grants of a credential (names, `group.*`, `*`) include a permission. */
export function allows(grants: readonly string[], permission: Permission): boolean {
  const group = `${permission.slice(0, permission.indexOf('.'))}.*`;
  return grants.some((grant) => grant === '*' || grant === permission || grant === group);
}
