import React, { useState } from 'react';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Returns a time in the form of a `datetime-local` field, in the time zone of the browser. */
function localText(at: number): string {
  const date = new Date(at);
  return new Date(at - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Moves a scheduled message to another time, in the time zone of the browser. */
const MoveMessage: React.FC<{ id: string; at: number | null; onNotice: (notice: Notice) => void }> = ({ id, at, onNotice }) => {
  const [isOpen, setOpen] = useState(false);
  const [text, setText] = useState(at === null ? '' : localText(at));
  if (!isOpen)
    return (
      <button type="button" className="cq-button" onClick={() => setOpen(true)}>
        Move
      </button>
    );
  return (
    <span className="cq-sure">
      <input
        type="datetime-local"
        aria-label="New time"
        autoFocus
        required
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <ActionButton
        label="Move"
        tone="main"
        path={`/live/messages/${id}/schedule`}
        body={{ scheduledAt: text, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone }}
        onDone={() => {
          setOpen(false);
          onNotice({ tone: 'good', text: 'Moved.' });
        }}
        onError={(problem) => onNotice({ tone: 'bad', text: problem })}
      />
      <button type="button" className="cq-button" onClick={() => setOpen(false)}>
        Go back
      </button>
    </span>
  );
};
export default MoveMessage;
