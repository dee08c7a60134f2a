import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import Ago from '../parts/Ago.js';
import { messageWord } from '../words.js';

const open = ['failed', 'uncertain', 'queued', 'cancelled'];

/** Why a message stands where it stands, and when it is tried next. */
const MessageReason: React.FC<{ message: MessageView }> = ({ message: { reason, status, direction, nextAttemptAt } }) => {
  if (!reason || !open.includes(status)) return null;
  return (
    <p className={`cq-note cq-${messageWord(status, direction)[1]}`}>
      {reason.message} <code>{reason.code}</code>
      {nextAttemptAt && status === 'queued' ? (
        <>
          {' '}
          Next try <Ago at={nextAttemptAt} />.
        </>
      ) : null}
    </p>
  );
};
export default MessageReason;
