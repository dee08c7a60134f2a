import React from 'react';
import { usePoll } from '../api.js';
import FamilyPicker from '../parts/FamilyPicker.js';
import Field from '../parts/Field.js';

/** Sets of permissions that most programs need. */
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
const single = 'single';

interface PermissionChoiceProps {
  /** The name of a set, or `single`. */
  set: string;
  permissions: readonly string[];
  onChange: (changes: { set: string; permissions: string[] }) => void;
}

/** The choice of a key's permissions: a set, or single ones, which begin with those of the set. */
const PermissionChoice: React.FC<PermissionChoiceProps> = ({ set, permissions, onChange }) => {
  const isSingle = set === single;
  const choose = (next: string): void =>
    onChange({ set: next, permissions: permissionSets[next]?.permissions ?? [...permissions] });
  return (
    <>
      <Field
        label="Permissions"
        name={isSingle ? [] : 'permissions'}
        hint={isSingle ? null : permissions.join(', ').replace('*', 'every permission')}
      >
        <select value={set} onChange={(event) => choose(event.target.value)}>
          {Object.entries(permissionSets).map(([name, { label }]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
          <option value={single}>Single permissions</option>
        </select>
      </Field>
      {isSingle && <SinglePermissions value={permissions} onChange={(next) => onChange({ set, permissions: next })} />}
    </>
  );
};
export default PermissionChoice;

const SinglePermissions: React.FC<{ value: readonly string[]; onChange: (value: string[]) => void }> = (props) => {
  const { value: items } = usePoll<{ name: string; doc: string }[]>('/live/permissions', 300_000);
  return (
    <FamilyPicker
      legend="Single permissions"
      name="permissions"
      all="Every permission, also those of later versions"
      items={items}
      {...props}
    />
  );
};
