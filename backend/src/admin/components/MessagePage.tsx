import React, { useState } from 'react';
import type { ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import type { MessageView } from '../views.js';
import { root, usePoll } from './api.js';
import Ago from './Ago.js';
import Badge from './Badge.js';
import Bubble from './Bubble.js';
import Facts from './Facts.js';
import MessageActions from './MessageActions.js';
import PageHead from './PageHead.js';
import Panel from './Panel.js';
import Said, { type Saying } from './Said.js';
import Timeline from './Timeline.js';
import { messageWord } from './words.js';

const back = { to: `${root}/resources/messages`, label: 'Messages' };

/** One message: what it says, where it stands and why, and every step of its way. */
const MessagePage: React.FC<ActionProps> = ({ record }) => {
  const { value: message, error, reload } = usePoll<MessageView>(`/live/messages/${record?.id ?? ''}`, 3000);
  const [said, setSaid] = useState<Saying | null>(null);
  if (!message)
    return (
      <div className="cq-page">
        <PageHead title="Message" back={back} below={error} />
      </div>
    );
  const [word, tone] = messageWord(message.status, message.direction);
  const out = message.direction === 'outbound';
  const who = message.chat.name ?? message.contact?.name ?? message.chat.id;
  return (
    <div className="cq-page" data-testid="message" data-status={message.status}>
      <PageHead
        title={`${out ? 'To' : 'From'} ${who}`}
        back={back}
        below={
          <>
            <Badge tone={tone}>{word}</Badge>
            <Ago at={message.times.createdAt} />
          </>
        }
      >
        <MessageActions
          message={message}
          onSaid={(what) => {
            setSaid(what);
            reload();
          }}
        />
      </PageHead>
      <Said what={said} />
      {message.reason && ['failed', 'uncertain', 'queued', 'cancelled'].includes(message.status) && (
        <p className={`cq-note cq-${tone}`}>
          {message.reason.message} <code>{message.reason.code}</code>
          {message.nextAttemptAt && message.status === 'queued' ? (
            <>
              {' '}
              Next try <Ago at={message.nextAttemptAt} />.
            </>
          ) : null}
        </p>
      )}
      <div className="cq-columns">
        <div>
          <Panel title="Content">
            <Bubble message={message} />
          </Panel>
          <Panel title="Details">
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
                ['Made by', message.origin],
                ['Attempts', out ? message.attempts : null],
                ['Id', <code>{message.id}</code>],
                ['WhatsApp id', message.whatsappId && <code>{message.whatsappId}</code>],
              ]}
            />
          </Panel>
        </div>
        <div>
          <Panel title="Timeline">
            <Timeline message={message} />
          </Panel>
        </div>
      </div>
    </div>
  );
};
export default MessagePage;
