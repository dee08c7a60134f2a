import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import { useNow } from '../api.js';
import { inText, messageWord } from '../words.js';

const statusesWithReason = ['failed', 'uncertain', 'scheduled', 'queued', 'cancelled'];

/** Why a message has its state, and what happens next or helps. The API's word stands beside it. */
const MessageReason: React.FC<{ message: MessageView }> = ({ message: { reason, status, direction, nextAttemptAt } }) => {
  const now = useNow(1_000);
  if (!reason || !statusesWithReason.includes(status)) return null;
  return (
    <p className={`cq-note cq-${messageWord(status, direction)[1]}`}>
      <strong>{reason.what}</strong> {reason.next} <code>{reason.code}</code>
      {nextAttemptAt !== null && status === 'queued' && ` Next attempt ${inText(nextAttemptAt, now)}.`}
    </p>
  );
};
export default MessageReason;
