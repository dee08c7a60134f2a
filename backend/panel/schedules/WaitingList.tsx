import React from 'react';
import { Link } from 'react-router-dom';
import type { SchedulesView } from '../../src/admin/views/schedule.js';
import { root } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Empty from '../parts/Empty.js';
import type { Notice } from '../parts/NoticeLine.js';
import { momentText } from './days.js';
import MoveMessage from './MoveMessage.js';

interface WaitingListProps {
  messages: SchedulesView['messages'];
  timezone: string;
  onNotice: (notice: Notice) => void;
}

/** The scheduled messages, the next one first. Each can be moved and cancelled. */
const WaitingList: React.FC<WaitingListProps> = ({ messages, timezone, onNotice }) => {
  if (messages.length === 0)
    return (
      <Empty title="No scheduled messages">
        <p>
          Send one later from the page of a session, or with <code>scheduledAt</code> in any send.
        </p>
      </Empty>
    );
  return (
    <ul className="cq-list cq-plans" data-testid="scheduled-messages">
      {messages.map(({ id, at, chat, text, type, reason, session }) => (
        <li key={id}>
          <span>
            <Link to={`${root}/resources/messages/records/${id}/show`}>
              {at === null ? 'Scheduled' : momentText(at, timezone)}, to {chat}
            </Link>
            <small>
              {text ?? type} · {session.name ?? 'a deleted session'}
            </small>
            {reason && <small>{reason.message}</small>}
          </span>
          <span className="cq-line">
            <MoveMessage id={id} at={at} onNotice={onNotice} />
            <ActionButton
              label="Cancel"
              path={`/live/messages/${id}/cancel`}
              tone="danger"
              question={`Cancel the message to ${chat}?`}
              consequence="It is never sent."
              onDone={() => onNotice({ tone: 'good', text: 'Cancelled.' })}
              onError={(problem) => onNotice({ tone: 'bad', text: problem })}
            />
          </span>
        </li>
      ))}
    </ul>
  );
};
export default WaitingList;
