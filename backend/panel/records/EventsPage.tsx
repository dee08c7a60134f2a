import React, { useEffect, useState } from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import type { EventPageView } from '../../src/admin/views/event.js';
import { usePoll } from '../api.js';
import { eventsEveryMs, EventRows } from './EventList.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import LiveState from '../parts/LiveState.js';

interface Choice {
  text: string;
  type: string;
  sessionId: string;
  accountId: string;
  /** Only events before this cursor; empty: the newest. */
  before: string;
}
const newest: Choice = { text: '', type: '', sessionId: '', accountId: '', before: '' };

/** How often a search is repeated, and how long after the last change of its text it begins. Milliseconds. */
const searchEveryMs = 10_000;
const searchAfterMs = 400;

/** The events of the log in words, which webhooks and streams deliver too, with filters and older pages. */
const EventsPage: React.FC = () => {
  const [choice, setChoice] = useState<Choice>(newest);
  const [isPaused, setPaused] = useState(false);
  const query = new URLSearchParams(Object.entries(choice).filter(([, value]) => value !== '')).toString();
  const path = `/live/event-page?${query}`;
  const isOld = choice.before !== '';
  const everyMs = choice.text === '' ? eventsEveryMs : searchEveryMs;
  const polled = usePoll<EventPageView>(path, isPaused || isOld ? null : everyMs);
  const { value, error } = polled;
  const next = value?.next ?? null;
  const isPart = choice.text !== '' && next !== null && value !== null && value.events.length < 50;
  return (
    <Page>
      <PageHead title="Events" below={<LiveState of={polled} text="Live, the last 50" />}>
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
        <button
          type="button"
          className="cq-button"
          disabled={next === null}
          onClick={() => setChoice({ ...choice, before: String(next) })}
        >
          Older
        </button>
      </PageHead>
      <EventFilter choice={choice} onChange={setChoice} />
      <section className="cq-panel">
        <EventRows of={{ value: value?.events ?? null, error }} isFiltered={query !== ''} />
        {isPart && <p className="cq-soft">The text was looked for in 2,000 events. “Older” looks in the ones before them.</p>}
      </section>
    </Page>
  );
};
export default EventsPage;

const EventFilter: React.FC<{ choice: Choice; onChange: (choice: Choice) => void }> = ({ choice, onChange }) => {
  const { value: types } = usePoll<string[]>('/live/event-types', 300_000);
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const set = (changes: Partial<Choice>): void => onChange({ ...choice, ...changes, before: '' });
  const [text, setText] = useState(choice.text);
  useEffect(() => {
    if (text.trim() === choice.text) return undefined;
    const timer = window.setTimeout(() => set({ text: text.trim() }), searchAfterMs);
    return () => window.clearTimeout(timer);
  });
  return (
    <div className="cq-filter" role="search" aria-label="Filter events">
      <input
        type="search"
        aria-label="Only with this text"
        placeholder="Text, name or type"
        maxLength={200}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
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
