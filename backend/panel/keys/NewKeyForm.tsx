import React from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import AccountChoice from '../accounts/AccountChoice.js';
import PermissionChoice, { permissionSets } from './PermissionChoice.js';
import SessionChoice from '../sessions/SessionChoice.js';

/** The account, scope and permissions of a new key. */
const NewKeyForm: React.FC<{ onCreated: (created: { name: string; secret: string }) => void }> = ({ onCreated }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const form = useForm({ accountId: '', sessionId: '', name: '', set: 'send' }, async ({ set, ...input }) => {
    const permissions = permissionSets[set]?.permissions ?? [];
    const body = { ...input, sessionId: input.sessionId || null, permissions };
    const { secret } = await post<{ secret: string }>('/live/keys', body);
    onCreated({ name: input.name, secret });
  });
  const { accountId, sessionId, name, set } = form.fields;
  return (
    <Form form={form} label="Create key" look="panel">
      <Field label="Name" name="name">
        <input
          value={name}
          onChange={(event) => form.set({ name: event.target.value })}
          required
          maxLength={100}
          placeholder="web shop"
          autoComplete="off"
        />
      </Field>
      <AccountChoice choices={choices} value={accountId} onChange={(id) => form.set({ accountId: id })} />
      <SessionChoice
        isScope
        choices={choices}
        accountId={accountId}
        value={sessionId}
        onChange={(id) => form.set({ sessionId: id })}
      />
      <PermissionChoice value={set} onChange={(next) => form.set({ set: next })} />
    </Form>
  );
};
export default NewKeyForm;
