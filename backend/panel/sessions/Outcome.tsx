import React from 'react';
import { Link } from 'react-router-dom';
import type { MessageView } from '../../src/admin/views/message.js';
import { root, usePoll } from '../api.js';
import Badge from '../parts/Badge.js';
import { messageWord } from '../words.js';

/** The state of the message that was just accepted. */
const Outcome: React.FC<{ id: string }> = ({ id }) => {
  const { value } = usePoll<MessageView>(`/live/messages/${id}`, 1500);
  const [word, tone] = messageWord(value?.status ?? 'queued');
  return (
    <p className="cq-note cq-info" role="status">
      Accepted: <Badge tone={tone}>{word}</Badge> {value?.reason?.message}{' '}
      <Link to={`${root}/resources/messages/records/${id}/show`}>Open the message</Link>
    </p>
  );
};
export default Outcome;
