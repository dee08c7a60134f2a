import React from 'react';
import { useNow, type Polled } from '../api.js';
import { agoText } from '../words.js';

interface LiveStateProps {
  of: Pick<Polled<unknown>, 'error' | 'receivedAt' | 'everyMs'>;
  /** What is shown while the data is current. */
  text?: string;
}

/** How much later than planned an answer may be while the data still counts as current. Milliseconds. */
const lateMs = 3_000;

/**
 * Says whether the data of a page is current. It is green only after an answer that is no older than the time between two of them. Without one it
 * says why, and how old the data is that is shown.
 */
const LiveState: React.FC<LiveStateProps> = ({ of: { error, receivedAt, everyMs }, text = 'Live' }) => {
  const now = useNow(1_000);
  if (receivedAt === null) return <span className={error ? 'cq-live cq-lost' : 'cq-soft'}>{error ?? 'Loading …'}</span>;
  if (everyMs === null) return <span className="cq-soft">{`Not renewed, from ${agoText(receivedAt, now)}`}</span>;
  if (!error && now - receivedAt <= everyMs + lateMs) return <span className="cq-live">{text}</span>;
  return <span className="cq-live cq-lost">{`${error ?? 'Not live.'} Updated ${agoText(receivedAt, now)}.`}</span>;
};
export default LiveState;
