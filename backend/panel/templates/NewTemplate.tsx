import React, { useCallback, useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { post, root, usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import TemplateForm from './TemplateForm.js';

const initialFields = { name: '', type: 'text', body: 'Hello {{name|there}}' };

/** Creates a template. */
const NewTemplate: React.FC = () => {
  const navigate = useNavigate();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [accountId, setAccountId] = useState('');
  const choose = useCallback((id: string) => setAccountId(id), []);
  return (
    <Page>
      <PageHead title="New template" back={{ to: `${root}/resources/templates`, label: 'Templates' }} />
      <TemplateForm
        accountId={accountId}
        from={initialFields}
        label="Create template"
        save={async (input) => {
          const { id } = await post<{ id: string }>('/live/templates', { accountId, ...input });
          navigate(`${root}/resources/templates/records/${id}/show`);
        }}
      >
        <AccountChoice choices={choices} value={accountId} onChange={choose} />
      </TemplateForm>
    </Page>
  );
};
export default NewTemplate;
