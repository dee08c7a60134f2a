import React from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import PlanSelect from './PlanSelect.js';
import RoleChoice from './RoleChoice.js';

export interface CreatedAccount {
  id: string;
  username: string;
  secret: string;
}

/** Name, address, role and plan of a new account. */
const NewAccountForm: React.FC<{ onCreated: (created: CreatedAccount) => void }> = ({ onCreated }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const form = useForm({ username: '', email: '', role: 'user', planId: '' }, async ({ planId, ...input }) => {
    const created = await post<{ id: string; secret: string }>('/live/accounts', { ...input, planId: planId || null });
    onCreated({ ...created, username: input.username });
  });
  const { username, email, role, planId } = form.fields;
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
      <Field label="Plan" name="planId" hint="Sets how many messages and sessions it may have.">
        <PlanSelect plans={choices?.plans ?? []} value={planId} onChange={(next) => form.set({ planId: next })} />
      </Field>
    </Form>
  );
};
export default NewAccountForm;
