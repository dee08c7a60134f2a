import React, { useState } from 'react';
import { usePoll } from '../api.js';
import EventList from './EventList.js';
import PageHead from '../frame/PageHead.js';

/** The newest events of the log, which webhooks and streams deliver too. */
const EventsPage: React.FC = () => {
  const [type, setType] = useState('');
  const { value: types } = usePoll<string[]>('/live/event-types', 60_000);
  return (
    <div className="cq-page">
      <PageHead title="Events" below={<span className="cq-live">Live, the last 50</span>}>
        <select aria-label="Only of this type" value={type} onChange={(event) => setType(event.target.value)}>
          <option value="">All types</option>
          {(types ?? []).map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </PageHead>
      <section className="cq-panel">
        <EventList key={type} path={type ? `/live/events?type=${type}` : '/live/events'} />
      </section>
    </div>
  );
};
export default EventsPage;
