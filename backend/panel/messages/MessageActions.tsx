import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import ActionButton from '../parts/ActionButton.js';
import MoveMessage from '../schedules/MoveMessage.js';
import type { Notice } from '../parts/NoticeLine.js';

/** The actions that the state of a message allows. */
const MessageActions: React.FC<{ message: MessageView; onNotice: (notice: Notice) => void }> = ({ message, onNotice }) => {
  if (message.direction !== 'outbound') return null;
  const path = `/live/messages/${message.id}`;
  const notify = (text: string) => ({
    onDone: () => onNotice({ tone: 'good', text }),
    onError: (problem: string) => onNotice({ tone: 'bad', text: problem }),
  });
  switch (message.status) {
    case 'failed':
      return (
        <ActionButton
          label="Try again"
          path={`${path}/retry`}
          tone="main"
          {...notify('It is in the queue again, under the same id.')}
        />
      );
    case 'scheduled':
      return (
        <>
          <MoveMessage id={message.id} at={message.times.scheduledAt} onNotice={onNotice} />
          <ActionButton
            label="Cancel"
            path={`${path}/cancel`}
            tone="danger"
            question="Cancel this message?"
            {...notify('Cancelled.')}
          />
        </>
      );
    case 'queued':
      return (
        <ActionButton
          label="Cancel"
          path={`${path}/cancel`}
          tone="danger"
          question="Cancel this message?"
          {...notify('Cancelled.')}
        />
      );
    case 'uncertain':
      return (
        <>
          <ActionButton
            label="It arrived"
            path={`${path}/resolve`}
            body={{ as: 'sent' }}
            question="Did you see it on the phone?"
            {...notify('Resolved as sent.')}
          />
          <ActionButton
            label="It did not"
            path={`${path}/resolve`}
            body={{ as: 'failed' }}
            question="Resolve it as failed?"
            {...notify('Resolved as failed.')}
          />
          <ActionButton
            label="Send again"
            path={`${path}/resolve`}
            body={{ as: 'retry' }}
            tone="main"
            question="If it did arrive, WhatsApp shows it only once, because the id stays the same."
            {...notify('It is sent again under the same id.')}
          />
        </>
      );
    default:
      return null;
  }
};
export default MessageActions;
