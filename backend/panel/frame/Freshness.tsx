import React from 'react';
import { useNow } from '../api.js';
import { useStatus } from '../status.js';
import { agoText } from '../words.js';

/** Data older than this is not called live. Milliseconds. */
const freshMs = 8_000;

/** How old the newest answer of the server is, and whether anything is wrong. Shown on every page. */
const Freshness: React.FC = () => {
  const { value, receivedAt, silence } = useStatus();
  const now = useNow(1_000);
  if (receivedAt === null || value === null)
    return <span className="cq-fresh cq-idle">{silence ? 'No answer yet' : 'Connecting …'}</span>;
  const age = `updated ${agoText(receivedAt, now)}`;
  if (silence || now - receivedAt > freshMs) return <span className="cq-fresh cq-bad">Not live, {age}</span>;
  const { alerts } = value;
  if (alerts.length === 0) return <span className="cq-fresh cq-good">Live, {age}</span>;
  const [worst] = alerts as [(typeof alerts)[number]];
  return (
    <span className={`cq-fresh cq-${worst.severity}`}>
      {alerts.length} {alerts.length === 1 ? 'alert' : 'alerts'}, {age}
    </span>
  );
};
export default Freshness;
