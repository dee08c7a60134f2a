import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { post, root, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import SessionChoice from '../sessions/SessionChoice.js';
import { bodyOfWebhook, emptyWebhook, type WebhookValues } from './values.js';
import WebhookFields from './WebhookFields.js';
import WebhookTrial from './WebhookTrial.js';

const back = { to: `${root}/resources/webhooks`, label: 'Webhooks' };
const empty: WebhookValues & { accountId: string; sessionId: string } = { ...emptyWebhook, accountId: '', sessionId: '' };

/** Creates an endpoint. Its signing secret is shown once. */
const NewWebhook: React.FC = () => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const form = useForm(empty, async (fields) => {
    const { accountId, sessionId } = fields;
    setMade(await post('/live/webhooks', { ...bodyOfWebhook(fields, emptyWebhook), accountId, sessionId: sessionId || null }));
  });
  const { accountId, sessionId } = form.fields;
  return (
    <Page isNarrow>
      <PageHead title="New webhook" back={back} />
      {made ? (
        <>
          <OneTimeSecret
            label="Signing secret"
            secret={made.secret}
            hint="Shown this once. The receiver verifies each delivery with it."
          />
          <Link className="cq-button" to={`${root}/resources/webhooks/records/${made.id}/show`}>
            Open the webhook and test it
          </Link>
        </>
      ) : (
        <Form form={form} label="Create webhook" look="panel">
          <WebhookFields form={form} />
          <AccountChoice choices={choices} value={accountId} onChange={(id) => form.set({ accountId: id })} />
          <SessionChoice
            isScope
            choices={choices}
            accountId={accountId}
            value={sessionId}
            onChange={(id) => form.set({ sessionId: id })}
          />
          <WebhookTrial form={form} saved={emptyWebhook} accountId={accountId} sessionId={sessionId} webhook={null} />
        </Form>
      )}
    </Page>
  );
};
export default NewWebhook;
