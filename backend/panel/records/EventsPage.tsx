import React, { useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import type { EventView } from '../../src/admin/views/event.js';
import { get, usePoll } from '../api.js';
import EventList from './EventList.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';

interface Choice {
  type: string;
  sessionId: string;
  accountId: string;
  /** Only events before this cursor; empty: the newest. */
  before: string;
}
const newest: Choice = { type: '', sessionId: '', accountId: '', before: '' };

/** The events of the log in words, which webhooks and streams deliver too, with filters and older pages. */
const EventsPage: React.FC = () => {
  const [choice, setChoice] = useState<Choice>(newest);
  const [isPaused, setPaused] = useState(false);
  const query = new URLSearchParams(Object.entries(choice).filter(([, value]) => value !== '')).toString();
  const path = `/live/events?${query}`;
  const older = async (): Promise<void> => {
    const page = await get<EventView[]>(path).catch(() => []);
    const last = page.at(-1);
    if (last) setChoice({ ...choice, before: String(last.cursor) });
  };
  const isOld = choice.before !== '';
  return (
    <Page>
      <PageHead title="Events" below={isPaused || isOld ? 'Not renewed' : 'Renewed every few seconds, the last 50'}>
        {!isOld && (
          <button type="button" className="cq-button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
            {isPaused ? 'Continue' : 'Pause'}
          </button>
        )}
        {isOld && (
          <button type="button" className="cq-button" onClick={() => setChoice({ ...choice, before: '' })}>
            Newest
          </button>
        )}
        <button type="button" className="cq-button" onClick={() => void older()}>
          Older
        </button>
      </PageHead>
      <EventFilter choice={choice} onChange={setChoice} />
      <section className="cq-panel">
        <EventList key={query} path={path} isPaused={isPaused || isOld} />
      </section>
    </Page>
  );
};
export default EventsPage;

const EventFilter: React.FC<{ choice: Choice; onChange: (choice: Choice) => void }> = ({ choice, onChange }) => {
  const { value: types } = usePoll<string[]>('/live/event-types', 300_000);
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const set = (changes: Partial<Choice>): void => onChange({ ...choice, ...changes, before: '' });
  return (
    <div className="cq-filter" role="search" aria-label="Filter events">
      <select aria-label="Only of this type" value={choice.type} onChange={(event) => set({ type: event.target.value })}>
        <option value="">All types</option>
        {(types ?? []).map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <select
        aria-label="Only of this account"
        value={choice.accountId}
        onChange={(event) => set({ accountId: event.target.value, sessionId: '' })}
      >
        <option value="">All accounts</option>
        {(choices?.accounts ?? []).map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
      <select
        aria-label="Only of this session"
        value={choice.sessionId}
        onChange={(event) => set({ sessionId: event.target.value })}
      >
        <option value="">All sessions</option>
        {(choices?.sessions ?? [])
          .filter(({ accountId }) => choice.accountId === '' || accountId === choice.accountId)
          .map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
      </select>
    </div>
  );
};
