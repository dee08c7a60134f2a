import React, { useState } from 'react';
import type { BulkCheck } from '@chasqui/shared';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { messageOf, post, root, usePoll } from '../api.js';
import PageHead from '../frame/PageHead.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import CheckResult from './CheckResult.js';

const back = { to: `${root}/resources/bulk`, label: 'Bulk jobs' };
const empty = { accountId: '', sessionId: '', name: '', message: '', csv: '', checkNumbers: false, scheduledAt: '' };

const bodyOf = ({ accountId: _, name, scheduledAt, ...fields }: typeof empty) => ({
  ...fields,
  name: name || null,
  scheduledAt: scheduledAt ? new Date(scheduledAt).toISOString() : null,
});

/** Reads a file as spreadsheets write it: UTF-16 with its mark, UTF-8, or else windows-1252. */
async function readFile(file: File | undefined): Promise<string> {
  const bytes = new Uint8Array((await file?.arrayBuffer()) ?? new ArrayBuffer(0));
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes); // Every sequence of bytes is a text in this encoding.
  }
}

/** Makes a bulk job of a text and a CSV file. The rows are checked first; the button that starts the job appears with the result. */
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
    <div className="cq-page cq-narrow">
      <PageHead title="New bulk job" back={back} />
      <p className="cq-soft">For people who agreed to be written to. WhatsApp bans accounts that send unwanted messages.</p>
      <Form form={form} label="Check the recipients" inPanel>
        <AccountChoice choices={choices} value={accountId} onChange={(id) => set({ accountId: id, sessionId: '' })} />
        <label>
          Session
          <select value={sessionId} onChange={(event) => set({ sessionId: event.target.value })} required>
            <option value="">choose a session</option>
            {(choices?.sessions ?? [])
              .filter((session) => session.accountId === accountId)
              .map((session) => (
                <option key={session.id} value={session.id}>
                  {session.name}
                </option>
              ))}
          </select>
        </label>
        <label>
          Name <small className="cq-soft">for yourself</small>
          <input value={name} maxLength={200} onChange={(event) => set({ name: event.target.value })} />
        </label>
        <label>
          Message <small className="cq-soft">{'{{name}} becomes the value of the column name'}</small>
          <textarea
            rows={4}
            value={message}
            maxLength={65_536}
            onChange={(event) => set({ message: event.target.value })}
            required
          />
        </label>
        <label>
          CSV file <small className="cq-soft">with a header: a column of numbers, and one for each variable</small>
          <input
            type="file"
            accept=".csv,.txt,text/csv,text/plain"
            onChange={(event) => void readFile(event.target.files?.[0]).then((text) => set({ csv: text }))}
          />
        </label>
        <label>
          or its text
          <textarea
            rows={5}
            value={csv.length > 20_000 ? `${csv.slice(0, 20_000)}\n…` : csv}
            onChange={(event) => set({ csv: event.target.value })}
            placeholder={'phone,name\n+5511999990001,Ana'}
            readOnly={csv.length > 20_000}
            required
          />
        </label>
        <label>
          Begin at <small className="cq-soft">empty: now</small>
          <input type="datetime-local" value={scheduledAt} onChange={(event) => set({ scheduledAt: event.target.value })} />
        </label>
        <label className="cq-check">
          <input type="checkbox" checked={checkNumbers} onChange={(event) => set({ checkNumbers: event.target.checked })} />
          Ask WhatsApp before each message whether the number is registered
        </label>
      </Form>
      {checked && <CheckResult checked={checked} onStart={start} />}
    </div>
  );
};
export default NewBulk;
