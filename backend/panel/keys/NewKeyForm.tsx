import React from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import AccountChoice from '../accounts/AccountChoice.js';
import ExpiryFields, { bodyOfExpiry, type Expiry } from './ExpiryFields.js';
import RateFields, { bodyOfRate, type Rate } from './RateFields.js';
import PermissionChoice, { permissionSets } from './PermissionChoice.js';
import SessionChoice from '../sessions/SessionChoice.js';

type NewKeyFields = Expiry & Rate & { accountId: string; sessionId: string; name: string; set: string; permissions: string[] };
const empty: NewKeyFields = {
  ...{ accountId: '', sessionId: '', name: '', set: 'send', permissions: permissionSets['send']!.permissions },
  ...{ expiry: 'default', expiresAt: '', autoRotation: false, requests: '', seconds: '' },
};

/** The account, scope, permissions, expiry and limit of a new key. */
const NewKeyForm: React.FC<{ onCreated: (created: { name: string; secret: string }) => void }> = ({ onCreated }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const form = useForm(empty, async (fields) => {
    const { accountId, sessionId, name, permissions } = fields;
    const more = { ...bodyOfExpiry(fields), ...bodyOfRate(fields) };
    const body = { accountId, sessionId: sessionId || null, name, permissions, ...more };
    const { secret } = await post<{ secret: string }>('/live/keys', body);
    onCreated({ name, secret });
  });
  const { accountId, sessionId, name, set, permissions } = form.fields;
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
      <PermissionChoice set={set} permissions={permissions} onChange={form.set} />
      <ExpiryFields fields={form.fields} set={form.set} />
      <RateFields fields={form.fields} set={form.set} />
    </Form>
  );
};
export default NewKeyForm;
