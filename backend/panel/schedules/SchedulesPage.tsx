import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { SchedulesView } from '../../src/admin/views/schedule.js';
import { root } from '../api.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { useRecord } from '../hooks.js';
import NoticeLine from '../parts/NoticeLine.js';
import Calendar from './Calendar.js';
import { addMonths, dayText, monthOf, monthText, timeText } from './days.js';
import ScheduleList from './ScheduleList.js';
import WaitingList from './WaitingList.js';

/** What is planned: a month as a calendar, the scheduled messages, and the recurring schedules. */
const SchedulesPage: React.FC = () => {
  const [day, setDay] = useState<string | null>(null);
  const [shown, setShown] = useState<SchedulesView | null>(null);
  const path = day ? `/live/schedules?month=${monthOf(day)}` : '/live/schedules';
  const { value, error, notice, notify } = useRecord<SchedulesView>(path, 5_000);
  // The calendar stays while the next month is read, so that the keyboard does not lose its place.
  if (value && value !== shown) setShown(value);
  const view = value ?? shown;
  if (!view)
    return (
      <div className="cq-page">
        <PageHead title="Schedules" below={error ?? 'Loading …'} />
      </div>
    );
  const chosen = day ?? view.today;
  const month = monthOf(chosen);
  const items = view.month === month ? view.days : {};
  return (
    <div className="cq-page" data-testid="schedules-page">
      <PageHead
        title="Schedules"
        below={<span className={error ? 'cq-live cq-lost' : 'cq-live'}>{error ?? `Live, times of ${view.timezone}`}</span>}
      />
      <NoticeLine notice={notice} />
      <div className="cq-columns">
        <div>
          <Panel title={monthText(month)}>
            <div className="cq-line">
              <button type="button" className="cq-button" onClick={() => setDay(addMonths(chosen, -1))}>
                Month before
              </button>
              <button type="button" className="cq-button" onClick={() => setDay(view.today)}>
                Today
              </button>
              <button type="button" className="cq-button" onClick={() => setDay(addMonths(chosen, 1))}>
                Month after
              </button>
            </div>
            <Calendar month={month} today={view.today} day={chosen} items={items} onDay={setDay} />
            <h3 aria-live="polite">{dayText(chosen)}</h3>
            {(items[chosen] ?? []).length === 0 && <p className="cq-soft">Nothing planned.</p>}
            <ul className="cq-list">
              {(items[chosen] ?? []).map((item) => (
                <li key={`${item.id} ${item.at}`}>
                  {item.kind === 'message' ? (
                    <Link to={`${root}/resources/messages/records/${item.id}/show`}>{item.label}</Link>
                  ) : (
                    <span>{item.label} (recurring)</span>
                  )}
                  <time>{timeText(item.at, view.timezone)}</time>
                </li>
              ))}
            </ul>
          </Panel>
        </div>
        <div>
          <Panel title="Scheduled messages">
            <WaitingList messages={view.messages} timezone={view.timezone} onNotice={notify} />
          </Panel>
          <Panel title="Recurring schedules">
            <ScheduleList schedules={view.schedules} timezone={view.timezone} onNotice={notify} />
          </Panel>
        </div>
      </div>
    </div>
  );
};
export default SchedulesPage;
