import React from 'react';

const roles: [string, string][] = [
  ['user', 'user: API only'],
  ['staff', 'staff: panel, reads all'],
  ['admin', 'admin: everything'],
];

interface RoleChoiceProps extends React.AriaAttributes {
  value: string;
  onChange: (role: string) => void;
}

/** The choice of a role, each with what it may do. */
const RoleChoice: React.FC<RoleChoiceProps> = ({ value, onChange, ...more }) => (
  <select aria-label="Role" {...more} value={value} onChange={(event) => onChange(event.target.value)}>
    {roles.map(([role, label]) => (
      <option key={role} value={role}>
        {label}
      </option>
    ))}
  </select>
);
export default RoleChoice;
