import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { DeliveryRow } from '../../src/admin/views/delivery.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import type { Notice } from '../parts/NoticeLine.js';
import { deliveryWord, exactText } from '../words.js';
import DeliveryDetails from './DeliveryDetails.js';

/** When a waiting delivery is tried next, as the endpoint's state allows. */
function nextText({ status, nextAttemptAt, endpoint }: DeliveryRow): string | null {
  if (status === 'held' || (status === 'pending' && !endpoint.isActive))
    return 'The endpoint is off: it waits until it is switched on.';
  if (status !== 'pending') return null;
  if (endpoint.openUntil !== null) return `The endpoint is tried again at ${exactText(endpoint.openUntil)}.`;
  return nextAttemptAt === null ? null : `Next attempt at ${exactText(nextAttemptAt)}.`;
}

/** One delivery in a list. Its attempts are read when it is opened. Without `onToggle` it cannot be selected, and its endpoint is not named. */
const DeliveryItem: React.FC<{
  delivery: DeliveryRow;
  isSelected?: boolean;
  onToggle?: () => void;
  onNotice: (notice: Notice) => void;
}> = ({ delivery, isSelected = false, onToggle, onNotice }) => {
  const [isOpen, setOpen] = useState(false);
  const [word, tone] = deliveryWord(delivery.status);
  const { endpoint } = delivery;
  const next = nextText(delivery);
  const attempts = `${delivery.attempts} ${delivery.attempts === 1 ? 'attempt' : 'attempts'}`;
  return (
    <li>
      {onToggle ? (
        <label className="cq-pick">
          <input type="checkbox" checked={isSelected} onChange={onToggle} aria-label={`Select ${delivery.type} ${delivery.id}`} />
          <span>{delivery.type}</span>
        </label>
      ) : (
        <span>{delivery.type}</span>
      )}
      <span className="cq-below">
        <Badge tone={tone}>{word}</Badge>
        <Ago at={delivery.createdAt} />
      </span>
      {onToggle && (
        <span className="cq-soft">
          <Link to={`${root}/resources/webhooks/records/${endpoint.id}/show`}>{endpoint.title}</Link>
          {endpoint.isDeleted ? ' (deleted)' : ''} · {delivery.account.name ?? delivery.account.id}
          {delivery.session ? ` · ${delivery.session}` : ''}
        </span>
      )}
      {next && <span className="cq-soft">{next}</span>}
      <details className="cq-details" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          {attempts}
          {delivery.statusCode === null ? '' : ` · ${delivery.statusCode}`}
          {delivery.error === null ? '' : ` · ${delivery.error}`}
        </summary>
        {isOpen && <DeliveryDetails id={delivery.id} onNotice={onNotice} />}
      </details>
    </li>
  );
};
export default DeliveryItem;
