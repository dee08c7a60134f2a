import React, { useRef } from 'react';
import { useNow } from '../api.js';

/** The time until the current QR code expires. */
const Countdown: React.FC<{ until: number }> = ({ until }) => {
  const now = useNow(500);
  const from = useRef(Math.max(1, until - now));
  const left = Math.max(0, until - now);
  return (
    <div className="cq-count">
      <div className="cq-bar">
        <i style={{ width: `${Math.min(100, (left / from.current) * 100)}%` }} />
      </div>
      <span>{left > 0 ? `A new code in ${Math.ceil(left / 1000)} s` : 'Waiting for the next code'}</span>
    </div>
  );
};
export default Countdown;
