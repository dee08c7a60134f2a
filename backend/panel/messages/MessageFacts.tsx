import React from 'react';
import { Link } from 'react-router-dom';
import type { MessageView } from '../../src/admin/views/message.js';
import { root } from '../api.js';
import Facts from '../parts/Facts.js';
import { exactText } from '../words.js';

/** The details of a message besides its content. */
const MessageFacts: React.FC<{ message: MessageView }> = ({ message }) => (
  <Facts
    of={[
      [
        'Session',
        <Link to={`${root}/resources/sessions/records/${message.session.id}/show`}>
          {message.session.name ?? message.session.id}
        </Link>,
      ],
      [
        'Account',
        <Link to={`${root}/resources/accounts/records/${message.account.id}/show`}>
          {message.account.name ?? message.account.id}
        </Link>,
      ],
      ['Chat', <code>{message.chat.id}</code>],
      ['Type', message.type],
      ['Origin', message.origin],
      ['Bulk job', message.bulkJobId && <Link to={`${root}/resources/bulk/records/${message.bulkJobId}/show`}>open</Link>],
      ['Scheduled for', message.times.scheduledAt && exactText(message.times.scheduledAt)],
      ['Urgent', message.isUrgent ? 'passes quiet hours' : null],
      ['Attempts', message.direction === 'outbound' ? message.attempts : null],
      ['Id', <code>{message.id}</code>],
      ['WhatsApp id', message.whatsappId && <code>{message.whatsappId}</code>],
    ]}
  />
);
export default MessageFacts;
