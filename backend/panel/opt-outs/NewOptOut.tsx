import React, { useState } from 'react';
import { Link, useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import type { ImportResult } from '../../src/opt-outs/import.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { post, root, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import { readFileText } from '../parts/file-text.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import ImportedList from './ImportedList.js';

const list = `${root}/resources/optouts`;

/** Opts people out who are typed in, or named in a file. */
const NewOptOut: React.FC = () => {
  const navigate = useNavigate();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const form = useForm({ people: '' }, async ({ people }) => {
    const contacts = people.split(/[\n,;]+/).map((one) => one.trim());
    await post('/live/optouts', { accountId, contacts: contacts.filter(Boolean) });
    navigate(list);
  });
  return (
    <Page isNarrow>
      <PageHead title="Opt people out" back={{ to: list, label: 'Opt-outs' }} />
      <div className="cq-rows">
        <Panel title="By hand">
          <Form form={form} label="Opt out">
            <AccountChoice choices={choices} value={accountId} onChange={setAccountId} />
            <Field label="People" name="contacts" hint="One number or WhatsApp id in each line, at most 500">
              <textarea
                rows={6}
                value={form.fields.people}
                onChange={(event) => form.set({ people: event.target.value })}
                placeholder="+55 11 99999-0001"
                required
              />
            </Field>
          </Form>
        </Panel>
        <ImportForm accountId={accountId} account={choices?.accounts.find(({ id }) => id === accountId)?.name ?? ''} />
      </div>
    </Page>
  );
};
export default NewOptOut;

/** Opts out the people of a file, and shows the result. */
const ImportForm: React.FC<{ accountId: string; account: string }> = ({ accountId, account }) => {
  const [result, setResult] = useState<ImportResult | null>(null);
  const form = useForm({ text: '' }, async ({ text }) => {
    setResult(null);
    setResult(await post<ImportResult>('/live/optouts-import', { accountId, list: text }));
  });
  return (
    <Panel title="From a file">
      <Form
        form={form}
        label="Import"
        hint={account && <span className="cq-soft">for the account {account}</span>}
        testId="import"
      >
        <Field
          label="List"
          name="list"
          hint="CSV with a column of numbers, or a JSON export; at most 10,000 people. People who are on the list already are not changed."
        >
          <input
            type="file"
            accept=".csv,.txt,.json,text/csv,text/plain,application/json"
            onChange={(event) => void readFileText(event.target.files?.[0]).then((text) => form.set({ text }))}
            required
          />
        </Field>
        {result && (
          <>
            <ImportedList result={result} />
            <Link to={list}>See the list</Link>
          </>
        )}
      </Form>
    </Panel>
  );
};
