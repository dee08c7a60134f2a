import React from 'react';
import { useNow } from '../api.js';
import { agoText, exactText } from '../words.js';

/** How long ago, exact on hover. Takes milliseconds or what a Date becomes in JSON. */
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
