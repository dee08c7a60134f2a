import React from 'react';
import { useNow } from '../api.js';
import { agoText, exactText } from '../words.js';

/** How long ago a time was; the exact time appears on hover. `at`: milliseconds, or a Date as JSON. */
const Ago: React.FC<{ at: number | string | null | undefined; none?: string }> = ({ at, none = '–' }) => {
  const now = useNow(10_000);
  const time = typeof at === 'string' ? Date.parse(at) : at;
  if (time === null || time === undefined || Number.isNaN(time)) return <span className="cq-soft">{none}</span>;
  return (
    <time dateTime={new Date(time).toISOString()} title={exactText(time)}>
      {agoText(time, now)}
    </time>
  );
};
export default Ago;
