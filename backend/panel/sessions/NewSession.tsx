import React from 'react';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { post, root, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import AccountChoice from '../accounts/AccountChoice.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';

/** Creates a session, starts it, and opens its page, which shows the QR code. */
const NewSession: React.FC = () => {
  const navigate = useNavigate();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const form = useForm({ accountId: '', name: '', deviceName: '', phoneNumber: '' }, async (fields) => {
    const { id } = await post<{ id: string }>('/live/sessions', {
      ...fields,
      deviceName: fields.deviceName || null,
      phoneNumber: fields.phoneNumber || null,
    });
    await post(`/live/sessions/${id}/start`).catch(() => undefined); // The session's page says why it did not start and has the button.
    navigate(`${root}/resources/sessions/records/${id}/show`);
  });
  const { accountId, name, deviceName, phoneNumber } = form.fields;
  return (
    <Page isNarrow>
      <PageHead
        title="New session"
        back={{ to: `${root}/resources/sessions`, label: 'Sessions' }}
        below="One session is one linked WhatsApp account."
      />
      <Form form={form} label="Create session and show the code" look="panel">
        <AccountChoice choices={choices} value={accountId} onChange={(id) => form.set({ accountId: id })} />
        <Field label="Name" name="name" hint="Letters, digits, dashes and underscores. Programs address the session by it.">
          <input
            value={name}
            onChange={(event) => form.set({ name: event.target.value })}
            required
            pattern="[\-_A-Za-z0-9]{1,64}"
            placeholder="front-desk"
            autoComplete="off"
          />
        </Field>
        <Field label="Device name, optional" name="deviceName">
          <input
            value={deviceName}
            onChange={(event) => form.set({ deviceName: event.target.value })}
            maxLength={64}
            placeholder="As the phone lists it under linked devices"
          />
        </Field>
        <Field
          label="Phone number, optional"
          name="phoneNumber"
          hint="With a number, a pairing code to type on that phone is requested too. The QR code stays usable."
        >
          <input
            type="tel"
            value={phoneNumber}
            onChange={(event) => form.set({ phoneNumber: event.target.value })}
            maxLength={80}
            placeholder="+55 11 98888-7777"
            autoComplete="off"
          />
        </Field>
      </Form>
    </Page>
  );
};
export default NewSession;
