import React from 'react';
import type { ActionProps } from 'adminjs';
import type { MessageView } from '../../src/admin/views/message.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import Bubble from './Bubble.js';
import EditHistory from './EditHistory.js';
import LookupLine from './LookupLine.js';
import MessageActions from './MessageActions.js';
import MessageFacts from './MessageFacts.js';
import MessageReason from './MessageReason.js';
import MissingRecord from '../frame/MissingRecord.js';
import Neighbours from './Neighbours.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import Panel from '../frame/Panel.js';
import NoticeLine from '../parts/NoticeLine.js';
import Receipts from './Receipts.js';
import RawMessage from './RawMessage.js';
import Timeline from './Timeline.js';
import { chatText, messageWord } from '../words.js';

const back = { to: `${root}/resources/messages`, label: 'Messages' };

/** One message: its content, its state with the reason, and its timeline. */
const MessagePage: React.FC<ActionProps> = ({ record }) => {
  const { value: message, error, notice, notify } = useRecord<MessageView>(`/live/messages/${record?.id ?? ''}`, 3_000);
  if (!message) return <MissingRecord title="Message" back={back} below={error} />;
  const [word, tone] = messageWord(message.status, message.direction);
  const partner = chatText(message.chat);
  return (
    <Page testId="message" status={message.status}>
      <PageHead
        title={`${message.direction === 'outbound' ? 'To' : 'From'} ${partner}`}
        back={back}
        below={
          <>
            <Badge tone={tone}>{word}</Badge>
            <Ago at={message.times.createdAt} />
          </>
        }
      >
        <MessageActions message={message} onNotice={notify} />
      </PageHead>
      <Neighbours id={message.id} />
      <NoticeLine notice={notice} />
      <MessageReason message={message} />
      <LookupLine message={message} />
      <div className="cq-columns">
        <div>
          <Panel title="Content">
            <Bubble message={message} />
          </Panel>
          <Panel title="Details">
            <MessageFacts message={message} />
            <RawMessage id={message.id} />
          </Panel>
        </div>
        <div>
          <Panel title="Timeline">
            <Timeline message={message} />
          </Panel>
          {message.edits.length > 0 && (
            <Panel title="Earlier texts">
              <EditHistory edits={message.edits} />
            </Panel>
          )}
          {message.direction === 'outbound' && message.whatsappId && (
            <Panel title="Receipts">
              <Receipts message={message} />
            </Panel>
          )}
        </div>
      </div>
    </Page>
  );
};
export default MessagePage;
