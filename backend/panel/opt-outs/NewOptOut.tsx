import React from 'react';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { post, root, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import PageHead from '../frame/PageHead.js';

/** Opts people out by hand. */
const NewOptOut: React.FC = () => {
  const navigate = useNavigate();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const form = useForm({ accountId: '', people: '' }, async ({ accountId, people }) => {
    const contacts = people.split(/[\n,;]+/).map((one) => one.trim());
    await post('/live/optouts', { accountId, contacts: contacts.filter(Boolean) });
    navigate(`${root}/resources/optouts`);
  });
  const { accountId, people } = form.fields;
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="Opt people out" back={{ to: `${root}/resources/optouts`, label: 'Opt-outs' }} />
      <Form form={form} label="Opt out" inPanel>
        <AccountChoice choices={choices} value={accountId} onChange={(id) => form.set({ accountId: id })} />
        <label>
          People <small className="cq-soft">one number or WhatsApp id a line</small>
          <textarea
            rows={6}
            value={people}
            onChange={(event) => form.set({ people: event.target.value })}
            placeholder="+55 11 99999-0001"
            required
          />
        </label>
      </Form>
    </div>
  );
};
export default NewOptOut;
