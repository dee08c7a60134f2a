import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import Ago from '../parts/Ago.js';
import ActionButton from '../parts/ActionButton.js';
import Badge from '../parts/Badge.js';
import type { Notice } from '../parts/NoticeLine.js';
import type { Tone } from '../words.js';

const tones: Record<string, Tone> = {
  delivered: 'good',
  failed: 'bad',
  pending: 'wait',
  sending: 'info',
  held: 'warn',
  cancelled: 'idle',
};

/** The newest deliveries of an endpoint, each with its last attempts. */
const DeliveryList: React.FC<{ webhook: WebhookView; onNotice: (notice: Notice) => void }> = ({ webhook, onNotice }) => {
  if (webhook.deliveries.length === 0) return <p className="cq-soft">There are no deliveries yet.</p>;
  return (
    <ul className="cq-list cq-events">
      {webhook.deliveries.map((delivery) => (
        <li key={delivery.id}>
          <span>{delivery.type}</span>
          <span className="cq-below">
            <Badge tone={tones[delivery.status] ?? 'idle'}>{delivery.status}</Badge>
            <Ago at={delivery.createdAt} />
          </span>
          <details className="cq-details">
            <summary>
              {delivery.attempts} {delivery.attempts === 1 ? 'attempt' : 'attempts'}
              {delivery.statusCode === null ? '' : ` · ${delivery.statusCode}`}
              {delivery.error === null ? '' : ` · ${delivery.error}`}
            </summary>
            {delivery.log.map((attempt) => (
              <pre key={attempt.at}>
                {`${new Date(attempt.at).toLocaleString()}  ${attempt.statusCode ?? attempt.error ?? ''}  ${attempt.durationMs} ms\n`}
                {attempt.request ?? ''}
                {attempt.response ? `\n→ ${attempt.response}` : ''}
              </pre>
            ))}
            {(delivery.status === 'failed' || delivery.status === 'delivered') && (
              <ActionButton
                label="Send again"
                path={`/live/deliveries/${delivery.id}/redeliver`}
                onDone={() => onNotice({ tone: 'good', text: 'It is sent again under the same id.' })}
                onError={(text) => onNotice({ tone: 'bad', text })}
              />
            )}
          </details>
        </li>
      ))}
    </ul>
  );
};
export default DeliveryList;
