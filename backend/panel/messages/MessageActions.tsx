import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import ActionButton from '../parts/ActionButton.js';
import MoveMessage from '../schedules/MoveMessage.js';
import ResendForm from './ResendForm.js';
import { chatText } from '../words.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Reasons that another recipient would repair, and those for which the same attempt fails again. */
const wrongRecipients = ['RECIPIENT_NOT_ON_WHATSAPP', 'CHAT_NOT_FOUND'];
const hopeless = [
  ...wrongRecipients,
  'NOT_SUPPORTED_BY_WHATSAPP',
  'QUOTED_MESSAGE_NOT_FOUND',
  'GROUP_ADMIN_REQUIRED',
  'SESSION_DELETED',
];

/** The actions that the state of a message allows. */
const MessageActions: React.FC<{ message: MessageView; onNotice: (notice: Notice) => void }> = ({ message, onNotice }) => {
  if (message.direction !== 'outbound') return null;
  const path = `/live/messages/${message.id}`;
  const partner = chatText(message.chat);
  const notify = (text: string) => ({
    onDone: () => onNotice({ tone: 'good', text }),
    onError: (problem: string) => onNotice({ tone: 'bad', text: problem }),
  });
  switch (message.status) {
    case 'failed':
      return (
        <>
          {wrongRecipients.includes(message.reason?.code ?? '') && <ResendForm message={message} />}
          <ActionButton
            label="Try again"
            path={`${path}/retry`}
            {...(hopeless.includes(message.reason?.code ?? '') ? {} : { tone: 'main' as const })}
            {...notify('It is in the queue again, under the same id.')}
          />
        </>
      );
    case 'scheduled':
      return (
        <>
          <MoveMessage id={message.id} at={message.times.scheduledAt} onNotice={onNotice} />
          <ActionButton
            label="Cancel message"
            path={`${path}/cancel`}
            tone="danger"
            question={`Cancel the message to ${partner}?`}
            consequence="It is never sent."
            {...notify('Cancelled.')}
          />
        </>
      );
    case 'queued':
      return (
        <ActionButton
          label="Cancel message"
          path={`${path}/cancel`}
          tone="danger"
          question={`Cancel the message to ${partner}?`}
          consequence="It is never sent."
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
            question={`Did the message to ${partner} arrive?`}
            consequence="Say yes only if you saw it on the phone. It is then recorded as sent and is not looked up any more."
            {...notify('Resolved as sent.')}
          />
          <ActionButton
            label="It did not"
            path={`${path}/resolve`}
            body={{ as: 'failed' }}
            question={`Record the message to ${partner} as failed?`}
            consequence="It is not sent again by itself, and not looked up any more."
            {...notify('Resolved as failed.')}
          />
          <ActionButton
            label="Send again"
            path={`${path}/resolve`}
            body={{ as: 'retry' }}
            question={`Send the message to ${partner} again?`}
            consequence="It keeps its WhatsApp id. If the first attempt did arrive, WhatsApp shows the message only once."
            {...notify('It is sent again under the same id.')}
          />
        </>
      );
    default:
      return null;
  }
};
export default MessageActions;
