import React, { useState } from 'react';
import EventList from './EventList.js';
import PageHead from '../frame/PageHead.js';

const types = [
  'session.status',
  'session.created',
  'session.deleted',
  'session.heal',
  'message.queued',
  'message.sending',
  'message.sent',
  'message.ack',
  'message.failed',
  'message.uncertain',
  'message.cancelled',
  'message.received',
  'message.updated',
  'message.reaction',
];

/** The newest events of the log, which webhooks and streams deliver too. */
const EventsPage: React.FC = () => {
  const [type, setType] = useState('');
  return (
    <div className="cq-page">
      <PageHead title="Events" below={<span className="cq-live">Live, the last 50</span>}>
        <select aria-label="Only of this type" value={type} onChange={(event) => setType(event.target.value)}>
          <option value="">All types</option>
          {types.map((name) => (
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
