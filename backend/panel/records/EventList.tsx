import React from 'react';
import { Link } from 'react-router-dom';
import type { EventView } from '../../src/admin/views/event.js';
import { root, usePoll } from '../api.js';
import Ago from '../parts/Ago.js';
import Empty from '../parts/Empty.js';

/** The newest events, read again every few seconds. `short`: without sessions and data. */
const EventList: React.FC<{ path: string; short?: boolean }> = ({ path, short }) => {
  const { value, error } = usePoll<EventView[]>(path, 3000);
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  if (value.length === 0)
    return short ? (
      <p className="cq-soft">Nothing has happened yet.</p>
    ) : (
      <Empty title="No events">
        <p>Every event of a session or a message appears here at once.</p>
      </Empty>
    );
  return (
    <ul className={short ? 'cq-list' : 'cq-list cq-events'}>
      {(short ? value.slice(0, 8) : value).map((event) => (
        <li key={event.cursor}>
          {short && event.messageId ? (
            <Link to={`${root}/resources/messages/records/${event.messageId}/show`}>{event.type}</Link>
          ) : (
            <span>{event.type}</span>
          )}
          <Ago at={event.at} />
          {!short && (
            <details className="cq-details">
              <summary>
                {event.session ? (event.session.name ?? event.session.id) : 'account'} · <code>{event.cursor}</code>
              </summary>
              {event.messageId && <Link to={`${root}/resources/messages/records/${event.messageId}/show`}>Open the message</Link>}
              <pre>{JSON.stringify(event.data, null, 2)}</pre>
            </details>
          )}
        </li>
      ))}
    </ul>
  );
};
export default EventList;
