import React, { useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import type { PrivacyView } from '../../src/admin/views/privacy.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { posting, useForm, useRecord } from '../hooks.js';
import Empty from '../parts/Empty.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import LiveState from '../parts/LiveState.js';
import NoticeLine, { type Notice } from '../parts/NoticeLine.js';
import PrivacyRequestList from './PrivacyRequestList.js';

/** Exports and erasures of what is stored about one contact. */
const PrivacyPage: React.FC = () => {
  const record = useRecord<PrivacyView>('/live/privacy', 3000);
  const { value, error, notice, notify } = record;
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const account = { choices, accountId, onAccount: setAccountId, onNotice: notify };
  return (
    <Page>
      <PageHead title="Privacy requests" below={<LiveState of={record} />} />
      <NoticeLine notice={notice} />
      <div className="cq-columns">
        <ExportForm {...account} />
        <EraseForm {...account} />
        <Panel title="Requests" wide>
          {!value && <p className="cq-soft">{error ?? 'Loading …'}</p>}
          {value?.requests.length === 0 && (
            <Empty title="No requests yet">
              <p className="cq-soft">Each export and erasure is listed here, with what it found.</p>
            </Empty>
          )}
          {value && value.requests.length > 0 && <PrivacyRequestList of={value.requests} />}
        </Panel>
      </div>
    </Page>
  );
};
export default PrivacyPage;

interface FormProps {
  choices: ChoicesView | null;
  accountId: string;
  onAccount: (id: string) => void;
  onNotice: (notice: Notice) => void;
}

/** The contact that a request is about. */
const ContactField: React.FC<{ value: string; onChange: (contact: string) => void }> = ({ value, onChange }) => (
  <Field label="Contact" name="contact" hint="A number, or the WhatsApp id of a person">
    <input
      value={value}
      onChange={(event) => onChange(event.target.value)}
      placeholder="+55 11 99999-0001"
      required
      autoComplete="off"
    />
  </Field>
);

/** Gathers everything about one contact into an archive. */
const ExportForm: React.FC<FormProps> = ({ choices, accountId, onAccount, onNotice }) => {
  const form = useForm({ contact: '' }, async ({ contact }) => {
    await posting('/live/privacy/exports', () =>
      onNotice({ tone: 'good', text: 'The export has begun. Its archive can be downloaded below once it is done.' }),
    )({ accountId, contact: contact.trim() });
    form.set({ contact: '' });
  });
  return (
    <Panel title="Export a contact">
      <Form form={form} label="Export" testId="export">
        <AccountChoice choices={choices} value={accountId} onChange={onAccount} />
        <ContactField value={form.fields.contact} onChange={(contact) => form.set({ contact })} />
      </Form>
    </Panel>
  );
};

/** Removes everything about one contact. The contact is entered twice, since nothing brings it back. */
const EraseForm: React.FC<FormProps> = ({ choices, accountId, onAccount, onNotice }) => {
  const form = useForm({ contact: '', confirm: '' }, async ({ contact, confirm }) => {
    await posting('/live/privacy/erasures', () => onNotice({ tone: 'good', text: 'The erasure has begun.' }))({
      ...{ accountId, contact: contact.trim(), confirm: confirm.trim() },
    });
    form.set({ contact: '', confirm: '' });
  });
  return (
    <Panel title="Erase a contact">
      <Form form={form} label="Erase" isDangerous testId="erase">
        <AccountChoice choices={choices} value={accountId} onChange={onAccount} />
        <ContactField value={form.fields.contact} onChange={(contact) => form.set({ contact })} />
        <Field
          label="The contact once more"
          name="confirm"
          hint="Messages, events, files and the name of this person are deleted here, and nothing brings them back. WhatsApp itself and the phone keep theirs."
        >
          <input
            value={form.fields.confirm}
            onChange={(event) => form.set({ confirm: event.target.value })}
            required
            autoComplete="off"
          />
        </Field>
      </Form>
    </Panel>
  );
};
