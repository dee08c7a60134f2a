import React, { useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { MessageView } from '../../src/admin/views/message.js';
import { post, root } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import RecipientHint from '../parts/RecipientHint.js';

/** Sends a failed message, with its file, to a corrected number as a new message. The failed one stays as it is. */
const ResendForm: React.FC<{ message: MessageView }> = ({ message }) => {
  const navigate = useNavigate();
  const [isOpen, setOpen] = useState(false);
  const initial = message.contact?.phone ?? `+${message.chat.id.split('@', 1).join('')}`;
  const form = useForm({ recipient: initial }, async ({ recipient }) => {
    const { id } = await post<{ id: string }>(`/live/messages/${message.id}/resend`, { recipient });
    navigate(`${root}/resources/messages/records/${id}/show`);
  });
  const { recipient } = form.fields;
  const canCopy = message.media ? message.media.state === 'stored' : message.type === 'text' && message.text;
  if (!canCopy) return null;
  if (!isOpen)
    return (
      <button type="button" className="cq-button cq-main" onClick={() => setOpen(true)}>
        Correct the number and resend
      </button>
    );
  const cancel = (
    <button type="button" className="cq-button" onClick={() => setOpen(false)}>
      Cancel
    </button>
  );
  return (
    <Form form={form} label="Send as a new message" busyLabel="Sending …" hint={cancel}>
      <Field
        label="Corrected number, with its country code"
        name="recipient"
        hint={<RecipientHint recipient={recipient} sessionId={message.session.id} />}
      >
        <input
          type="tel"
          autoFocus
          required
          maxLength={128}
          value={recipient}
          onChange={(event) => form.set({ recipient: event.target.value })}
        />
      </Field>
    </Form>
  );
};
export default ResendForm;
