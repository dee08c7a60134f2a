import React, { useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import SessionChoice from '../sessions/SessionChoice.js';
import { post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import RecipientHint from '../parts/RecipientHint.js';
import TimesFields from './TimesFields.js';

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const empty = { sessionId: '', recipient: '', message: '', name: '', cron: '0 9 * * 1-5', timezone: zone, ends: '' };

/** Creates a recurring schedule that sends a text. The next times are shown before it is created. */
const NewSchedule: React.FC<{ onDone: () => void; onCancel: () => void }> = ({ onDone, onCancel }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const form = useForm(empty, async ({ ends, ...fields }) => {
    await post('/live/schedules', { ...fields, maxOccurrences: ends === '' ? null : Number(ends) });
    onDone();
  });
  const { fields, set } = form;
  const choose = (id: string): void => {
    setAccountId(id);
    set({ sessionId: '' });
  };
  const back = (
    <button type="button" className="cq-button" onClick={onCancel}>
      Go back
    </button>
  );
  return (
    <Form form={form} label="Create schedule" testId="new-schedule" hint={back}>
      <AccountChoice choices={choices} value={accountId} onChange={choose} />
      <SessionChoice
        choices={choices}
        accountId={accountId}
        value={fields.sessionId}
        onChange={(sessionId) => set({ sessionId })}
      />
      <Field label="To" name="recipient" hint={<RecipientHint recipient={fields.recipient} sessionId={fields.sessionId} />}>
        <input
          value={fields.recipient}
          onChange={(event) => set({ recipient: event.target.value })}
          placeholder="+44 7400 123123, or an id of WhatsApp"
          required
          autoComplete="off"
        />
      </Field>
      <Field label="Text" name={['message', 'content']}>
        <textarea
          rows={3}
          value={fields.message}
          onChange={(event) => set({ message: event.target.value })}
          required
          maxLength={65_536}
        />
      </Field>
      <TimesFields fields={fields} set={set} />
      <Field label="Number of messages" name="maxOccurrences" hint="Empty: no end">
        <input
          type="number"
          min={1}
          max={1_000_000}
          value={fields.ends}
          onChange={(event) => set({ ends: event.target.value })}
        />
      </Field>
    </Form>
  );
};
export default NewSchedule;
