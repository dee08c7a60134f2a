import React, { useState } from 'react';
import { useSearchParams } from 'react-router-dom';
import type { DeliveriesView } from '../../src/admin/views/delivery.js';
import { useRecord } from '../hooks.js';
import Empty from '../parts/Empty.js';
import LiveState from '../parts/LiveState.js';
import NoticeLine from '../parts/NoticeLine.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import DeliveryFilter from './DeliveryFilter.js';
import DeliveryItem from './DeliveryItem.js';
import ResendActions from './ResendActions.js';

/** The deliveries of all endpoints. The filters are in the address, so that a view can be kept and sent to somebody. */
const DeliveriesPage: React.FC = () => {
  const [parameters, setParameters] = useSearchParams();
  const [selected, setSelected] = useState<readonly string[]>([]);
  const [earlier, setEarlier] = useState<readonly string[]>([]);
  const filter = new URLSearchParams([...parameters].filter(([name, value]) => name !== 'cursor' && value !== ''));
  const record = useRecord<DeliveriesView>(`/live/deliveries?${parameters.toString()}`, 5_000);
  const { value, error, notice, notify } = record;
  const show = (next: URLSearchParams): void => {
    setSelected([]);
    setParameters(next);
  };
  const turnTo = (cursor: string): void => {
    const next = new URLSearchParams(filter);
    if (cursor !== '') next.set('cursor', cursor);
    show(next);
  };
  const toggle = (id: string): void =>
    setSelected(selected.includes(id) ? selected.filter((one) => one !== id) : [...selected, id]);
  const current = parameters.get('cursor') ?? '';
  return (
    <Page>
      <PageHead title="Deliveries" below={<LiveState of={record} text="Live, of all endpoints, newest first" />}>
        <ResendActions
          filter={filter}
          selected={selected}
          onDone={(text) => {
            setSelected([]);
            notify(text);
          }}
        />
      </PageHead>
      <NoticeLine notice={notice} />
      <DeliveryFilter
        filter={filter}
        onChange={(next) => {
          setEarlier([]);
          show(next);
        }}
      />
      <section className="cq-panel">
        {!value && <p className="cq-soft">{error ?? 'Loading …'}</p>}
        {value?.deliveries.length === 0 && (
          <Empty title="No deliveries">
            <p>No delivery fits these filters. Each event that an endpoint subscribes to appears here.</p>
          </Empty>
        )}
        <ul className="cq-list cq-deliveries">
          {value?.deliveries.map((delivery) => (
            <DeliveryItem
              key={delivery.id}
              delivery={delivery}
              isSelected={selected.includes(delivery.id)}
              onToggle={() => toggle(delivery.id)}
              onNotice={notify}
            />
          ))}
        </ul>
        <div className="cq-actions">
          <button
            type="button"
            className="cq-button"
            disabled={current === ''}
            onClick={() => {
              turnTo(earlier.at(-1) ?? '');
              setEarlier(earlier.slice(0, -1));
            }}
          >
            Newer
          </button>
          <button
            type="button"
            className="cq-button"
            disabled={!value?.nextCursor}
            onClick={() => {
              setEarlier([...earlier, current]);
              turnTo(value!.nextCursor!);
            }}
          >
            Older
          </button>
        </div>
      </section>
    </Page>
  );
};
export default DeliveriesPage;
