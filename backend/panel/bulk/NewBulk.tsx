import React, { useState } from 'react';
import type { BulkCheck } from '@chasqui/shared';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import SessionChoice from '../sessions/SessionChoice.js';
import { messageOf, post, root, usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useForm } from '../hooks.js';
import { readFileText } from '../parts/file-text.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import CheckResult from './CheckResult.js';

const back = { to: `${root}/resources/bulk`, label: 'Bulk jobs' };
const empty = { accountId: '', sessionId: '', name: '', message: '', csv: '', checkNumbers: false, scheduledAt: '' };

const bodyOf = ({ accountId: _, name, scheduledAt, ...fields }: typeof empty) => ({
  ...fields,
  name: name || null,
  scheduledAt: scheduledAt ? new Date(scheduledAt).toISOString() : null,
});

/** Creates a bulk job from a text and a CSV file. The rows are checked first; the button that starts the job appears with the result. */
const NewBulk: React.FC = () => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const navigate = useNavigate();
  const [checked, setChecked] = useState<BulkCheck | null>(null);
  const form = useForm(empty, async (fields) => setChecked(await post<BulkCheck>('/live/bulk-check', bodyOf(fields))));
  const { accountId, sessionId, name, message, csv, checkNumbers, scheduledAt } = form.fields;
  const set = (changes: Partial<typeof empty>): void => {
    setChecked(null);
    form.set(changes);
  };
  const start = async (): Promise<string | null> => {
    try {
      const { id } = await post<{ id: string }>('/live/bulk', bodyOf(form.fields));
      navigate(`${root}/resources/bulk/records/${id}/show`);
      return null;
    } catch (error) {
      return messageOf(error);
    }
  };
  return (
    <Page isNarrow>
      <PageHead title="New bulk job" back={back} />
      <p className="cq-soft">For people who agreed to be written to. WhatsApp bans accounts that send unwanted messages.</p>
      <Form form={form} label="Check the recipients" look="panel">
        <AccountChoice choices={choices} value={accountId} onChange={(id) => set({ accountId: id, sessionId: '' })} />
        <SessionChoice choices={choices} accountId={accountId} value={sessionId} onChange={(id) => set({ sessionId: id })} />
        <Field label="Name" name="name" hint="For yourself">
          <input value={name} maxLength={200} onChange={(event) => set({ name: event.target.value })} />
        </Field>
        <Field label="Message" name={['message', 'content']} hint={'{{name}} becomes the value of the column name'}>
          <textarea
            rows={4}
            value={message}
            maxLength={65_536}
            onChange={(event) => set({ message: event.target.value })}
            required
          />
        </Field>
        <CsvFields csv={csv} onChange={(text) => set({ csv: text })} />
        <Field label="Begin at" name="scheduledAt" hint="Empty: now">
          <input type="datetime-local" value={scheduledAt} onChange={(event) => set({ scheduledAt: event.target.value })} />
        </Field>
        <label className="cq-check">
          <input type="checkbox" checked={checkNumbers} onChange={(event) => set({ checkNumbers: event.target.checked })} />
          Ask WhatsApp before each message whether the number is registered
        </label>
      </Form>
      {checked && <CheckResult checked={checked} onStart={start} />}
    </Page>
  );
};
export default NewBulk;

/** A longer text is shown in part, and cannot be edited. Characters. */
const maxEditable = 20_000;

/** The recipients as CSV: a file, or its text. */
const CsvFields: React.FC<{ csv: string; onChange: (csv: string) => void }> = ({ csv, onChange }) => (
  <>
    <Field label="CSV file" hint="With a header: a column of numbers, and one for each variable">
      <input
        type="file"
        accept=".csv,.txt,text/csv,text/plain"
        onChange={(event) => void readFileText(event.target.files?.[0]).then(onChange)}
      />
    </Field>
    <Field label="or its text" name={['csv', 'recipients']}>
      <textarea
        rows={5}
        value={csv.length > maxEditable ? `${csv.slice(0, maxEditable)}\n…` : csv}
        onChange={(event) => onChange(event.target.value)}
        placeholder={'phone,name\n+5511999990001,Ana'}
        readOnly={csv.length > maxEditable}
        required
      />
    </Field>
  </>
);
