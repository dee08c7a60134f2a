import React from 'react';
import type { EventTypeView } from '../../src/admin/views/event.js';
import { usePoll } from '../api.js';
import FamilyPicker from '../parts/FamilyPicker.js';

interface EventPickerProps {
  /** Names of events, families such as `message.*`, or `*`. */
  value: readonly string[];
  onChange: (value: string[]) => void;
}

/** Chooses events by family or one by one, each with the sentence of the catalogue. */
const EventPicker: React.FC<EventPickerProps> = ({ value, onChange }) => {
  const { value: types } = usePoll<EventTypeView[]>('/live/event-catalogue', 300_000);
  return (
    <FamilyPicker
      legend="Events"
      name="events"
      all="All events, also those of later versions"
      items={types && types.map(({ type, doc }) => ({ name: type, doc }))}
      value={value}
      onChange={onChange}
    />
  );
};
export default EventPicker;
