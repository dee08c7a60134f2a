import React from 'react';
import { Link } from 'react-router-dom';
import type { EventView } from '../../src/admin/views/event.js';
import { root, usePoll } from '../api.js';
import Ago from '../parts/Ago.js';
import Empty from '../parts/Empty.js';

interface EventListProps {
  path: string;
  /** Only the newest eight, without their data. */
  short?: boolean;
  /** The list stays as it is. */
  isPaused?: boolean;
}

/** The newest events in words, read again every few seconds. */
const EventList: React.FC<EventListProps> = ({ path, short = false, isPaused = false }) => {
  const { value, error } = usePoll<EventView[]>(path, isPaused ? 86_400_000 : 3_000);
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
          {event.object ? <Link to={root + event.object}>{event.words}</Link> : <span>{event.words}</span>}
          <Ago at={event.at} />
          {!short && (
            <details className="cq-details">
              <summary>
                <code>{event.type}</code> · <code>{event.cursor}</code>
              </summary>
              <pre>{JSON.stringify(event.data, null, 2)}</pre>
            </details>
          )}
        </li>
      ))}
    </ul>
  );
};
export default EventList;
