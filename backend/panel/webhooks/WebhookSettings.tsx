import React, { useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import { post, root } from '../api.js';
import { useForm } from '../hooks.js';
import ActionButton from '../parts/ActionButton.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import { bodyOfWebhook, valuesOf } from './values.js';
import WebhookFields from './WebhookFields.js';
import WebhookTrial from './WebhookTrial.js';

/** Changes, rotates and deletes an endpoint. For admins. */
const WebhookSettings: React.FC<{ webhook: WebhookView; onNotice: (notice: Notice) => void }> = ({ webhook, onNotice }) => {
  const navigate = useNavigate();
  const [secret, setSecret] = useState<string | null>(null);
  const path = `/live/webhooks/${webhook.id}`;
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  const [saved, setSaved] = useState(() => valuesOf(webhook));
  const form = useForm(saved, async (fields) => {
    await post(path, bodyOfWebhook(fields, saved));
    form.set({ headers: (fields.headers ?? webhook.headerNames).length > 0 ? null : [] });
    setSaved(fields);
    onNotice({ tone: 'good', text: 'Saved. It applies from the next event; waiting deliveries go to the new address.' });
  });
  return (
    <div className="cq-stack" data-testid="webhook-settings">
      <Form form={form} label="Save changes">
        <WebhookFields form={form} headerNames={webhook.headerNames} />
        <WebhookTrial
          form={form}
          saved={saved}
          accountId={webhook.account.id}
          sessionId={webhook.session?.id ?? null}
          webhook={webhook}
        />
      </Form>
      {secret && (
        <OneTimeSecret
          label="New signing secret"
          secret={secret}
          hint="Shown this once. For 24 hours each delivery is signed with the old and the new one, so that the receiver can change over."
        />
      )}
      <div className="cq-line cq-begin">
        <ActionButton
          label="Rotate secret"
          path={`${path}/rotate`}
          question={`Rotate the secret of ${webhook.title}?`}
          consequence="The new secret is shown once. The present one stays valid for 24 hours."
          onDone={(answer) => setSecret((answer as { secret: string }).secret)}
          onError={onError}
        />
        <ActionButton
          label="Delete webhook"
          path={`${path}/delete`}
          tone="danger"
          question={`Delete the webhook ${webhook.title}?`}
          consequence="Its receiver gets nothing more, and deliveries that wait are cancelled. This cannot be undone."
          onDone={() => navigate(`${root}/resources/webhooks`)}
          onError={onError}
        />
      </div>
    </div>
  );
};
export default WebhookSettings;
