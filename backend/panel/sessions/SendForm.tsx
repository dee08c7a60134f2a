import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import RecipientHint from '../parts/RecipientHint.js';
import Outcome from './Outcome.js';

/** Sends a text message with this session, now or at a time in the time zone of the browser. */
const SendForm: React.FC<{ session: SessionView }> = ({ session }) => {
  const [sentId, setSentId] = useState<string | null>(null);
  const form = useForm({ recipient: '', message: '', at: '' }, async ({ at, ...fields }) => {
    setSentId(null);
    const time = at ? { scheduledAt: at, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone } : {};
    const { id } = await post<{ id: string }>(`/live/sessions/${session.id}/send`, { ...fields, ...time });
    setSentId(id);
    form.set({ message: '', at: '' });
  });
  const { recipient, message, at } = form.fields;
  const hint = session.status !== 'connected' && !at && (
    <span className="cq-soft">Not connected: the message waits and is sent when the phone is back.</span>
  );
  return (
    <div data-testid="send">
      <Form form={form} label={at ? 'Send later' : 'Send'} busyLabel={at ? 'Scheduling …' : 'Sending …'} hint={hint}>
        <Field label="To" name="recipient" hint={<RecipientHint recipient={recipient} sessionId={session.id} />}>
          <input
            value={recipient}
            onChange={(event) => form.set({ recipient: event.target.value })}
            placeholder="+44 7400 123123, or an id of WhatsApp"
            required
            autoComplete="off"
          />
        </Field>
        <Field label="Text" name="message">
          <textarea
            value={message}
            onChange={(event) => form.set({ message: event.target.value })}
            rows={3}
            required
            maxLength={65536}
          />
        </Field>
        <Field label="Send at" name={['scheduledAt', 'timezone']} hint="Empty: now">
          <input type="datetime-local" value={at} onChange={(event) => form.set({ at: event.target.value })} />
        </Field>
      </Form>
      {sentId && <Outcome key={sentId} id={sentId} />}
    </div>
  );
};
export default SendForm;
