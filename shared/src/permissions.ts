/** Permissions deny by default; `*` grants all of them, `chats.*` a whole group. */
export const permissions = [
  'messages.send',
  'messages.receive',
  'messages.manage',
  'instance.info',
  'instance.stats',
  'session.control',
  'sessions.manage',
  'contacts.check',
  'contacts.read',
  'chats.read',
  'groups.read',
  'profile.read',
  'webhook.configure',
  'webhook.test',
  'events.read',
  'keys.manage',
  'privacy.manage',
  'audit.read',
] as const;

export type Permission = (typeof permissions)[number];

export const isPermission = (name: string): name is Permission => (permissions as readonly string[]).includes(name);
/** `chats.*` and the like: everything of a group. */
export const permissionGroups: ReadonlySet<string> = new Set(permissions.map((name) => `${name.slice(0, name.indexOf('.'))}.*`));

/** Whether the grants of a credential (names, `group.*`, `*`) include a permission. */
export function allows(grants: readonly string[], permission: Permission): boolean {
  const group = `${permission.slice(0, permission.indexOf('.'))}.*`;
  return grants.some((grant) => grant === '*' || grant === permission || grant === group);
}
