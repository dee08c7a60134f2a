import React, { useState } from 'react';
import type { EventTypeView } from '../../src/admin/views/event.js';
import { usePoll } from '../api.js';

/** What the receiver gets for an event of one of the chosen types. */
const EventSample: React.FC<{ events: readonly string[] }> = ({ events }) => {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="cq-details" onToggle={(event) => setOpen(event.currentTarget.open)} data-testid="sample">
      <summary>Samples of these events</summary>
      {isOpen && <Samples events={events} />}
    </details>
  );
};
export default EventSample;

const Samples: React.FC<{ events: readonly string[] }> = ({ events }) => {
  const { value: catalogue } = usePoll<EventTypeView[]>('/live/event-catalogue', 300_000);
  const [chosen, setChosen] = useState('');
  const isAsked = (type: string): boolean =>
    events.some((name) => name === '*' || name === type || (name.endsWith('.*') && type.startsWith(name.slice(0, -1))));
  const types: string[] = (catalogue ?? []).map(({ type }) => type).filter(isAsked);
  const type = types.includes(chosen) ? chosen : types[0];
  if (type === undefined) return <p className="cq-soft">Choose at least one event.</p>;
  return (
    <>
      <select aria-label="Event of the sample" value={type} onChange={(event) => setChosen(event.target.value)}>
        {types.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <Sample type={type} />
    </>
  );
};

const Sample: React.FC<{ type: string }> = ({ type }) => {
  const { value, error } = usePoll<{ body: unknown }>(`/live/event-sample?type=${encodeURIComponent(type)}`, null);
  return (
    <pre className="cq-json" tabIndex={0} aria-label={`Sample of ${type}`}>
      {value ? JSON.stringify(value.body, null, 2) : (error ?? 'Loading …')}
    </pre>
  );
};
