import React, { useEffect } from 'react';
import { useCurrentAdmin } from 'adminjs';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import Field from '../parts/Field.js';
import { viewerOf } from '../api.js';

/** The account that will own the new record. The person's own account is preselected. */
const AccountChoice: React.FC<{ choices: ChoicesView | null; value: string; onChange: (id: string) => void }> = ({
  choices,
  value,
  onChange,
}) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin)?.id ?? '';
  useEffect(() => {
    if (!value && choices) onChange(choices.accounts.find((account) => account.id === me)?.id ?? choices.accounts[0]?.id ?? '');
  }, [choices, value, me, onChange]);
  return (
    <Field label="Account" name="accountId">
      <select value={value} onChange={(event) => onChange(event.target.value)} required>
        {(choices?.accounts ?? []).map((account) => (
          <option key={account.id} value={account.id}>
            {account.name}
          </option>
        ))}
      </select>
    </Field>
  );
};
export default AccountChoice;
