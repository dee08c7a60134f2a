import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import Ago from '../parts/Ago.js';
import { messageWord } from '../words.js';

const statusesWithReason = ['failed', 'uncertain', 'scheduled', 'queued', 'cancelled'];

/** The reason for the state of a message, and the time of its next attempt. */
const MessageReason: React.FC<{ message: MessageView }> = ({ message: { reason, status, direction, nextAttemptAt } }) => {
  if (!reason || !statusesWithReason.includes(status)) return null;
  return (
    <p className={`cq-note cq-${messageWord(status, direction)[1]}`}>
      {reason.message} <code>{reason.code}</code>
      {nextAttemptAt && status === 'queued' ? (
        <>
          {' '}
          Next attempt <Ago at={nextAttemptAt} />.
        </>
      ) : null}
    </p>
  );
};
export default MessageReason;
