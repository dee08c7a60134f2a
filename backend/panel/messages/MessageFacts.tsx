import React from 'react';
import { Link } from 'react-router-dom';
import type { MessageView } from '../../src/admin/views/message.js';
import { root } from '../api.js';
import CopyText from '../parts/CopyText.js';
import Facts from '../parts/Facts.js';
import { chatText, exactText, phoneText } from '../words.js';

const record = (table: string, id: string): string => `${root}/resources/${table}/records/${encodeURIComponent(id)}/show`;

const chatOf = ({ session, chat }: MessageView): string =>
  `${root}/resources/messages?${new URLSearchParams({ 'filters.sessionId': session.id, 'filters.chatId': chat.id }).toString()}`;

/** The details of a message besides its content: what it belongs to, and its ids. */
const MessageFacts: React.FC<{ message: MessageView }> = ({ message }) => {
  const { session, account, apiKey, chat, times } = message;
  return (
    <>
      <Facts
        of={[
          ['Session', <Link to={record('sessions', session.id)}>{session.name ?? session.id}</Link>],
          ['Account', <Link to={record('accounts', account.id)}>{account.name ?? account.id}</Link>],
          ['Chat', <Link to={chatOf(message)}>All messages with {chatText(chat)}</Link>],
          ['Number', chat.number && phoneText(chat.number)],
          ['Type', message.type],
          ['Origin', message.origin],
          ['API key', apiKey && (apiKey.name === null ? 'deleted' : <Link to={record('keys', apiKey.id)}>{apiKey.name}</Link>)],
          ['Webhooks', <DeliveriesLink message={message} />],
          ['Bulk job', message.bulkJobId && <Link to={record('bulk', message.bulkJobId)}>open</Link>],
          ['Template', message.templateId && <Link to={record('templates', message.templateId)}>open</Link>],
          ['Schedule', message.scheduleId && <Link to={`${root}/pages/schedules`}>open</Link>],
          ['Scheduled for', times.scheduledAt && exactText(times.scheduledAt)],
          ['Urgent', message.isUrgent ? 'passes quiet hours' : null],
          ['Attempts', message.direction === 'outbound' ? message.attempts : null],
        ]}
      />
      <dl className="cq-facts cq-ids">
        <Id label="Id" value={message.id} />
        <Id label="WhatsApp id" value={message.whatsappId} />
        <Id label="Chat id" value={chat.id} />
        <Id label="Request id" value={message.requestId} />
        {chat.type !== 'private' && <Id label="Author" value={message.fromId} />}
      </dl>
    </>
  );
};
export default MessageFacts;

const Id: React.FC<{ label: string; value: string | null }> = ({ label, value }) =>
  value && (
    <div>
      <dt>{label}</dt>
      <dd>
        <CopyText label={label} text={value} />
      </dd>
    </div>
  );

const DeliveriesLink: React.FC<{ message: MessageView }> = ({ message: { id, deliveries } }) =>
  deliveries === 0 ? (
    'none subscribed'
  ) : (
    <Link to={`${root}/pages/deliveries?messageId=${id}`}>
      {deliveries} {deliveries === 1 ? 'delivery' : 'deliveries'} of its events
    </Link>
  );
