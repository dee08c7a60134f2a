import React from 'react';
import type { EndpointChoices } from '../../src/admin/views/delivery.js';
import { usePoll } from '../api.js';

const statuses = ['pending', 'sending', 'delivered', 'failed', 'held', 'cancelled'];

/** The filters of the deliveries. Each change applies at once. */
const DeliveryFilter: React.FC<{ filter: URLSearchParams; onChange: (next: URLSearchParams) => void }> = ({
  filter,
  onChange,
}) => {
  const { value: endpoints } = usePoll<EndpointChoices>('/live/endpoints', 60_000);
  const { value: types } = usePoll<string[]>('/live/event-types', 60_000);
  const set = (name: string, value: string): void => {
    const next = new URLSearchParams(filter);
    if (value === '') next.delete(name);
    else next.set(name, value);
    onChange(next);
  };
  const choice = (name: string, label: string, all: string, options: readonly (readonly [string, string])[]) => (
    <label>
      {label}
      <select value={filter.get(name) ?? ''} onChange={(event) => set(name, event.target.value)}>
        <option value="">{all}</option>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  const time = (name: string, label: string) => (
    <label>
      {label}
      <input
        type="datetime-local"
        value={localOf(filter.get(name))}
        onChange={({ target }) => set(name, target.value === '' ? '' : new Date(target.value).toISOString())}
      />
    </label>
  );
  return (
    <div className="cq-form cq-delivery-filter" role="search" aria-label="Filter deliveries">
      {choice(
        'webhookId',
        'Endpoint',
        'All endpoints',
        (endpoints ?? []).map(({ id, title }) => [id, title] as const),
      )}
      {choice(
        'event',
        'Event',
        'All types',
        (types ?? []).map((type) => [type, type] as const),
      )}
      {choice(
        'status',
        'State',
        'All states',
        statuses.map((status) => [status, status[0]!.toUpperCase() + status.slice(1)] as const),
      )}
      {time('from', 'From')}
      {time('to', 'To')}
      <label>
        Message id
        <input
          value={filter.get('messageId') ?? ''}
          maxLength={64}
          spellCheck={false}
          onChange={({ target }) => set('messageId', target.value.trim())}
        />
      </label>
    </div>
  );
};

/** An instant as the field shows it, in the browser's time zone. */
function localOf(instant: string | null): string {
  if (!instant) return '';
  const date = new Date(instant);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
export default DeliveryFilter;
