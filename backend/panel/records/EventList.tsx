import React from 'react';
import { Link } from 'react-router-dom';
import type { EventView } from '../../src/admin/views/event.js';
import { root, usePoll, type Polled } from '../api.js';
import Ago from '../parts/Ago.js';
import Empty from '../parts/Empty.js';

/** How often lists of events are read. Milliseconds. */
export const eventsEveryMs = 3_000;

/** The newest events in words, read again every few seconds. `short`: only the newest eight, without their data. */
const EventList: React.FC<{ path: string; short?: boolean }> = ({ path, short = false }) => (
  <EventRows of={usePoll<EventView[]>(path, eventsEveryMs)} short={short} />
);
export default EventList;

/** Events in words. */
export const EventRows: React.FC<{
  of: Pick<Polled<EventView[]>, 'value' | 'error'>;
  short?: boolean;
  /** Only some events were asked for. */
  isFiltered?: boolean;
}> = ({ of: { value, error }, short = false, isFiltered = false }) => {
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  if (value.length === 0)
    return short ? (
      <p className="cq-soft">Nothing has happened yet.</p>
    ) : (
      <Empty title="No events">
        <p>{isFiltered ? 'None of them meets the filter.' : 'Every event of a session or a message appears here at once.'}</p>
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
