import React from 'react';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import RoleChoice from './RoleChoice.js';

export interface CreatedAccount {
  id: string;
  username: string;
  secret: string;
}

/** Name, address and role of a new account. */
const NewAccountForm: React.FC<{ onCreated: (created: CreatedAccount) => void }> = ({ onCreated }) => {
  const form = useForm({ username: '', email: '', role: 'user' }, async (input) => {
    const created = await post<{ id: string; secret: string }>('/live/accounts', input);
    onCreated({ ...created, username: input.username });
  });
  const { username, email, role } = form.fields;
  return (
    <Form form={form} label="Create account" look="panel">
      <Field label="Name" name="username">
        <input
          value={username}
          onChange={(event) => form.set({ username: event.target.value })}
          required
          maxLength={64}
          autoComplete="off"
        />
      </Field>
      <Field label="E-mail address" name="email">
        <input
          type="email"
          value={email}
          onChange={(event) => form.set({ email: event.target.value })}
          required
          maxLength={254}
          autoComplete="off"
        />
      </Field>
      <Field label="Role" name="role">
        <RoleChoice value={role} onChange={(next) => form.set({ role: next })} />
      </Field>
    </Form>
  );
};
export default NewAccountForm;
