import React, { useState } from 'react';
import type { ResentView } from '../../src/admin/views/delivery.js';
import { get, messageOf } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';
import { resentText } from './resent.js';

interface Counted {
  /** The filter that was counted. */
  query: string;
  total: number;
  isExact: boolean;
}

/** Resends the selected deliveries, or all that fit the filters, after it has said how many those are. */
const ResendActions: React.FC<{
  filter: URLSearchParams;
  selected: readonly string[];
  onDone: (notice: Notice) => void;
}> = ({ filter, selected, onDone }) => {
  const [counted, setCounted] = useState<Counted | null>(null);
  const status = filter.get('status') ?? 'failed';
  const wanted = new URLSearchParams(filter);
  wanted.set('status', status);
  const query = wanted.toString();
  const finish = (answer: unknown): void => {
    setCounted(null);
    onDone(resentText(answer as ResentView));
  };
  const refuse = (text: string): void => onDone({ tone: 'bad', text });
  if (selected.length > 0)
    return (
      <ActionButton
        label={`Resend ${selected.length} selected`}
        path="/live/resend-deliveries"
        body={{ ids: selected }}
        tone="main"
        onDone={finish}
        onError={refuse}
      />
    );
  if (status !== 'failed' && status !== 'delivered') return null;
  if (counted?.query === query && counted.total > 0)
    return (
      <ActionButton
        label={`Resend ${count(counted.total)}${counted.isExact ? '' : ' or more'} now`}
        question={`Resend ${count(counted.total)}${counted.isExact ? '' : ' or more'} ${status} deliveries that fit the filters?`}
        consequence="At most 1,000 of them start now, the oldest first. They keep their ids."
        path="/live/resend-deliveries"
        body={{ filter: Object.fromEntries(wanted) }}
        tone="main"
        onDone={finish}
        onError={refuse}
      />
    );
  const countThem = (): void => {
    get<Omit<Counted, 'query'>>(`/live/delivery-count?${query}`)
      .then((answer) => {
        setCounted({ query, ...answer });
        if (answer.total === 0) refuse(`No ${status} delivery fits the filters.`);
      })
      .catch((error: unknown) => refuse(messageOf(error)));
  };
  return (
    <button type="button" className="cq-button" onClick={countThem}>
      Count {status} deliveries to resend
    </button>
  );
};
export default ResendActions;
