import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import Ago from '../parts/Ago.js';
import ActionButton from '../parts/ActionButton.js';
import Badge from '../parts/Badge.js';
import type { Notice } from '../parts/NoticeLine.js';
import { deliveryWord, exactText } from '../words.js';

/** The newest deliveries of an endpoint, each with its last attempts. */
const DeliveryList: React.FC<{ webhook: WebhookView; onNotice: (notice: Notice) => void }> = ({ webhook, onNotice }) => {
  if (webhook.deliveries.length === 0) return <p className="cq-soft">There are no deliveries yet.</p>;
  return (
    <ul className="cq-list cq-events">
      {webhook.deliveries.map((delivery) => {
        const [word, tone] = deliveryWord(delivery.status);
        return (
          <li key={delivery.id}>
            <span>{delivery.type}</span>
            <span className="cq-below">
              <Badge tone={tone}>{word}</Badge>
              <Ago at={delivery.createdAt} />
            </span>
            <details className="cq-details">
              <summary>
                {delivery.attempts} {delivery.attempts === 1 ? 'attempt' : 'attempts'}
                {delivery.statusCode === null ? '' : ` · ${delivery.statusCode}`}
                {delivery.error === null ? '' : ` · ${delivery.error}`}
                {delivery.nextAttemptAt !== null && delivery.nextAttemptAt > webhook.now && delivery.status === 'pending'
                  ? ` · next try ${exactText(delivery.nextAttemptAt)}`
                  : ''}
              </summary>
              {delivery.log.map((attempt) => (
                <pre key={attempt.at}>
                  {`${exactText(attempt.at)}  ${attempt.statusCode ?? attempt.error ?? ''}  ${attempt.durationMs} ms\n`}
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
        );
      })}
    </ul>
  );
};
export default DeliveryList;
