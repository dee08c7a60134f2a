import React from 'react';
import Field from '../parts/Field.js';

/** Sets of permissions that most programs need. The API can set them one by one. */
export const permissionSets: Record<string, { label: string; permissions: string[] }> = {
  send: { label: 'Send messages', permissions: ['messages.send', 'instance.info'] },
  both: {
    label: 'Send and receive',
    permissions: ['messages.send', 'messages.receive', 'instance.info', 'events.read', 'contacts.check'],
  },
  read: {
    label: 'Read only',
    permissions: [
      'messages.receive',
      'instance.info',
      'instance.stats',
      'events.read',
      'chats.read',
      'contacts.read',
      'groups.read',
    ],
  },
  all: { label: 'Everything', permissions: ['*'] },
};

/** The choice of a key's permissions. */
const PermissionChoice: React.FC<{ value: string; onChange: (set: string) => void }> = ({ value, onChange }) => (
  <Field
    label="Permissions"
    name="permissions"
    hint={permissionSets[value]?.permissions.join(', ').replace('*', 'every permission')}
  >
    <select value={value} onChange={(event) => onChange(event.target.value)}>
      {Object.entries(permissionSets).map(([name, { label }]) => (
        <option key={name} value={name}>
          {label}
        </option>
      ))}
    </select>
  </Field>
);
export default PermissionChoice;
