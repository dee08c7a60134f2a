import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import Ask from '../parts/Ask.js';
import type { Saying } from '../parts/Said.js';

/** What can be done with a message in its present state. */
const MessageActions: React.FC<{ message: MessageView; onSaid: (what: Saying) => void }> = ({ message, onSaid }) => {
  if (message.direction !== 'outbound') return null;
  const path = `/live/messages/${message.id}`;
  const notify = (text: string) => ({
    onDone: () => onSaid({ tone: 'good', text }),
    onError: (problem: string) => onSaid({ tone: 'bad', text: problem }),
  });
  switch (message.status) {
    case 'failed':
      return (
        <Ask label="Try again" path={`${path}/retry`} tone="main" {...notify('It is in the queue again, under the same id.')} />
      );
    case 'queued':
      return <Ask label="Cancel" path={`${path}/cancel`} tone="danger" sure="Cancel this message?" {...notify('Cancelled.')} />;
    case 'uncertain':
      return (
        <>
          <Ask
            label="It arrived"
            path={`${path}/resolve`}
            body={{ as: 'sent' }}
            sure="Did you see it on the phone?"
            {...notify('Settled as sent.')}
          />
          <Ask
            label="It did not"
            path={`${path}/resolve`}
            body={{ as: 'failed' }}
            sure="Settle it as failed?"
            {...notify('Settled as failed.')}
          />
          <Ask
            label="Send again"
            path={`${path}/resolve`}
            body={{ as: 'retry' }}
            tone="main"
            sure="If it did arrive, WhatsApp shows it once: the id stays."
            {...notify('It is sent again under the same id.')}
          />
        </>
      );
    default:
      return null;
  }
};
export default MessageActions;
