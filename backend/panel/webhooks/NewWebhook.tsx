import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import AccountChoice from '../accounts/AccountChoice.js';
import { post, root, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import PageHead from '../frame/PageHead.js';
import SessionChoice from '../sessions/SessionChoice.js';

const back = { to: `${root}/resources/webhooks`, label: 'Webhooks' };

/** Creates an endpoint. Its signing secret is shown once. */
const NewWebhook: React.FC = () => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const form = useForm({ accountId: '', sessionId: '', url: '', events: 'message.*' }, async (fields) => {
    const events = fields.events.split(/[\s,]+/).filter(Boolean);
    setMade(
      await post<{ id: string; secret: string }>('/live/webhooks', { ...fields, sessionId: fields.sessionId || null, events }),
    );
  });
  const { accountId, sessionId, url, events } = form.fields;
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="New webhook" back={back} />
      {made ? (
        <>
          <OneTimeSecret
            label="Signing secret"
            secret={made.secret}
            hint="Shown this once. The receiver verifies each delivery with it."
          />
          <Link className="cq-button" to={`${root}/resources/webhooks/records/${made.id}/show`}>
            Open the webhook
          </Link>
        </>
      ) : (
        <Form form={form} label="Create webhook" inPanel>
          <label>
            URL
            <input
              type="url"
              value={url}
              onChange={(event) => form.set({ url: event.target.value })}
              placeholder="https://shop.example/hooks"
              required
              maxLength={2048}
            />
          </label>
          <label>
            Events <small className="cq-soft">separated by spaces: message.received, message.*, *</small>
            <input value={events} onChange={(event) => form.set({ events: event.target.value })} required />
          </label>
          <AccountChoice choices={choices} value={accountId} onChange={(id) => form.set({ accountId: id })} />
          <SessionChoice
            choices={choices}
            accountId={accountId}
            value={sessionId}
            onChange={(id) => form.set({ sessionId: id })}
          />
        </Form>
      )}
    </div>
  );
};
export default NewWebhook;
