import React from 'react';
import { Link } from 'react-router-dom';
import type { DeliveriesView } from '../../src/admin/views/delivery.js';
import { root, usePoll } from '../api.js';
import type { Notice } from '../parts/NoticeLine.js';
import DeliveryItem from './DeliveryItem.js';

/** The newest deliveries of one endpoint, as the page of all deliveries shows them, and the way there. */
const DeliveryList: React.FC<{ webhookId: string; onNotice: (notice: Notice) => void }> = ({ webhookId, onNotice }) => {
  const query = `webhookId=${encodeURIComponent(webhookId)}`;
  const { value, error } = usePoll<DeliveriesView>(`/live/deliveries?${query}`, 3_000);
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  if (value.deliveries.length === 0) return <p className="cq-soft">There are no deliveries yet.</p>;
  return (
    <>
      <ul className="cq-list cq-deliveries">
        {value.deliveries.map((delivery) => (
          <DeliveryItem key={delivery.id} delivery={delivery} onNotice={onNotice} />
        ))}
      </ul>
      <p>
        <Link to={`${root}/pages/deliveries?${query}`}>All deliveries of this webhook, with filters</Link>
      </p>
    </>
  );
};
export default DeliveryList;
