import React, { useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { MessageView } from '../../src/admin/views/message.js';
import { messageOf, post, root } from '../api.js';
import type { Notice } from '../parts/NoticeLine.js';

interface ResendFormProps {
  message: MessageView;
  onNotice: (notice: Notice) => void;
}

/** Sends the text of a failed message to a corrected number, as a new message. The failed one stays as it is. */
const ResendForm: React.FC<ResendFormProps> = ({ message, onNotice }) => {
  const navigate = useNavigate();
  const [isOpen, setOpen] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [recipient, setRecipient] = useState(message.contact?.phone ?? `+${message.chat.id.split('@', 1).join('')}`);
  if (message.type !== 'text' || !message.text) return null;
  if (!isOpen)
    return (
      <button type="button" className="cq-button cq-main" onClick={() => setOpen(true)}>
        Correct the number and resend
      </button>
    );
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    post<{ id: string }>(`/live/sessions/${message.session.id}/send`, { recipient, message: message.text })
      .then(
        ({ id }) => navigate(`${root}/resources/messages/records/${id}/show`),
        (error: unknown) => onNotice({ tone: 'bad', text: messageOf(error) }),
      )
      .finally(() => setBusy(false));
  };
  return (
    <form className="cq-sure" onSubmit={submit}>
      <input
        type="tel"
        aria-label="Corrected number, with its country code"
        autoFocus
        required
        maxLength={128}
        value={recipient}
        onChange={(event) => setRecipient(event.target.value)}
      />
      <button type="submit" className="cq-button cq-main" disabled={isBusy}>
        {isBusy ? 'Sending …' : 'Send as a new message'}
      </button>
      <button type="button" className="cq-button" onClick={() => setOpen(false)}>
        Cancel
      </button>
    </form>
  );
};
export default ResendForm;
