import React, { useEffect, useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import Meter from '../parts/Meter.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';

/** The messages of a session today, its daily limit, and its storage mode. */
const SessionLimits: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const { today, dailyLimit, storage } = session.limits;
  const [daily, setDaily] = useState(dailyLimit === null ? '' : String(dailyLimit));
  const [mode, setMode] = useState<string>(storage);
  useEffect(() => setDaily(dailyLimit === null ? '' : String(dailyLimit)), [dailyLimit]);
  useEffect(() => setMode(storage), [storage]);
  const notify = {
    onDone: () => onNotice({ tone: 'good', text: 'Changed. It applies from the next message.' }),
    onError: (text: string) => onNotice({ tone: 'bad', text }),
  };
  const path = `/live/sessions/${session.id}/limits`;
  return (
    <div className="cq-stack">
      <Meter
        label="Messages today"
        value={today}
        of={dailyLimit}
        text={dailyLimit ? `${count(today)} of ${count(dailyLimit)}` : count(today)}
      />
      <div className="cq-line">
        <label>
          Limit a day <small className="cq-soft">empty: the installation’s; 0: none</small>{' '}
          <input
            type="number"
            min={0}
            aria-label="Limit a day"
            value={daily}
            onChange={(event) => setDaily(event.target.value)}
          />
        </label>
        <ActionButton label="Set limit" path={path} body={{ dailyLimit: daily === '' ? null : Number(daily) }} {...notify} />
      </div>
      <div className="cq-line">
        <label>
          Stored of messages{' '}
          <select aria-label="Stored of messages" value={mode} onChange={(event) => setMode(event.target.value)}>
            <option value="full">everything</option>
            <option value="metadata">who and when, no content</option>
          </select>
        </label>
        <ActionButton label="Set" path={path} body={{ storage: mode }} {...notify} />
      </div>
    </div>
  );
};
export default SessionLimits;
