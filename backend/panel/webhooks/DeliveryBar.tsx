import React from 'react';
import type { WebhookDay } from '../../src/admin/views/webhook-day.js';

const percent = (share: number): string => `${share === 1 ? 100 : Math.min(99, Math.floor(share * 100))} %`;

/** The last 24 hours of an endpoint: how much was delivered, and a bar for each hour, red where deliveries failed. */
const DeliveryBar: React.FC<{ day: WebhookDay }> = ({ day: { delivered, failing, hours } }) => {
  const total = delivered + failing;
  if (total === 0) return <span className="cq-soft">no deliveries</span>;
  const most = Math.max(...hours.map((hour) => hour.delivered + hour.failing));
  return (
    <span className="cq-day" role="img" aria-label={`In the last 24 hours ${delivered} delivered, ${failing} not delivered.`}>
      <b>{percent(delivered / total)}</b>
      <span>
        {hours.map(({ at, ...hour }) => (
          <i
            key={at}
            className={hour.failing > 0 ? 'cq-bad' : hour.delivered > 0 ? 'cq-good' : ''}
            style={{ height: `${Math.max(12, ((hour.delivered + hour.failing) / most) * 100)}%` }}
          />
        ))}
      </span>
    </span>
  );
};
export default DeliveryBar;
