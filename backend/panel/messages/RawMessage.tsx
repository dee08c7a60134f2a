import React, { useState } from 'react';
import { usePoll } from '../api.js';

/** The message as the API returns it. It is read when it is opened. */
const RawMessage: React.FC<{ id: string }> = ({ id }) => {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="cq-details" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As the API returns it</summary>
      {isOpen && <Json id={id} />}
    </details>
  );
};
export default RawMessage;

const Json: React.FC<{ id: string }> = ({ id }) => {
  const { value, error } = usePoll<object>(`/live/messages/${id}/raw`, 10_000);
  return value ? (
    <pre data-testid="raw">{JSON.stringify(value, null, 2)}</pre>
  ) : (
    <p className="cq-soft">{error ?? 'Loading …'}</p>
  );
};
