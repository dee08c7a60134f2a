import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import Outcome from './Outcome.js';

/** Sends a text message with this session. */
const SendForm: React.FC<{ session: SessionView }> = ({ session }) => {
  const [sentId, setSentId] = useState<string | null>(null);
  const form = useForm({ recipient: '', message: '' }, async (fields) => {
    setSentId(null);
    const { id } = await post<{ id: string }>(`/live/sessions/${session.id}/send`, fields);
    setSentId(id);
    form.set({ message: '' });
  });
  const { recipient, message } = form.fields;
  const hint = session.status !== 'connected' && (
    <span className="cq-soft">Not connected: the message waits in the queue, if the settings allow it.</span>
  );
  return (
    <div data-testid="send">
      <Form form={form} label="Send" busyLabel="Sending …" hint={hint}>
        <label>
          To
          <input
            value={recipient}
            onChange={(event) => form.set({ recipient: event.target.value })}
            placeholder="+44 7400 123123, or an id of WhatsApp"
            required
            autoComplete="off"
          />
        </label>
        <label>
          Text
          <textarea
            value={message}
            onChange={(event) => form.set({ message: event.target.value })}
            rows={3}
            required
            maxLength={65536}
          />
        </label>
      </Form>
      {sentId && <Outcome key={sentId} id={sentId} />}
    </div>
  );
};
export default SendForm;
